from __future__ import annotations

from typing import Any

import pytest

from generalist.evaluation.measures.captions import CAPTION, mentions

from .making import box, case, grounded, said


def judged(facts: tuple[str, ...], reply: str) -> Any:
    return CAPTION.judge(case("caption", text="A dog.", facts=facts), said(text=reply))


# --- facts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "facts", "named"),
    [
        ("A dog, two TREES and a red cube.", ("dog", "tree", "cube"), {"dog", "tree", "cube"}),
        ("A hot dog.", ("dog",), {"hot dog"}),
        ("Three pairs of scissors", ("scissors",), {"scissors"}),
        ("Glasses of milk", ("glass of milk", "glasses"), {"glass of milk"}),
        ("Two geese beside the Statue of Liberty.", ("goose", "Statue of Liberty"), {"goose", "Statue of Liberty"}),
        ("An orange cone and a small orange metal cube", ("cone", "cube"), {"cone", "cube"}),
        ("An orange, a cone", ("cone",), {"orange", "cone"}),
        ("An orange and an orange cone.", ("orange", "cone"), {"orange", "cone"}),
        ("A doghouse", ("dog",), set()),
        ("A zeppelin hangar", ("zeppelin hangar",), {"zeppelin hangar"}),
        ("Nothing.", (), set()),
        ("", ("dog",), set()),
    ],
)
def test_mentions(text: str, facts: tuple[str, ...], named: set[str]) -> None:
    assert mentions(text, facts) == named


def test_recall_and_precision() -> None:
    kept = [
        judged(("dog", "tree", "cube"), "A dog, a cat and two trees."),
        judged(("dog",), "A dog and another dog."),
        judged((), "Nothing."),
    ]
    assert CAPTION.combine(kept) == {"facts recall": pytest.approx(3 / 4), "facts precision": pytest.approx(3 / 4)}
    assert [CAPTION.quality(one) for one in kept] == pytest.approx([2 * 2 / (3 + 3), 1, 1])


def test_figures_that_no_case_tells_of_are_left_out() -> None:
    assert CAPTION.combine([judged(("dog",), "!")]) == {"facts recall": 0}
    assert CAPTION.combine([judged((), "Nothing.")]) == {}


def test_labels_of_targets_are_facts() -> None:
    drawn = case("caption", box(0, 0, 1, 1), label="dog", targets=grounded(box(0, 0, 1, 1), label="cat"))
    assert CAPTION.combine([CAPTION.judge(drawn, said(text="A cat."))])["facts recall"] == 0.5


def test_floors_of_facts() -> None:
    cases = [case("caption", facts=("dog", "cat")), case("caption", facts=("dog",))]
    assert CAPTION.floors(cases) == {
        "facts recall": ("always 'dog'", pytest.approx(2 / 3)),
        "facts precision": ("always 'dog'", 1),
    }


# --- consensus with people ------------------------------------------------------------------------------

REFERENCES = (
    ("a dog runs on the beach", "the brown dog is running on sand", "dog at the beach"),
    ("two cats sleep on a red sofa", "cats sleeping on the sofa"),
    (
        "a man rides a horse on the beach",
        "a horse and a man near the sea",
        "someone on a horse by the sea",
        "man riding",
    ),
)
REPLIES = ("A dog runs on the sand.", "Two cats sit on a red chair, on a red sofa.", "a")


def consensus(*chosen: int) -> list[Any]:
    return [CAPTION.judge(case("caption", references=REFERENCES[k]), said(text=REPLIES[k])) for k in chosen]


def test_cider_is_that_of_the_coco_caption_evaluation() -> None:
    # What pycocoevalcap 1.2 says of these words: 3.36139107, 1.76206387 and 0.
    assert CAPTION.combine(consensus(0, 1, 2)) == {"CIDEr": pytest.approx(1.7078183119303902, abs=1e-9)}


def test_cider_takes_the_same_case_twice_and_one_alone() -> None:
    assert CAPTION.combine(consensus(0, 0, 1))["CIDEr"] > 0
    assert CAPTION.combine(consensus(0)) == {"CIDEr": 0}, "every word is as common as can be"


def test_single_captions_are_ordered_without_the_others() -> None:
    best, middling, worst = (CAPTION.quality(one) for one in consensus(0, 1, 2))
    assert 1 > best > middling > worst > 0
    same = CAPTION.judge(case("caption", text="a dog runs on the beach"), said(text="A dog runs on the beach."))
    assert CAPTION.quality(same) == pytest.approx(1)


def test_the_caption_of_a_sample_is_a_reference_where_nothing_else_is_known() -> None:
    cases = [case("caption", text=text) for text in ("a dog runs on grass", "two cats sleep on a sofa")]
    kept = [CAPTION.judge(one, said(text=one.sample.text)) for one in cases]
    assert CAPTION.combine(kept) == {"CIDEr": pytest.approx(10)}


def test_the_floor_of_cider_is_one_caption_for_all() -> None:
    texts = ("a dog runs on grass", "a dog runs on grass", "two cats sleep on a sofa")
    cases = [case("caption", references=(text,)) for text in texts]
    name, value = CAPTION.floors(cases)["CIDEr"]
    assert name == "one caption for all"
    assert value == pytest.approx(10 * 2 / 3)
