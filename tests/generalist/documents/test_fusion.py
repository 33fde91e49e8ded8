from __future__ import annotations

import pytest

from generalist.documents.fusion import WEIGHTS, K, clearly_better, fit_weight, fuse, harmless


def test_what_both_name_comes_first() -> None:
    fused = fuse([["a", "b", "c"], ["d", "b"]])
    assert [thing for thing, _ in fused] == ["b", "a", "d", "c"]
    assert fused[0][1] == pytest.approx(2 / (K + 2))


def test_weights_decide_and_nothing_counts_with_none() -> None:
    assert [thing for thing, _ in fuse([["a", "b"], ["b", "a"]], [1.0, 1.5])] == ["b", "a"]
    assert fuse([["a"], ["b"]], [1.0, 0.0]) == [("a", 1 / (K + 1))]
    assert fuse([[], []]) == []


def test_a_ranking_gets_a_say_only_where_it_helps() -> None:
    right, wrong = [["x", "y", "z"]] * 4, [["y", "x", "z"]] * 4
    relevant = [{"x"}] * 4
    assert fit_weight([right, wrong], [1.0, 0.0], 1, relevant) == 0  # worse
    assert fit_weight([right, right], [1.0, 0.0], 1, relevant) == 0  # adds nothing
    weight = fit_weight([wrong, right], [1.0, 0.0], 1, relevant)
    assert weight > 0
    assert fuse([wrong[0], right[0]], [1.0, weight])[0][0] == "x"
    # Where another way puts it right already, a third adds nothing.
    assert fit_weight([wrong, right, right], [1.0, weight, 0.0], 2, relevant) == 0
    assert fit_weight([wrong, right], [1.0, 0.0], 1, relevant, among=[0.0]) == 0


def test_harmless_is_what_makes_nothing_worse() -> None:
    right, wrong = [["x", "y", "z"]] * 4, [["y", "x", "z"]] * 4
    relevant = [{"x"}] * 4
    assert harmless([wrong, right], [1.0, 0.0], 1, relevant) == list(WEIGHTS)
    found = harmless([right, wrong], [1.0, 0.0], 1, relevant)
    assert 0 in found and 2.0 not in found
    assert all(fuse([right[0], wrong[0]], [1.0, weight])[0][0] == "x" for weight in found)


def test_one_lucky_question_is_not_clearly_better() -> None:
    right, wrong = ["x", "y"], ["y", "x"]
    relevant = [{"x"}] * 8
    lucky = [[wrong] * 8, [right, *[wrong] * 7]]
    assert fit_weight(lucky, [1.0, 0.0], 1, relevant) > 0
    assert not clearly_better(lucky, [1.0, 2.0], 1, relevant)
    assert clearly_better([[wrong] * 8, [*[right] * 6, *[wrong] * 2]], [1.0, 2.0], 1, relevant)
    assert not clearly_better([[wrong], [right]], [1.0, 2.0], 1, relevant[:1])
