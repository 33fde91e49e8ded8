from __future__ import annotations

from dataclasses import replace

from generalist.evaluation.cases import Outcome
from generalist.evaluation.measures.absent import ABSENT
from generalist.types import ParseIssue

from .making import box, case, mask, said

HERE, GONE = case("absent", box(0, 0, 1, 1), negative=False), case("absent", negative=True)
DENIAL = said(text="There is no dog.")


def test_figures() -> None:
    kept = [
        ABSENT.judge(GONE, DENIAL),
        ABSENT.judge(GONE, DENIAL),
        ABSENT.judge(GONE, said(mask(0, 0, 1, 1))),
        ABSENT.judge(HERE, said(box(0, 0, 0.1, 0.1))),
        ABSENT.judge(HERE, DENIAL),
    ]
    assert ABSENT.combine(kept) == {"'not there' accuracy": 2 / 3, "recall of what is there": 0.5}
    assert [ABSENT.quality(one) for one in kept] == [1, 1, 0, 1, 0]
    assert ABSENT.combine(kept[:3]) == {"'not there' accuracy": 2 / 3}


def test_a_reply_that_went_wrong_denies_nothing() -> None:
    broken: list[Outcome] = [
        replace(DENIAL, finished=False),
        replace(DENIAL, issues=(ParseIssue(at=3, expected="a box", got="the end"),)),
        replace(DENIAL, error="the picture is too large"),
    ]
    assert [ABSENT.quality(ABSENT.judge(GONE, one)) for one in broken] == [0, 0, 0]


def test_without_targets_nothing_is_there() -> None:
    assert ABSENT.quality(ABSENT.judge(case("absent"), DENIAL)) == 1
    assert ABSENT.quality(ABSENT.judge(case("absent", box(0, 0, 1, 1)), DENIAL)) == 0


def test_floors() -> None:
    assert ABSENT.floors([HERE, GONE]) == {
        "'not there' accuracy": ("always there", 0.0),
        "recall of what is there": ("never there", 0.0),
    }


def test_each_figure_rests_on_its_own_cases() -> None:
    kept = [ABSENT.judge(one, DENIAL) for one in (HERE, GONE, GONE)]
    assert ABSENT.counts(kept) == {"'not there' accuracy": 2, "recall of what is there": 1}
