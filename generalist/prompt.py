"""From a conversation to token ids.

    <bos> then for every turn
      system:    <system> text
      user:      <user> <image>* text visual-prompts
      assistant: <assistant> text <eos>
    and at last <assistant>, behind which the model writes its reply.

What the user drew is written like a reply's drawings, without a phrase, for example
``What is this?(<Unit>box</Unit>[0]<loc><loc><loc><loc>)``; points beside it come last, behind
``EXCLUDING``. The text is taken as it is:
``tasks.question`` makes the words of a task.

A vocabulary with a ``base``, the language model that it was appended to, is asked in that one's own chat template
as long as the conversation has no image: its plain answers stay what they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL.Image import Image

from generalist.chat_template import chat_ids
from generalist.grammar import unit_ids
from generalist.tokens import ASSISTANT, BOS, MAX_REFS, SYSTEM, USER, Vocabulary
from generalist.types import ChatRequest, GeneralistError, Message, Prompt, PromptKind, VisualPrompt

XYXY = tuple[float, float, float, float]
EncodeMask = Callable[[VisualPrompt], tuple[XYXY, tuple[int, ...]]]
"""Turns a bitmap into its box (0-1) and the mask codes of that box; the codec lives above this module."""

EXCLUDING = " not"
"""The word in front of the points that what is meant does not cover."""
SCRIBBLE_POINTS = 8
_MAX_PIXELS = 4096  # enough of a stroke to place 8 points, few enough to be quick on a huge image


def build(request: ChatRequest, vocab: Vocabulary, encode_mask: EncodeMask | None = None) -> Prompt:
    """The prompt of a conversation, with one ``<image>`` id an image and no constraint attached.

    Raises :class:`GeneralistError` for a conversation that does not end with a question, for a turn
    that holds what its role cannot, and for a visual prompt that :func:`question_ids` refuses.
    """
    if not request.messages:
        raise GeneralistError("the conversation has 0 messages; give at least one user message")
    if request.messages[-1].role != "user":
        raise GeneralistError(f"the last message is from {request.messages[-1].role!r}; end with a user message")
    ids = [vocab.structure[BOS]]
    images: list[Image] = []
    for number, message in enumerate(request.messages):
        images += message.images
        _check_turn(message, number, [(image.height, image.width) for image in images])
        ids += _turn_ids(message, vocab, encode_mask)
    ids.append(vocab.structure[ASSISTANT])
    if vocab.base is not None and not images:
        ids = chat_ids(request.messages, vocab)
    return Prompt(token_ids=tuple(ids), images=tuple(images), adapter=request.adapter)


def question_ids(
    text: str,
    visual_prompts: Sequence[VisualPrompt],
    vocab: Vocabulary,
    encode_mask: EncodeMask | None = None,
) -> list[int]:
    """Token ids of a user turn's text and drawings, without the role and image tokens.

    Drawings of a kind share one unit, kinds in the order of their first drawing; every scribble
    has a unit of its own, of up to 8 points; points that exclude come last. Raises :class:`GeneralistError`
    for a drawing that is missing its data or lies outside the image, for a mask when ``encode_mask`` is not
    given, and for what excludes and is no point, or stands alone.
    """
    ids = vocab.encode_text(text)
    meant, excluded = split_excluded(visual_prompts)
    groups: dict[PromptKind, list[list[int]]] = {}
    for drawn in meant:
        if drawn.kind != "scribble":
            groups.setdefault(drawn.kind, []).append(_payload(drawn, vocab, encode_mask))
    for kind, payloads in groups.items():
        ids += _unit(kind, payloads, vocab)
    for drawn in meant:
        if drawn.kind == "scribble":
            points = _scribble_points(_bitmap(drawn))
            ids += unit_ids(vocab, drawn.kind, [_loc_ids(xy, vocab) for xy in points])
    if excluded:
        ids += vocab.encode_text(EXCLUDING)
        ids += _unit("point", [_payload(drawn, vocab, encode_mask) for drawn in excluded], vocab)
    return ids


def split_excluded(visual_prompts: Sequence[VisualPrompt]) -> tuple[list[VisualPrompt], list[VisualPrompt]]:
    """What is meant, and the points that are not; :class:`GeneralistError` when nothing is meant."""
    meant = [drawn for drawn in visual_prompts if not drawn.excludes]
    excluded = [drawn for drawn in visual_prompts if drawn.excludes]
    for drawn in excluded:
        if drawn.kind != "point":
            raise GeneralistError(f"a {drawn.kind} cannot exclude; use points for what is not meant")
    if excluded and not meant:
        raise GeneralistError("every point excludes; draw what is meant, too")
    return meant, excluded


def _unit(kind: PromptKind, payloads: Sequence[Sequence[int]], vocab: Vocabulary) -> list[int]:
    if len(payloads) > MAX_REFS:
        raise GeneralistError(f"the question has {len(payloads)} prompts of kind {kind!r}; use up to {MAX_REFS}")
    return unit_ids(vocab, kind, payloads)


def _turn_ids(message: Message, vocab: Vocabulary, encode_mask: EncodeMask | None) -> list[int]:
    if message.role == "system":
        return [vocab.structure[SYSTEM], *vocab.encode_text(message.text)]
    if message.role == "assistant":
        return [vocab.structure[ASSISTANT], *vocab.encode_text(message.text), vocab.eos]
    content = question_ids(message.text, message.visual_prompts, vocab, encode_mask)
    return [vocab.structure[USER], *[vocab.image] * len(message.images), *content]


def _check_turn(message: Message, number: int, sizes: list[tuple[int, int]]) -> None:
    """Refuse what a turn cannot hold; ``sizes`` = (H, W) of every image up to and with this turn."""
    where = f"message {number}"
    if message.role not in ("system", "user", "assistant"):
        raise GeneralistError(f"{where} has role {message.role!r}; use system, user or assistant")
    if message.role == "user":
        if not message.text.strip():
            raise GeneralistError(f"{where} has no text ({message.text!r}); say what to do, such as 'What is this?'")
    elif message.images or message.visual_prompts:
        raise GeneralistError(f"{where} is from {message.role!r} and has images or drawings; only a user's may")
    for drawn in message.visual_prompts:
        if not sizes:
            raise GeneralistError(f"{where} has a {drawn.kind} prompt and no image; add the image it is drawn on")
        if drawn.bitmap is not None and np.shape(drawn.bitmap) not in sizes:
            known = " or ".join(f"{h}x{w}" for h, w in sizes)
            got = "x".join(map(str, np.shape(drawn.bitmap)))
            raise GeneralistError(f"{where}: the {drawn.kind} is {got} (height x width); make it the image's {known}")


def _payload(drawn: VisualPrompt, vocab: Vocabulary, encode_mask: EncodeMask | None) -> list[int]:
    if drawn.kind == "box":
        return _loc_ids(_inside(drawn.xyxy, 4, drawn.kind), vocab)
    if drawn.kind == "point":
        return _loc_ids(_inside(drawn.xy, 2, drawn.kind), vocab)
    if drawn.kind != "mask":
        raise GeneralistError(f"there is no prompt of kind {drawn.kind!r}; use box, point, mask or scribble")
    _bitmap(drawn)
    if encode_mask is None:
        raise GeneralistError("a mask prompt needs the mask codec, and there is none; use a complete checkpoint")
    xyxy, codes = encode_mask(drawn)
    return [*_loc_ids(xyxy, vocab), *(vocab.mask[code] for code in codes)]


def _inside(values: Sequence[float] | None, count: int, kind: str) -> Sequence[float]:
    if values is None or len(values) != count:
        raise GeneralistError(f"a {kind} prompt has {values!r}; give {count} coordinates")
    if not all(math.isfinite(v) and 0 <= v <= 1 for v in values):
        raise GeneralistError(f"the {kind} prompt {tuple(values)} is not inside the image; use values from 0 to 1")
    if count == 4 and (values[2] < values[0] or values[3] < values[1]):
        raise GeneralistError(f"the box prompt {tuple(values)} is turned round; use x1 <= x2 and y1 <= y2")
    return values


def _bitmap(drawn: VisualPrompt) -> np.ndarray:
    bitmap = None if drawn.bitmap is None else np.asarray(drawn.bitmap)
    if bitmap is None or bitmap.ndim != 2:
        shape = None if bitmap is None else bitmap.shape
        raise GeneralistError(f"a {drawn.kind} prompt has a bitmap of shape {shape}; give one of height x width")
    if not bitmap.any():
        raise GeneralistError(f"the {drawn.kind} prompt of shape {bitmap.shape} has 0 pixels set; draw something")
    return bitmap


def _loc_ids(values: Sequence[float], vocab: Vocabulary) -> list[int]:
    return [vocab.loc[vocab.loc_bin(v)] for v in values]


def _scribble_points(bitmap: np.ndarray) -> list[tuple[float, float]]:
    """Up to 8 points (x, y in 0-1) spread over the strokes of a bool [H, W], top to bottom.

    Each is the pixel farthest from those before it, so that every stroke gets its share.
    """
    height, width = bitmap.shape
    pixels = np.argwhere(bitmap)[:, ::-1]  # [n, 2] x, y
    pixels = pixels[:: -(-len(pixels) // _MAX_PIXELS)].astype(np.float64)
    chosen = [0]
    distance = ((pixels - pixels[0]) ** 2).sum(1)
    while len(chosen) < SCRIBBLE_POINTS and distance.max() > 0:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((pixels - pixels[chosen[-1]]) ** 2).sum(1))
    points = [(pixels[i] + 0.5) / (width, height) for i in sorted(chosen)]
    return [(float(x), float(y)) for x, y in points]
