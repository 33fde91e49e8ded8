"""Suites yield sound questions: of every group, always the same, and as many of what is there as of what is not."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from generalist.evaluation.cases import Case
from generalist.evaluation.suites import SUITES, get_suite
from generalist.evaluation.suites.folder import folder_suite
from generalist.evaluation.suites.world import world_suite
from generalist.tasks import TASKS
from generalist.types import Box, DepthMap, GeneralistError, Mask
from generalist.visual import mask_bitmap
from generalist_datasets.readers import Options
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.splits import HELD_OUT_PAIRS, SPLITS, Split

from ...generalist_datasets.small_sets import IMAGE_SETS, text, write_set

SIZE = (96, 96)
TOY = Split(name="toy", summary="painted shapes", styles=("fluent",), size=64)
WORLD_GROUPS = {
    "box", "mask", "point", "detect", "absent", "count", "choice", "region_name", "region_mask", "region_except",
    "depth", "semantic", "caption", "dialogue",
}  # fmt: skip


def said(case: Case) -> tuple[object, ...]:
    sample = case.sample
    drawn = [(p.kind, p.xyxy, p.xy, None if p.bitmap is None else p.bitmap.tobytes()) for p in sample.visual_prompts]
    pictures = [np.asarray(image).tobytes() for image in (*sample.earlier_images, sample.image)]
    return (case.id, case.group, sample.prompt, sample.text, [m.text for m in sample.history], drawn, pictures)


def check_sample(case: Case) -> None:
    """What every measure relies on."""
    sample = case.sample
    assert sample.id == case.id and sample.task in TASKS and sample.prompt.strip()
    assert all(sample.text[slice(*target.span)] == target.label for target in sample.targets)
    assert all(target.image == len(sample.earlier_images) for target in sample.targets)
    size = (sample.image.height, sample.image.width)
    for output in (target.output for target in sample.targets):
        if isinstance(output, Mask):
            assert output.size == size
        if isinstance(output, Box | Mask):
            x1, y1, x2, y2 = output.xyxy
            assert 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1
    assert all(p.bitmap is None or (p.bitmap.shape == size and p.bitmap.any()) for p in sample.visual_prompts)


# --- the world ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy_cases(toy_assets: Assets) -> list[Case]:
    return list(world_suite(TOY, size=SIZE, assets=toy_assets).cases(48))


def test_a_scene_is_asked_about_in_every_group(toy_cases: list[Case]) -> None:
    for case in toy_cases:
        check_sample(case)
    assert {case.group for case in toy_cases} == WORLD_GROUPS
    assert len({case.id for case in toy_cases}) == len(toy_cases)
    scenes = {case.sample.meta["index"] for case in toy_cases}
    assert scenes == set(range(48)) and all(case.sample.meta["split"] == "toy" for case in toy_cases)
    detects = [case for case in toy_cases if case.group == "detect"]
    assert len(detects) == len(scenes)  # even of one that shows nothing


def test_targets_are_of_the_kind_that_a_group_measures(toy_cases: list[Case]) -> None:
    kinds = {
        "box": (Box, 1), "mask": (Mask, 1), "point": (Mask, 1), "region_mask": (Mask, 1), "region_except": (Mask, 1),
        "depth": (DepthMap, 1),
        "count": (Box, 0), "choice": (Box, 0), "region_name": (Box, 0), "caption": (Box, 0),
    }  # fmt: skip
    for case in toy_cases:
        if case.group in kinds:
            kind, number = kinds[case.group]
            outputs = [target.output for target in case.sample.targets]
            assert len(outputs) == number and all(isinstance(output, kind) for output in outputs), case.id
    yes_no = [c.sample.text for c in toy_cases if c.group == "choice" and "yes_no" in c.id]
    assert set(yes_no) == {"Yes.", "No."}
    assert abs(yes_no.count("Yes.") - yes_no.count("No.")) <= 0.3 * len(yes_no)


def test_a_conversation_ends_in_words_a_box_or_a_mask(toy_cases: list[Case]) -> None:
    asked = [case.sample for case in toy_cases if case.group == "dialogue"]
    drawn = {type(target.output) for sample in asked for target in sample.targets}
    assert drawn == {Box, Mask} and any(not sample.targets for sample in asked)
    assert all(sample.history and sample.history[-1].role == "assistant" for sample in asked)


def test_half_of_what_is_looked_for_is_absent(toy_cases: list[Case]) -> None:
    asked = [case.sample for case in toy_cases if case.group == "absent"]
    there = Counter(bool(sample.targets) for sample in asked)
    assert there[True] == there[False] > 0
    assert all(sample.meta["negative"] == (not sample.targets) for sample in asked)
    # Neither the task nor the number tells which it is.
    assert {s.task for s in asked if s.targets} == {s.task for s in asked if not s.targets} == {"box", "segment"}
    assert all(sample.prompt.startswith(("Where is the ", "Segment the ")) for sample in asked)


def test_prompts_of_all_four_kinds_are_read(toy_cases: list[Case]) -> None:
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for case in toy_cases:
        if case.group in ("region_name", "region_mask"):
            (prompt,) = case.sample.visual_prompts
            kinds[case.group][prompt.kind] += 1
    assert all(set(found) == {"box", "point", "mask", "scribble"} for found in kinds.values())
    assert kinds["region_name"]["box"] == 48


def test_one_of_two_things_is_meant_and_the_other_excluded(toy_cases: list[Case]) -> None:
    asked = [case.sample for case in toy_cases if case.group == "region_except"]
    assert {sample.visual_prompts[0].kind for sample in asked} == {"box", "point"}
    for sample in asked:
        meant, excluded = sample.visual_prompts
        (target,) = (mask_bitmap(t.output) for t in sample.targets if isinstance(t.output, Mask))
        assert (meant.excludes, excluded.excludes, excluded.kind) == (False, True, "point")
        assert not _shows(target, excluded.xy)
        assert meant.kind == "box" or _shows(target, meant.xy)


def _shows(bitmap: np.ndarray, xy: tuple[float, float] | None) -> bool:
    assert xy is not None
    height, width = bitmap.shape
    return bool(bitmap[int(xy[1] * height), int(xy[0] * width)])


def test_facts_name_what_is_there(toy_cases: list[Case]) -> None:
    captions = [case.sample for case in toy_cases if case.group == "caption"]
    for sample in captions:
        facts = sample.meta["facts"]
        assert isinstance(facts, tuple)
        # Plurals need more than an s in general; not for these shapes, except the plural of torus.
        assert all(fact in sample.text.lower().replace("tori", "torus") for fact in facts)
    assert any(len(sample.meta["facts"]) > 2 for sample in captions)  # type: ignore[arg-type]


def test_wordings_are_the_first_ones(toy_cases: list[Case]) -> None:
    firsts = {"detect": "Detect all objects.", "depth": "Estimate the depth.", "caption": "Describe the image.",
              "region_name": "What is this?", "region_mask": "Segment this.",
              "region_except": "Segment this."}  # fmt: skip
    for case in toy_cases:
        assert case.sample.prompt == firsts.get(case.group, case.sample.prompt)
    assert not [c for c in toy_cases if c.group != "choice" and "thing thing" in c.sample.prompt]  # a synonym's


def test_cases_depend_on_nothing_but_the_split_and_the_number(toy_assets: Assets, toy_cases: list[Case]) -> None:
    again = list(world_suite(TOY, size=SIZE, assets=toy_assets).cases(3))
    assert [said(case) for case in again] == [said(case) for case in toy_cases[: len(again)]]
    assert [case.id for case in world_suite(TOY, size=SIZE, assets=toy_assets).cases(1)] == [
        case.id for case in again if case.sample.meta["index"] == 0
    ]


def test_more_scenes_than_there_are_is_all_of_them(toy_assets: Assets) -> None:
    small = Split(name="toy", summary="", styles=("fluent",), size=2)
    for limit in (None, 10):
        cases = list(world_suite(small, size=SIZE, assets=toy_assets).cases(limit))
        assert {case.sample.meta["index"] for case in cases} == {0, 1}
    with pytest.raises(GeneralistError, match="no end"):
        world_suite(Split(name="endless", summary="", size=None), size=SIZE, assets=toy_assets).cases(None)


def test_where_pairs_are_kept_back_these_are_looked_for(toy_assets: Assets) -> None:
    split = Split(name="pairs", summary="", styles=("fluent",), kept_back="pairs", size=16)
    cases = list(world_suite(split, size=SIZE, assets=toy_assets).cases(None))
    found = [case for case in cases if case.id.endswith(("-box", "-mask", "-point", "-present"))]
    assert len(found) > 16
    for case in found:
        (target,) = case.sample.targets
        words = target.label.split()
        assert any(colour in words and words[-1] == shape for colour, shape in HELD_OUT_PAIRS), target.label


def test_where_a_style_is_kept_back_solids_are_not_looked_for(toy_assets: Assets) -> None:
    split = Split(name="style", summary="", styles=("noto",), kept_back="style", size=16)
    cases = list(world_suite(split, size=SIZE, assets=toy_assets).cases(None))
    named = {t.label for c in cases if c.group in ("box", "point", "region_mask") for t in c.sample.targets}
    assert named and named <= {"red disc", "green square", "blue ring", "yellow bar"}


# --- folders ------------------------------------------------------------------------------------------

FOLDER_GROUPS = {
    "coco": {"detect", "box", "mask", "point", "count", "caption"},
    "coco_panoptic": {"detect", "box", "mask", "count"},
    "lvis": {"detect", "box", "mask", "count"},
    "refcoco": {"detect", "box", "mask", "count"},
    "referring_rows": {"detect", "box", "count"},
    "yolo": {"detect", "box", "mask", "count"},
    "voc": {"detect", "box", "count"},
    "labelme": {"detect", "box", "mask", "count"},
    "mask_folder": {"semantic", "mask"},
    "depth_folder": {"depth"},
    "rgbd": {"depth"},
    "messages": {"choice"},
    "imagefolder": {"choice"},
    "captions": {"caption"},
    "csv": {"detect", "box", "count"},
}


def cases_of(name: str, folder: Path) -> list[Case]:
    return list(folder_suite(write_set(name, folder)).cases(None))


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_every_format_makes_sound_cases(name: str, tmp_path: Path) -> None:
    cases = cases_of(name, tmp_path / name)
    for case in cases:
        check_sample(case)
    assert cases and len({case.id for case in cases}) == len(cases)
    if name in FOLDER_GROUPS:
        assert {case.group for case in cases} == FOLDER_GROUPS[name]


def test_a_folder_is_called_by_its_name_and_limited_in_pictures(tmp_path: Path) -> None:
    folder = write_set("voc", tmp_path / "dogs")
    suite = folder_suite(folder)
    assert suite.name == "dogs"
    assert {case.sample.meta["record"] for case in suite.cases(1)} < {
        c.sample.meta["record"] for c in suite.cases(None)
    }
    assert {case.sample.meta["split"] for case in folder_suite(folder, split="val").cases(None)} == {"val"}
    assert folder_suite(folder, split="val").name == "dogs/val"


def test_expressions_take_the_place_of_classes(tmp_path: Path) -> None:
    cases = [case for case in cases_of("refcoco", tmp_path / "refs") if case.group in ("box", "mask")]
    assert {case.sample.prompt for case in cases} == {"Where is the left dog?", "Segment the left dog."}
    assert {case.sample.meta["ability"] for case in cases} == {"expression"}


def test_a_class_is_a_name_where_one_thing_has_it(tmp_path: Path) -> None:
    text(tmp_path / "boxes.csv", "image,label,x1,y1,x2,y2", "a.jpg,gadget,2,2,12,10", "a.jpg,dog,2,2,8,8",
         "a.jpg,dog,9,9,12,12")  # fmt: skip
    write_set("voc", tmp_path / "pictures")
    (tmp_path / "pictures" / "JPEGImages" / "a.jpg").rename(tmp_path / "a.jpg")
    cases = list(folder_suite(tmp_path / "boxes.csv").cases(None))
    boxes = [case.sample for case in cases if case.group == "box"]
    assert [(sample.prompt, sample.meta["ability"]) for sample in boxes] == [("Detect gadget.", "class")]
    (everything,) = [case.sample for case in cases if case.group == "detect"]
    assert Counter(target.label for target in everything.targets) == {"gadget": 1, "dog": 2}
    assert {case.sample.text for case in cases if case.group == "count"} == {"1", "2"}


def test_a_picture_has_one_caption_case_with_all_references(tmp_path: Path) -> None:
    cases = cases_of("captions", tmp_path / "captions")
    assert [case.sample.meta["references"] for case in cases] == [("A dog, running.", "A dog."), ("A cat.",)]


def test_stuff_is_told_from_things(tmp_path: Path) -> None:
    (case, *_) = [c for c in cases_of("mask_folder", tmp_path / "masks") if c.group == "semantic"]
    labels = {target.label for target in case.sample.targets}
    assert labels and case.sample.meta["stuff"] == tuple(sorted(labels))


def test_long_answers_are_not_asked_for(tmp_path: Path) -> None:
    def turns(*said: str) -> str:
        roles = ("user", "assistant")
        messages = [f'{{"role": "{roles[k % 2]}", "content": "{words}"}}' for k, words in enumerate(said)]
        return f'{{"image": "a.jpg", "messages": [{", ".join(messages)}]}}'

    write_set("voc", tmp_path / "pictures")
    (tmp_path / "pictures" / "JPEGImages" / "a.jpg").rename(tmp_path / "a.jpg")
    text(tmp_path / "train.jsonl", turns("<image>Is it a dog?", "Yes.", "And why do you think so?",
                                         "It has four legs and barks.", "Is it red?", "No."))  # fmt: skip
    cases = list(folder_suite(tmp_path / "train.jsonl").cases(None))
    assert [(case.group, case.sample.text) for case in cases] == [("choice", "Yes."), ("dialogue", "No.")]
    assert len(cases[1].sample.history) == 4


def test_ids_that_a_data_set_repeats_are_told_apart(tmp_path: Path) -> None:
    write_set("voc", tmp_path / "pictures")
    (tmp_path / "pictures" / "JPEGImages" / "a.jpg").rename(tmp_path / "a.jpg")
    row = '{"id": 7, "image": "a.jpg", "messages": [{"role": "user", "content": "<image>Red?"}, %s]}'
    text(tmp_path / "train.jsonl", *[row % '{"role": "assistant", "content": "No."}'] * 2)
    first, second = folder_suite(tmp_path / "train.jsonl").cases(None)
    assert first.id != second.id and second.sample.id == second.id


def test_real_photographs(shared_data: object) -> None:
    folder = shared_data("coco128-train")  # type: ignore[operator]
    cases = list(get_suite(folder).cases(4))
    for case in cases:
        check_sample(case)
    assert {"detect", "count"} <= {case.group for case in cases}


# --- by name ------------------------------------------------------------------------------------------


def test_there_is_a_suite_for_every_evaluation_split() -> None:
    assert set(SUITES) == {f"world/{name}" for name, split in SPLITS.items() if split.size is not None}
    assert all(suite.name == name and suite.summary for name, suite in SUITES.items())
    assert get_suite("world") is SUITES["world/compositions"]
    assert get_suite("world/style", options=Options()) is SUITES["world/style"]
    assert get_suite("world/style", size=(192, 192)).name == "world/style@192x192"


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("wrold", {}, "world/compositions, world/attributes, world/style, world/concepts"),
        ("a\0b", {}, "no suite"),
        ("world/train", {}, "no suite"),
        ("world", {"format": "coco"}, "are of folders"),
        ("world", {"options": Options(depth_scale=1000)}, "are of folders"),
        (".", {"size": (192, 192)}, "composed scenes"),
        (".", {"format": "cooc"}, "no format 'cooc'"),
    ],
)
def test_what_is_not_a_suite_is_one_line(name: str, arguments: dict[str, object], says: str) -> None:
    with pytest.raises(GeneralistError, match=says) as raised:
        get_suite(name, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_a_folder_of_composed_scenes_is_named_by_its_suite(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": "generalist world, version 2", "split": "style"}')
    with pytest.raises(GeneralistError, match="composed scenes"):
        get_suite(tmp_path)


@pytest.fixture
def without_cv2(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in [m for m in sys.modules if m.startswith("generalist_datasets.world") or m.endswith("suites.world")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "cv2", None)
    yield


def test_what_is_not_installed_is_named(without_cv2: None) -> None:
    with pytest.raises(GeneralistError, match=r"cv2 is not installed; pip install 'generalist\[train\]'"):
        get_suite("world").cases(1)
