"""Names that look like one class written twice, and names that do not."""

from __future__ import annotations

import pytest

from generalist_datasets.check.names import similar_names


@pytest.mark.parametrize("a, b", [
    ("dog", "Dog"), ("dog", "dogs"), ("dog", "dgo"), ("berry", "berries"), ("knife", "knives"), ("box", "boxes"),
    ("traffic light", "traffic_light"), ("traffic light", "TrafficLight"), ("Platelet", "platelets"),
    ("bicycle", "bicylce"), ("elephant", "elephnat"), ("umbrella", "umbrela"), ("scissors", "scizsors"),
])  # fmt: skip
def test_alike(a: str, b: str) -> None:
    assert similar_names([a, "giraffe", b]) == [(a, b)]
    assert similar_names([b, a]) == [(b, a)]


@pytest.mark.parametrize("names", [
    ("cat", "car", "cap"), ("house", "horse", "mouse"), ("lane 1", "lane 2"), ("n01440764", "n01440746"),
    ("class 9", "class 10", "class 90"), ("bear", "teddy bear"), ("", " ", "#"), ("dog", "dog"), ("a", "b"),
])  # fmt: skip
def test_different(names: tuple[str, ...]) -> None:
    assert similar_names(names) == []


def test_thousands_of_names_are_quick_whatever_they_are() -> None:
    assert similar_names(f"thing number {k}" for k in range(5000)) == []
    assert similar_names("x" * k for k in range(1, 3000)) is not None
    assert similar_names(["y" * 100_000, "y" * 100_001]) == []
