"""From scenes and questions to training examples: several question-answer pairs share one image.

The layout of a packed sequence is described in :mod:`generalist.training.examples`.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import cv2
import numpy as np

from generalist.decoders import depth_codec
from generalist.decoders.crops import SIDE as CROP_SIDE
from generalist.decoders.crops import mask_to_payload
from generalist.decoders.depth import range_value
from generalist.prompt import question_ids
from generalist.reply import encode
from generalist.tasks import TASKS
from generalist.tokens import ASSISTANT, BOS, USER, Vocabulary
from generalist.training.examples import NOTHING, Example, ImageArrays
from generalist.types import Phrase, Ref, Reply, Unit
from generalist_datasets.world.drawing import draw_prompt, inner_point
from generalist_datasets.world.question import Drawn, Question, Target, answer_text
from generalist_datasets.world.scene import MAX_THINGS, SURFACES, Scene

REGIONS = MAX_THINGS + len(SURFACES)
_PATCH_SHARE = 0.35
_SAMPLED_PATCHES = 8
_TASK_NUMBERS = {name: number for number, name in enumerate(TASKS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much the prediction of each kind of token counts.

    Mask codes describe a shape from coarse to fine: the first one counts ``mask_first``, and the surplus
    over ``mask`` shrinks by ``mask_decay`` from each code to the next.
    """

    text: float = 0.75
    loc: float = 1.0
    mask: float = 0.25
    mask_first: float = 1.0
    mask_decay: float = 0.6
    depth: float = 0.15

    def mask_code(self, number: np.ndarray) -> np.ndarray:
        """Weights of mask codes by their place in the payload."""
        return self.mask + (self.mask_first - self.mask) * self.mask_decay**number


class Packer:
    """Packs scenes and questions for a vocabulary and a grid of image tokens."""

    def __init__(
        self, vocab: Vocabulary, grid: int, weights: Weights | None = None, *, longest: int | None = None
    ) -> None:
        self.vocab = vocab
        self.grid = grid
        self.weights = weights or Weights()
        self.longest = longest
        self.prefix = [vocab.structure[BOS], vocab.structure[USER], *[vocab.image] * grid**2]

    def pack(self, rng: np.random.Generator, scene: Scene, questions: Sequence[Question]) -> Example:
        """One example; ``scene`` is square, and every question is about it alone.

        A question that would make the sequence longer than ``longest`` positions is left out.
        """
        rows = [self._prefix_row()]
        length = len(self.prefix)
        for question in questions:
            row = self._segment(rng, scene, question, len(rows))
            if self.longest is None or length + len(row["ids"]) <= self.longest:
                rows.append(row)
                length += len(row["ids"])
        columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        surfaces = {
            piece.surface for q in questions for piece in q.answer if isinstance(piece, Target) and piece.surface
        }
        return Example(**columns, **self.image_arrays(scene, surfaces))

    def _prefix_row(self) -> dict[str, np.ndarray]:
        return _columns(self.prefix, segment=0, first=0)

    def _segment(
        self, rng: np.random.Generator, scene: Scene, question: Question, number: int
    ) -> dict[str, np.ndarray]:
        """The turns of one conversation; only its last answer is learnt."""
        structure = self.vocab.structure
        asked: list[int] = []
        mask_prompts: list[int] = []
        for turn in question.history:
            asked += self._asked(rng, scene, turn.text, turn.drawn, mask_prompts)
            # As at inference, an earlier answer is the words that the user has seen.
            asked += [structure[ASSISTANT], *self.vocab.encode_text(answer_text(turn.answer)), self.vocab.eos]
            asked.append(structure[USER])
        asked += self._asked(rng, scene, question.text, question.drawn, mask_prompts)
        asked.append(structure[ASSISTANT])
        reply, order = self._reply(scene, question)
        answer = [*encode(reply, self.vocab), self.vocab.eos]
        row = _columns([*asked, *answer], segment=number, first=len(self.prefix))
        row["weights"][len(asked) :] = self.weights.text
        row["tasks"][len(asked) :] = _TASK_NUMBERS[question.task]
        self._mark_answer(row, scene, len(asked), order)
        codes = np.flatnonzero(_within(row["ids"][: len(asked)], self.vocab.mask))
        for place, thing in zip(codes.reshape(-1, self.vocab.sizes.mask_length), mask_prompts, strict=True):
            row["mask_code"][place], row["things"][place] = np.arange(len(place)), thing
        return row

    def _asked(
        self, rng: np.random.Generator, scene: Scene, text: str, drawn: Sequence[Drawn], mask_prompts: list[int]
    ) -> list[int]:
        """Token ids of a question; the things that are shown by a mask are added to ``mask_prompts``."""
        no_codes = (0,) * self.vocab.sizes.mask_length
        mask_prompts += [d.thing for d in drawn if d.kind == "mask"]
        prompts = [draw_prompt(rng, scene, d) for d in drawn]
        return question_ids(text, prompts, self.vocab, lambda d: (mask_to_payload(np.asarray(d.bitmap))[0], no_codes))

    def _reply(self, scene: Scene, question: Question) -> tuple[Reply, list[tuple[Target, int]]]:
        """The reply, with zero for every code, and (target, region) of every ref in the order written."""
        text, phrases, order = "", [], []
        for piece in question.answer:
            if isinstance(piece, str):
                text += piece
                continue
            regions = piece.things or (MAX_THINGS + SURFACES.index(piece.surface) if piece.surface else NOTHING,)
            refs = tuple(Ref(index=k, codes=self._codes(scene, piece, r)) for k, r in enumerate(regions))
            span = (len(text), len(text) + len(piece.label))
            phrases.append(Phrase(text=piece.label, span=span, unit=Unit(kind=piece.kind, refs=refs)))
            text += piece.label
            order += [(piece, region) for region in regions]
        return Reply(text=text, phrases=tuple(phrases)), order

    def _codes(self, scene: Scene, target: Target, region: int) -> tuple[int, ...]:
        if target.kind == "doc":
            return tuple(self.vocab.encode_text(target.document))
        locs = tuple(self.vocab.loc_bin(v) for v in coordinates(scene, target, region))
        sizes = self.vocab.sizes
        behind = {"mask": sizes.mask_length, "depth": sizes.depth_grid**2}.get(target.kind, 0)
        return locs + (0,) * behind

    def _mark_answer(
        self, row: dict[str, np.ndarray], scene: Scene, start: int, order: Sequence[tuple[Target, int]]
    ) -> None:
        """Say of every drawn token what it stands for: walk the answer, one ref after another."""
        ids = row["ids"]
        refs = start + np.flatnonzero(_within(ids[start:], self.vocab.ref))
        stops = np.append(refs, len(ids))[1:]
        last_phrase = start
        for ref, stop, (target, thing) in zip(refs, stops, order, strict=True):
            inside = np.arange(ref + 1, stop)
            locs = inside[_within(ids[inside], self.vocab.loc)]
            if len(locs):
                row["locs"][locs] = coordinates(scene, target, thing)
            row["weights"][locs] = self.weights.loc
            row["things"][locs] = thing
            for name, block in (("mask_code", self.vocab.mask), ("depth_code", self.vocab.depth)):
                codes = inside[_within(ids[inside], block)]
                number = np.arange(len(codes))
                row[name][codes] = number
                row["weights"][codes] = self.weights.mask_code(number) if name == "mask_code" else self.weights.depth
                row["things"][codes] = thing
            # The words of a phrase speak of the first thing that they draw.
            row["things"][last_phrase : ref + 1] = np.where(
                row["things"][last_phrase : ref + 1] == NOTHING, thing, row["things"][last_phrase : ref + 1]
            )
            last_phrase = int(inside[-1])

    def image_arrays(self, scene: Scene, surfaces: Set[str] = frozenset()) -> ImageArrays:
        """What of an example depends on the image alone; ``surfaces`` that an answer draws."""
        concepts = np.full(REGIONS, NOTHING, np.int64)
        boxes = np.zeros((REGIONS, 4), np.float32)
        crops = np.zeros((REGIONS, CROP_SIDE, CROP_SIDE), bool)
        cropped = np.zeros(REGIONS, bool)
        for k, thing in enumerate(scene.things):
            concepts[k], boxes[k] = thing.concept, thing.xyxy
            crops[k], cropped[k] = mask_to_payload(scene.mask(k))[1], True
        for k, name in enumerate(SURFACES, start=MAX_THINGS):
            if name in surfaces:
                boxes[k], crops[k] = mask_to_payload(scene.surface_mask(name))
                cropped[k] = True
        depth = np.full((depth_codec.SIDE, depth_codec.SIDE), np.nan, np.float32)
        patches = patch_things(scene, self.grid)
        return {
            "image": scene.image,
            "patches": patches,
            "sampled": _some_of(patches != NOTHING),
            "concepts": concepts,
            "boxes": boxes,
            "crops": crops,
            "cropped": cropped,
            "depth": depth if scene.depth is None else normalised_depth(scene.depth),
        }


def _columns(ids: Sequence[int], *, segment: int, first: int) -> dict[str, np.ndarray]:
    length = len(ids)
    return {
        "ids": np.asarray(ids, np.int64),
        "segments": np.full(length, segment, np.int64),
        "positions": np.arange(first, first + length),
        "tasks": np.full(length, NOTHING, np.int64),
        "weights": np.zeros(length, np.float32),
        "locs": np.full(length, np.nan, np.float32),
        "things": np.full(length, NOTHING, np.int64),
        "mask_code": np.full(length, NOTHING, np.int64),
        "depth_code": np.full(length, NOTHING, np.int64),
    }


def _within(ids: np.ndarray, block: range) -> np.ndarray:
    return (ids >= block.start) & (ids < block.stop)


def coordinates(scene: Scene, target: Target, region: int) -> tuple[float, ...]:
    """The exact values of a payload's location tokens, in 0-1."""
    if target.kind == "depth":
        assert scene.depth is not None  # nobody asks for the depth of a photograph
        return (range_value(float(scene.depth.min())), range_value(float(scene.depth.max())))
    if target.kind == "point":
        return inner_point(scene.mask(region))
    if target.surface:
        return mask_to_payload(scene.surface_mask(target.surface))[0]
    return scene.things[region].xyxy


def patch_things(scene: Scene, grid: int) -> np.ndarray:
    """The thing that covers most of each patch, if it covers enough of it: int64 [grid * grid], -1 for none."""
    height, width = scene.instances.shape
    cells = scene.instances.reshape(grid, height // grid, grid, width // grid).transpose(0, 2, 1, 3)
    flat = cells.reshape(grid * grid, -1)
    cover = np.stack([(flat == k + 1).mean(1) for k in range(MAX_THINGS)], axis=1)
    return np.where(cover.max(1) >= _PATCH_SHARE, cover.argmax(1), NOTHING)


def _some_of(shown: np.ndarray) -> np.ndarray:
    """Which patches are asked for mask codes: a few of those that show a thing, spread over the image.

    What a loss asks does not depend on the other images of a batch, so that batches can be cut in any way.
    """
    among = np.flatnonzero(shown)
    chosen = np.zeros_like(shown)
    chosen[among[np.linspace(0, len(among) - 1, min(len(among), _SAMPLED_PATCHES)).astype(int)]] = True
    return chosen


def normalised_depth(depth: np.ndarray) -> np.ndarray:
    """Log depth between the nearest (0) and the farthest (1) pixel, float32 [96, 96]."""
    logs = np.log(depth)
    logs = (logs - logs.min()) / max(float(logs.max() - logs.min()), 1e-6)
    resized: np.ndarray = cv2.resize(logs, (depth_codec.SIDE, depth_codec.SIDE), interpolation=cv2.INTER_AREA)
    return resized.astype(np.float32)
