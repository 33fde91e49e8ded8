"""Delta m, against figures that a paper prints."""

from __future__ import annotations

import pytest

from generalist.types import GeneralistError
from generalist_adapters.delta import delta_m

ALONE = {"seg": 67.21, "parts": 61.93, "saliency": 62.35, "normals": 17.97}
"""Single-task models of Swin-T on PASCAL-Context, as MTLoRA's table has them."""


def test_the_sign_follows_the_direction_of_each_figure() -> None:
    assert delta_m(ALONE, ALONE, ["normals"]) == 0
    assert delta_m({"a": 110.0}, {"a": 100.0}) == pytest.approx(10)
    assert delta_m({"a": 110.0}, {"a": 100.0}, ["a"]) == pytest.approx(-10)
    assert delta_m({"a": 110.0, "b": 0.9}, {"a": 100.0, "b": 1.0}, ["b"]) == pytest.approx(10)


def test_mtloras_own_row() -> None:
    """Rank 64: the table prints +2.55."""
    row = {"seg": 67.9, "parts": 59.84, "saliency": 65.4, "normals": 16.6}
    assert delta_m(row, ALONE, ["normals"]) == pytest.approx(2.55, abs=0.05)


@pytest.mark.parametrize("figures, alone, lower", [
    ({}, {}, ()),
    ({"a": 1.0}, {"b": 1.0}, ()),
    ({"a": 1.0}, {"a": 0.0}, ()),
    ({"a": float("nan")}, {"a": 1.0}, ()),
    ({"a": 1.0}, {"a": 1.0}, ("b",)),
])  # fmt: skip
def test_what_cannot_be_compared(figures: dict[str, float], alone: dict[str, float], lower: tuple[str, ...]) -> None:
    with pytest.raises(GeneralistError):
        delta_m(figures, alone, lower)
