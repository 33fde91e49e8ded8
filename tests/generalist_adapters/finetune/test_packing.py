"""Rows of tokens say what the pictures show, and pictures are read as they are at inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from generalist.model import Checkpoint, load_checkpoint
from generalist.prompt import build
from generalist.reply import parse
from generalist.tasks import question
from generalist.tokens import ASSISTANT, Vocabulary
from generalist.training.examples import NOTHING
from generalist.types import ChatRequest, Message
from generalist_adapters.finetune.looking import Regions
from generalist_adapters.finetune.packing import PicturePacker, collate, filled
from generalist_adapters.finetune.pictures import Picture, Region
from generalist_adapters.finetune.questions import Asked, Drawing
from generalist_adapters.finetune.replay import replay
from generalist_adapters.finetune.setting import code_filler

GRID = (2, 2)


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Checkpoint:
    return load_checkpoint(tiny_base)


def region(label: str, x1: float, y1: float, x2: float, y2: float, *, masked: bool = False) -> Region:
    mask = np.zeros((40, 40), bool)
    mask[round(y1 * 40) : round(y2 * 40), round(x1 * 40) : round(x2 * 40)] = True
    return Region(label=label, xyxy=(x1, y1, x2, y2), mask=mask if masked else None)


LEFT, RIGHT = region("cell", 0.0, 0.0, 0.45, 0.5), region("cell", 0.5, 0.5, 1.0, 1.0)
PICTURE = Picture(id="p", image=Image.new("RGB", (40, 40), "red"), boxes=(LEFT, RIGHT))
BOXES = Asked(
    task="detect", text="Detect cells.", answer=(Drawing(label="cell", kind="box", regions=(LEFT, RIGHT)), " here.")
)
COUNT = Asked(task="count", text="How many cells?", answer=("2",), about=(LEFT, RIGHT))


def test_a_row_is_the_prompt_of_inference_and_the_answer(vocab: Vocabulary) -> None:
    row = PicturePacker(vocab, GRID, ["cell"]).pack(PICTURE, [BOXES])
    ids = row.columns["ids"].tolist()
    request = ChatRequest(messages=(Message(role="user", text="Detect cells.", images=(PICTURE.image,)),))
    prompt = list(build(request, vocab).token_ids)
    at = prompt.index(vocab.image)
    prompt[at : at + 1] = [vocab.image] * 4
    assert ids[: len(prompt)] == prompt and ids[-1] == vocab.eos
    reply = parse(ids[len(prompt) : -1], vocab)
    assert not reply.issues and reply.text == "cell here." and reply.phrases[0].unit is not None
    boxes = [[vocab.loc_value(code) for code in ref.codes] for ref in reply.phrases[0].unit.refs]
    assert np.abs(np.array(boxes) - np.array([LEFT.xyxy, RIGHT.xyxy])).max() <= 1 / len(vocab.loc)
    located = ~np.isnan(row.columns["locs"])
    assert row.columns["locs"][located] == pytest.approx([*LEFT.xyxy, *RIGHT.xyxy])
    assert (row.columns["weights"][len(prompt) :] > 0).all() and not row.columns["weights"][: len(prompt)].any()


def test_tokens_know_what_they_speak_of_and_patches_what_they_show(vocab: Vocabulary) -> None:
    row = PicturePacker(vocab, GRID, ["other", "cell"]).pack(PICTURE, [BOXES, COUNT])
    assert row.patches.tolist() == [0, NOTHING, NOTHING, 1] and row.classes.tolist() == [1, NOTHING, NOTHING, 1]
    located = np.flatnonzero(~np.isnan(row.columns["locs"]))
    assert row.columns["about"][located].tolist() == [1] * 4 + [2] * 4
    told = row.columns["about"][(row.columns["segments"] == 2) & (row.columns["weights"] > 0)]
    assert told.tolist() == [3] * len(told)


def test_a_box_and_a_mask_of_a_thing_are_one_and_there_is_an_end_of_numbers() -> None:
    regions = Regions()
    assert regions.number(LEFT) == 0 == regions.number(region("cell", 0.0, 0.0, 0.44, 0.5, masked=True))
    assert regions.number(region("other", 0.0, 0.0, 0.45, 0.5)) == 1
    for k in range(80):
        last = regions.number(region(f"thing {k}", 0.0, 0.0, 0.1, 0.1))
    assert last == NOTHING and regions.patches((4, 4)).max() < 62


def test_what_does_not_fit_is_left_out_but_for_the_first(vocab: Vocabulary) -> None:
    packer = PicturePacker(vocab, GRID)
    assert len(packer.pack(PICTURE, [BOXES, COUNT], longest=4)) == len(packer.pack(PICTURE, [BOXES]))
    assert len(packer.pack(PICTURE, [BOXES, COUNT])) > len(packer.pack(PICTURE, [BOXES]))


def test_masks_become_the_codes_that_draw_them(vocab: Vocabulary, base: Checkpoint) -> None:
    thing = region("cell", 0.1, 0.2, 0.6, 0.8, masked=True)
    ask = Asked(task="segment", text="Segment it.", answer=(Drawing(label="cell", kind="mask", regions=(thing,)),))
    picture = Picture(id="p", image=PICTURE.image, masks=(thing,))
    rows = [PicturePacker(vocab, GRID).pack(picture, [ask]), PicturePacker(vocab, GRID).pack(PICTURE, [BOXES])]
    batch = collate(rows, vocab, base.processor)
    filler = code_filler(base)
    soft = filler(batch)
    assert soft.shape[:2] == (2, 1) and batch["cropped"].tolist() == [[True], [False]]
    codes = batch["ids"][0][batch["mask_code"][0] != NOTHING] - vocab.mask.start
    expected = filler.masks.encode(torch.ones(1, 64, 64, dtype=torch.bool))  # the whole of its own box
    assert codes.tolist() == expected[0].tolist()


def test_pictures_are_read_as_at_inference(vocab: Vocabulary, base: Checkpoint) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8))
    row = PicturePacker(vocab, GRID).pack(Picture(id="p", image=noise), [COUNT])
    batch = collate([row], vocab, base.processor)
    assert torch.equal(batch["pixel_values"], base.processor.image_processor([noise])["pixel_values"])


def test_questions_that_share_an_image_do_not_change_each_other(vocab: Vocabulary, base: Checkpoint) -> None:
    from generalist.training.examples import block_causal_mask

    packer = PicturePacker(vocab, GRID)
    alone = collate([packer.pack(PICTURE, [COUNT])], vocab, base.processor)
    packed = collate([packer.pack(PICTURE, [BOXES, COUNT])], vocab, base.processor)

    def states(batch: dict[str, torch.Tensor], segment: int) -> torch.Tensor:
        with torch.no_grad():
            seen = base.model.get_image_features(batch["pixel_values"]).pooler_output
            found = base.model.model(
                input_ids=batch["ids"], image_features=seen, attention_mask=block_causal_mask(batch["segments"]),
                position_ids=batch["positions"], use_cache=False,
            ).last_hidden_state  # fmt: skip
        return found[0][batch["segments"][0] == segment]

    assert torch.allclose(states(alone, 1), states(packed, 2), atol=1e-5)


def test_scenes_go_with_pictures(vocab: Vocabulary, base: Checkpoint) -> None:
    make, told = replay(vocab, base.model.config)
    assert make is not None and told.startswith("scenes with solids only")
    scene = make(np.random.default_rng(0), None)
    again = make(np.random.default_rng(0), None)
    assert np.array_equal(scene.columns["ids"], again.columns["ids"])
    batch = collate([scene, PicturePacker(vocab, GRID).pack(PICTURE, [BOXES])], vocab, base.processor)
    assert len(set(map(len, batch.values()))) == 1
    assert len(code_filler(base)(batch)) == len(batch["ids"])


def test_history_stands_before_the_question(vocab: Vocabulary) -> None:
    history = (Message(role="user", text="Is it red?"), Message(role="assistant", text="Yes."))
    asked = Asked(task="chat", text="And now?", answer=("No.",), history=history)
    row = PicturePacker(vocab, GRID).pack(PICTURE, [asked])
    first, *rest = (*history, Message(role="user", text="And now?"))
    request = ChatRequest(messages=(Message(role="user", text=first.text, images=(PICTURE.image,)), *rest))
    prompt = list(build(request, vocab).token_ids)
    ids = row.columns["ids"].tolist()
    assert ids[6 : 6 + len(prompt) - 3] == prompt[3:]  # behind <bos> <user> and the image
    assert row.columns["weights"].astype(bool).sum() == len(vocab.encode_text("No.")) + 1
    assert prompt[-1] == vocab.structure[ASSISTANT]


def test_holes_of_a_depth_map_are_filled() -> None:
    depth = np.array([[1.0, np.nan, np.nan], [np.nan, np.nan, 3.0]], np.float32)
    found = filled(depth)
    assert np.isfinite(found).all() and found[0, 0] == 1 and found[1, 2] == 3 and set(found.ravel()) == {1.0, 3.0}
    assert np.isfinite(filled(np.full((2, 2), np.nan, np.float32))).all()
    assert question("depth")
