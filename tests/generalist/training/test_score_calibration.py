"""Calibration of scores: what is fitted can be believed, and a drawing counts as right where evaluation says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from generalist.engine.scripted import ScriptedEngine
from generalist.evaluation.cases import Case, Suite
from generalist.evaluation.measures.calibration import expected_calibration_error
from generalist.pipeline import Generalist, Line
from generalist.scores import FEATURES, FREE, Evidence, Scores
from generalist.tokens import Vocabulary
from generalist.training import score_calibration
from generalist.training.score_calibration import Drawn, ask, calibrate, fit, fit_scores, questions, report
from generalist.types import Box, GeneralistError, Grounded, Kind, Mask, Output, Sample
from generalist_datasets.world.splits import Split

from ..scripted_model import StandInDecoder

Ids = Callable[[str], list[int]]
DRAWN_AT = Box(xyxy=(0.25, 0.25, 0.5, 0.75))
BOX = "<Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0016><loc_0016><loc_0032><loc_0048>)"
TWICE = BOX[:-1] + "[1]<loc_0001><loc_0001><loc_0002><loc_0002>)"
MASK = "<Phrase>dog</Phrase>(<Unit>mask</Unit>[0]<loc_0016><loc_0016><loc_0032><loc_0048>" + "<mask_001>" * 16 + ")"
POINT = "<Phrase>dog</Phrase>(<Unit>point</Unit>[0]<loc_0016><loc_0016>)"


def world_of(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of drawings, and which are right: place and doubt tell, the rest is noise."""
    rng = np.random.default_rng(seed)
    features = -rng.exponential(1.0, (count, len(FEATURES)))
    place, doubt, phrase = (features[:, FEATURES.index(name)] for name in ("place", "doubt", "phrase"))
    chance = 1 / (1 + np.exp(-(2.0 + 1.5 * place + 0.5 * doubt - 0.3 * phrase)))
    return features, rng.random(count) < chance


def known_drawings(count: int, kind: Kind = "box") -> list[Drawn]:
    features, right = world_of(count)
    return [
        Drawn(
            kind=kind,
            evidence=Evidence(**dict(zip(FEATURES, row.tolist(), strict=True))),
            score=0.1,
            right=bool(good),
            scene=number // 3,
        )
        for number, (row, good) in enumerate(zip(features, right, strict=True))
    ]


# --- fitting ----------------------------------------------------------------------------------------------


def test_a_fit_can_be_believed_on_what_it_has_not_seen() -> None:
    fitted = fit(*world_of(3000))
    features, right = world_of(3000, seed=1)
    chances = [fitted.probability(Evidence(**dict(zip(FEATURES, row, strict=True)))) for row in features.tolist()]
    assert expected_calibration_error(chances, right) < 0.04
    assert fitted.weights["place"] == pytest.approx(1.5, abs=0.25)


def test_a_more_probable_token_never_counts_against() -> None:
    weights = fit(*world_of(3000)).weights
    assert weights["phrase"] == 0.0  # which was made to count against
    assert all(weights[name] >= 0 for name in FEATURES if name not in FREE)


@pytest.mark.parametrize("right", [True, False])
def test_where_all_are_alike_the_fit_is_sure_but_not_too_sure(right: bool) -> None:
    fitted = fit(np.zeros((98, len(FEATURES))), np.full(98, right))
    assert fitted.probability(Evidence()) == pytest.approx(0.99 if right else 0.01, abs=1e-3)


def test_what_is_hardly_drawn_is_not_fitted() -> None:
    known = [*known_drawings(60), *known_drawings(20, "point")]
    assert fit_scores(known).kinds.keys() == {"box"}


def test_the_report_is_about_scenes_that_the_fit_has_not_seen() -> None:
    lines = list(report(known_drawings(1800)))
    before, after = (float(part.split()[0]) for part in lines[0].partition("ECE ")[2].split(" -> "))
    assert lines[0].startswith("box") and "600 held-back" in lines[0] and after < 0.08 < before
    assert lines[1:] == [f"{kind}: too few drawings to measure" for kind in ("point", "mask")]


# --- asking -----------------------------------------------------------------------------------------------


def half_mask() -> Mask:
    pixels = np.zeros((64, 64), np.uint8, order="F")
    pixels[16:48, 16:32] = 1
    return Mask(size=(64, 64), counts=coco.encode(pixels)["counts"].decode(), xyxy=DRAWN_AT.xyxy)


class MaskDecoder(StandInDecoder):
    def decode(self, refs, image_hw):
        return [half_mask() for _ in refs]


def model_that_says(vocab: Vocabulary, ids: Ids, *written: str) -> Generalist:
    decoders = {kind: StandInDecoder(kind, vocab) for kind in ("box", "point")} | {"mask": MaskDecoder("mask", vocab)}
    return Generalist(ScriptedEngine([ids(one) for one in written]), Line(vocab, decoders))


def case(group: str, task: str, *targets: Output, label: str = "dog", number: int = 0) -> Case:
    grounded = tuple(Grounded(label=label, span=(0, 3), image=0, ref=k, output=t) for k, t in enumerate(targets))
    sample = Sample(id=str(number), image=Image.new("RGB", (64, 64)), task=task, prompt="Where is the dog?",
                    text="", targets=grounded, meta={"index": number})  # fmt: skip
    return Case(id=f"{group}-{number}", group=group, sample=sample)


ELSEWHERE = Box(xyxy=(0.6, 0.6, 0.9, 0.9))


@pytest.mark.parametrize("group, task, targets, label, written, right", [
    ("box", "detect", (DRAWN_AT,), "dog", BOX, [True]),
    ("box", "detect", (ELSEWHERE,), "dog", BOX, [False]),
    ("box", "detect", (DRAWN_AT,), "dog", TWICE, [True, False]),
    ("box", "detect", (DRAWN_AT,), "dog", MASK, [False]),  # not what was to be drawn
    ("box", "detect", (DRAWN_AT,), "cat", BOX, [True]),  # a referring phrase may be worded otherwise
    ("detect", "detect", (DRAWN_AT,), "dog", BOX, [True]),
    ("detect", "detect", (DRAWN_AT,), "cat", BOX, [False]),
    ("absent", "detect", (), "dog", BOX, [False]),
    ("absent", "segment", (), "dog", MASK, [False]),
    ("absent", "detect", (DRAWN_AT,), "dog", BOX, [True]),
    ("absent", "segment", (half_mask(),), "dog", MASK, [True]),
    ("mask", "segment", (half_mask(),), "dog", MASK, [True]),
    ("region_mask", "segment", (half_mask(),), "cat", MASK, [True]),
    ("semantic", "segment", (half_mask(),), "dog", MASK, [True]),
    ("semantic", "segment", (half_mask(),), "cat", MASK, [False]),
    ("point", "point", (half_mask(),), "dog", POINT, [True]),
    ("point", "point", (half_mask(),), "dog", POINT.replace("16", "60"), [False]),
    ("box", "detect", (DRAWN_AT,), "dog", "There is no dog.", []),
])  # fmt: skip
def test_right_is_what_evaluation_calls_right(
    vocab: Vocabulary, ids: Ids, group: str, task: str, targets: tuple[Output, ...], label: str, written: str,
    right: list[bool],
) -> None:  # fmt: skip
    model = model_that_says(vocab, ids, written)
    (found,) = ask(model, [case(group, task, *targets, label=label)])
    assert [one.right for one in found] == right
    assert all(one.evidence.place == pytest.approx(-0.1) and 0 < one.score < 1 for one in found)


def test_every_drawing_is_judged_by_its_own_question(vocab: Vocabulary, ids: Ids) -> None:
    model = model_that_says(vocab, ids, BOX, "There is no dog.", TWICE)
    engine = model.engine
    cases = [case("box", "detect", DRAWN_AT if k % 2 else ELSEWHERE, number=k) for k in range(40)]
    found = [one for batch in ask(model, cases) for one in batch]
    per_case = {0: 1, 1: 0, 2: 2}
    assert [one.scene for one in found] == [k for k in range(40) for _ in range(per_case[k % 3])]
    assert [one.right for one in found if one.scene == 5] == [True, False]
    assert not any(one.right for one in found if one.scene % 2 == 0)
    assert model.engine is engine  # as it was before


def test_only_training_scenes_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Split] = []

    def suite(split: Split) -> Suite:
        asked.append(split)
        cases = [case("box", "detect", DRAWN_AT), case("caption", "caption")]
        return Suite(name="", summary="", cases=lambda limit: iter(cases))

    monkeypatch.setattr(score_calibration, "world_suite", suite)
    assert [one.group for one in questions(30)] == ["box"]
    assert [(split.name, split.photos, split.size) for split in asked] == [("train", "train", 30)]
    assert asked[0].seed != 0


# --- a checkpoint ------------------------------------------------------------------------------------------


@pytest.fixture
def scripted_checkpoint(
    vocab: Vocabulary, ids: Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], Path]:
    """A checkpoint folder whose model draws one box a question, right in three scenes of four."""

    def make(questions: int) -> Path:
        cases = [case("box", "detect", DRAWN_AT if k % 4 else ELSEWHERE, number=k) for k in range(questions)]
        model = model_that_says(vocab, ids, BOX)
        monkeypatch.setattr(score_calibration, "questions", lambda scenes: iter(cases[:scenes]))
        monkeypatch.setattr(
            score_calibration.Generalist, "from_pretrained", classmethod(lambda cls, folder, **options: model)
        )
        return tmp_path

    return make


def test_a_checkpoint_gets_its_scores(
    scripted_checkpoint: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scripted_checkpoint(240)
    calibrate(folder, scenes=240)
    fitted = Scores.load(folder).kinds
    assert fitted.keys() == {"box"}
    told = Evidence(phrase=-0.1, place=-0.1, doubt=-0.1)
    assert fitted["box"].probability(told) == pytest.approx(0.75, abs=0.02)
    printed = capsys.readouterr().out
    assert "ECE 0.0" in printed and "80 held-back drawings" in printed
    assert "scores.json: scores of box, from 240 drawings" in printed


def test_a_checkpoint_that_draws_too_little_is_left_alone(
    scripted_checkpoint: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scripted_checkpoint(20)
    calibrate(folder, scenes=30)
    assert "20 drawings in 30 scenes are too few" in capsys.readouterr().out and not list(folder.iterdir())


def test_a_name_of_no_checkpoint_is_one_line() -> None:
    with pytest.raises(GeneralistError, match="unknown model"):
        calibrate(Path("no-such-folder"))
