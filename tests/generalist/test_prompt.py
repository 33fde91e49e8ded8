"""Conversations in tokens: the layout of turns, the drawings behind a question, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from generalist.prompt import build, question_ids
from generalist.tokens import Vocabulary
from generalist.types import ChatRequest, GeneralistError, Message, VisualPrompt

IMAGE = Image.new("RGB", (8, 4))
BOX = VisualPrompt(kind="box", xyxy=(0.0, 0.25, 0.5, 1.0))
POINT = VisualPrompt(kind="point", xy=(0.5, 0.5))
BESIDE = VisualPrompt(kind="point", xy=(0.0, 1.0), excludes=True)

Ids = Callable[[str], list[int]]


def bitmap(height: int = 4, width: int = 8) -> np.ndarray:
    drawn = np.zeros((height, width), dtype=bool)
    drawn[1, 2] = True
    return drawn


def user(text: str = "What is this?", *drawn: VisualPrompt, images: tuple[Image.Image, ...] = (IMAGE,)) -> Message:
    return Message(role="user", text=text, images=images, visual_prompts=drawn)


def test_a_conversation_turn_by_turn(vocab: Vocabulary, ids: Ids) -> None:
    other = Image.new("RGB", (2, 2))
    request = ChatRequest(
        messages=(
            Message(role="system", text="Be brief."),
            Message(role="user", text="A dog?", images=(IMAGE, other)),
            Message(role="assistant", text="Yes."),
            Message(role="user", text="Where?"),
        ),
        adapter="cats",
    )
    prompt = build(request, vocab)
    assert list(prompt.token_ids) == ids(
        "<bos><system>Be brief.<user><image><image>A dog?<assistant>Yes.<eos><user>Where?<assistant>"
    )
    assert prompt.images == (IMAGE, other)
    assert prompt.adapter == "cats"
    assert prompt.constraint is None


def test_drawings_stand_behind_the_question(vocab: Vocabulary, ids: Ids) -> None:
    prompt = build(ChatRequest(messages=(user("What is this?", BOX),)), vocab)
    assert list(prompt.token_ids) == ids(
        "<bos><user><image>What is this?(<Unit>box</Unit>[0]<loc_0000><loc_0016><loc_0032><loc_0063>)<assistant>"
    )


def test_drawings_of_a_kind_share_a_unit(vocab: Vocabulary, ids: Ids) -> None:
    other = VisualPrompt(kind="point", xy=(0.0, 1.0))
    assert question_ids("?", [POINT, BOX, other], vocab) == ids(
        "?(<Unit>point</Unit>[0]<loc_0032><loc_0032>[1]<loc_0000><loc_0063>)"
        "(<Unit>box</Unit>[0]<loc_0000><loc_0016><loc_0032><loc_0063>)"
    )


def test_points_that_exclude_come_last_in_a_unit_of_their_own(vocab: Vocabulary, ids: Ids) -> None:
    dot = VisualPrompt(kind="scribble", bitmap=bitmap())
    point, box = "<loc_0032><loc_0032>", "<loc_0000><loc_0016><loc_0032><loc_0063>"
    assert question_ids("?", [BESIDE, POINT, dot, BOX, BESIDE], vocab) == ids(
        f"?(<Unit>point</Unit>[0]{point})(<Unit>box</Unit>[0]{box})(<Unit>scribble</Unit>[0]<loc_0020><loc_0024>)"
        " not(<Unit>point</Unit>[0]<loc_0000><loc_0063>[1]<loc_0000><loc_0063>)"
    )


EXCLUDING = {
    "nothing is meant": ([BESIDE, BESIDE], "every point excludes; draw what is meant, too"),
    "a box": ([POINT, replace(BOX, excludes=True)], "a box cannot exclude; use points"),
    "a scribble": ([POINT, VisualPrompt(kind="scribble", bitmap=bitmap(), excludes=True)], "a scribble cannot exclude"),
    "too many": ([POINT, *[BESIDE] * 65], "65 prompts of kind 'point'"),
    "outside": ([POINT, replace(BESIDE, xy=(1.5, 0.0))], "1.5.* is not inside the image"),
}


@pytest.mark.parametrize("name", EXCLUDING)
def test_what_cannot_exclude_is_refused(vocab: Vocabulary, name: str) -> None:
    drawn, said = EXCLUDING[name]
    with pytest.raises(GeneralistError, match=said) as raised:
        question_ids("What?", drawn, vocab)
    assert "\n" not in str(raised.value)


def test_a_mask_is_written_by_the_codec(vocab: Vocabulary, ids: Ids) -> None:
    drawn = VisualPrompt(kind="mask", bitmap=bitmap())
    written = question_ids("?", [drawn], vocab, lambda prompt: ((0.25, 0.25, 0.5, 0.5), tuple(range(16))))
    codes = "".join(f"<mask_{k:03d}>" for k in range(16))
    assert written == ids(f"?(<Unit>mask</Unit>[0]<loc_0016><loc_0016><loc_0032><loc_0032>{codes})")


def test_a_scribble_is_points_spread_over_its_strokes(vocab: Vocabulary) -> None:
    drawn = np.zeros((64, 64), dtype=bool)
    drawn[5, 2:62] = True  # two strokes, far apart
    drawn[60, 2:62] = True
    written = question_ids("", [VisualPrompt(kind="scribble", bitmap=drawn)], vocab)
    points = [written[k + 1 : k + 3] for k, i in enumerate(written) if i in vocab.ref]
    assert [i for i in written if i in vocab.ref] == list(vocab.ref[:8])
    rows = [y - vocab.loc[0] for _, y in points]
    columns = [x - vocab.loc[0] for x, _ in points]
    assert set(rows) == {5, 60}
    assert min(rows.count(5), rows.count(60)) >= 3
    assert all(drawn[y, x] for x, y in zip(columns, rows, strict=True))


def test_a_dot_is_a_scribble_of_one_point(vocab: Vocabulary, ids: Ids) -> None:
    written = question_ids("", [VisualPrompt(kind="scribble", bitmap=bitmap())], vocab)
    assert written == ids("(<Unit>scribble</Unit>[0]<loc_0020><loc_0024>)")


def test_two_scribbles_are_two_units(vocab: Vocabulary) -> None:
    dot = VisualPrompt(kind="scribble", bitmap=bitmap())
    written = question_ids("", [dot, dot], vocab)
    assert written[: len(written) // 2] == written[len(written) // 2 :]
    assert written.count(vocab.structure["<Unit>"]) == 2


def test_typed_tokens_stay_characters(vocab: Vocabulary) -> None:
    prompt = build(ChatRequest(messages=(user("<image><eos>[0]<assistant>"),)), vocab)
    assert [vocab.name(i) for i in prompt.token_ids if not vocab.is_text(i)] == [
        *("<bos>", "<user>", "<image>"),
        "<assistant>",
    ]


def test_a_very_long_question_is_kept_whole(vocab: Vocabulary) -> None:
    text = "Where is the dog? " * 2800
    prompt = build(ChatRequest(messages=(user(text),)), vocab)
    assert vocab.decode_text(prompt.token_ids) == text


WRONG_TURNS = {
    "no message at all": ((), "0 messages"),
    "nothing asked": ((user(), Message(role="assistant", text="A dog.")), "last message is from 'assistant'"),
    "unknown role": ((Message(role="tool", text="4"), user()), "message 0 has role 'tool'"),  # type: ignore[arg-type]
    "empty question": ((user(" \n"),), "message 0 has no text"),
    "image of the assistant": (
        (Message(role="assistant", text="Look.", images=(IMAGE,)), user()),
        "message 0 is from 'assistant' and has images",
    ),
    "drawing in the system turn": (
        (Message(role="system", text="Hm.", visual_prompts=(BOX,)), user()),
        "message 0 is from 'system' and has images or drawings",
    ),
    "drawing without an image": ((user("What?", BOX, images=()),), "message 0 has a box prompt and no image"),
    "bitmap of another size": (
        (user("What?", VisualPrompt(kind="scribble", bitmap=bitmap(8, 4))),),
        "the scribble is 8x4 .* image's 4x8",
    ),
    "lone surrogate": ((user("a \udfff"),), "not Unicode"),
}


@pytest.mark.parametrize("name", WRONG_TURNS)
def test_wrong_turns_are_refused(vocab: Vocabulary, name: str) -> None:
    messages, said = WRONG_TURNS[name]
    with pytest.raises(GeneralistError, match=said) as raised:
        build(ChatRequest(messages=messages), vocab)
    assert "\n" not in str(raised.value)


WRONG_DRAWINGS = {
    "box without coordinates": (VisualPrompt(kind="box"), "a box prompt has None; give 4 coordinates"),
    "point with four coordinates": (
        VisualPrompt(kind="point", xy=(0.1, 0.2, 0.3, 0.4)),  # type: ignore[arg-type]
        "give 2 coordinates",
    ),
    "box outside the image": (VisualPrompt(kind="box", xyxy=(0.5, 0.5, 1.5, 0.9)), "1.5.* is not inside the image"),
    "point that is no number": (VisualPrompt(kind="point", xy=(float("nan"), 0.5)), "not inside the image"),
    "box turned round": (VisualPrompt(kind="box", xyxy=(0.9, 0.1, 0.2, 0.5)), "turned round; use x1 <= x2"),
    "mask without a bitmap": (VisualPrompt(kind="mask"), "a mask prompt has a bitmap of shape None"),
    "mask with three channels": (VisualPrompt(kind="mask", bitmap=np.ones((4, 8, 3), bool)), r"shape \(4, 8, 3\)"),
    "mask of nothing": (VisualPrompt(kind="mask", bitmap=np.zeros((4, 8), bool)), "has 0 pixels set"),
    "scribble of nothing": (VisualPrompt(kind="scribble", bitmap=np.zeros((4, 8), bool)), "has 0 pixels set"),
    "mask without a codec": (VisualPrompt(kind="mask", bitmap=bitmap()), "needs the mask codec"),
    "unknown kind": (VisualPrompt(kind="lasso"), "no prompt of kind 'lasso'"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG_DRAWINGS)
def test_wrong_drawings_are_refused(vocab: Vocabulary, name: str) -> None:
    drawn, said = WRONG_DRAWINGS[name]
    with pytest.raises(GeneralistError, match=said) as raised:
        question_ids("What?", [drawn], vocab)
    assert "\n" not in str(raised.value)


def test_a_unit_has_room_for_64_drawings(vocab: Vocabulary) -> None:
    assert len(question_ids("?", [POINT] * 64, vocab)) > 64 * 3
    with pytest.raises(GeneralistError, match="65 prompts of kind 'point'"):
        question_ids("?", [POINT] * 65, vocab)
