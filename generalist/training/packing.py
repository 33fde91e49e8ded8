"""From scenes and questions to training examples: several question-answer pairs share one image.

The layout of a packed sequence is described in :mod:`generalist.training.examples`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from generalist.decoders.crops import mask_to_payload
from generalist.prompt import question_ids
from generalist.reply import encode
from generalist.tasks import TASKS
from generalist.tokens import ASSISTANT, BOS, USER, Vocabulary
from generalist.training.examples import NOTHING, Example
from generalist.training.image_arrays import depth_range, image_arrays
from generalist.types import Phrase, Ref, Reply, Unit
from generalist_datasets.world.drawing import draw_prompt, inner_point
from generalist_datasets.world.question import Drawn, Question, Target, answer_text
from generalist_datasets.world.scene import MAX_THINGS, SURFACES, Scene

TASK_NUMBERS = {name: number for number, name in enumerate(TASKS)}
"""What stands for a task in ``Example.tasks``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much the prediction of each kind of token counts.

    ``range``: the two ends of a depth map, whose error all of the map has.
    """

    text: float = 2.0
    loc: float = 1.0
    mask: float = 0.6
    depth: float = 0.4
    range: float = 3.0


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
        joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        surfaces = {
            piece.surface for q in questions for piece in q.answer if isinstance(piece, Target) and piece.surface
        }
        return Example(**joined, **image_arrays(scene, self.grid, surfaces))

    def _prefix_row(self) -> dict[str, np.ndarray]:
        return columns(self.prefix, segment=0, first=0)

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
        row = columns([*asked, *answer], segment=number, first=len(self.prefix))
        row["weights"][len(asked) :] = self.weights.text
        row["tasks"][len(asked) :] = TASK_NUMBERS[question.task]
        self._mark_answer(row, scene, len(asked), order)
        if not order:
            row["about"][len(asked) :] = _bits(question.about)
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
        """Say of every drawn token what it stands for, and of every word what it speaks of."""
        places = [(coordinates(scene, target, thing), thing) for target, thing in order]
        spoken = start
        for end, (_, thing) in zip(mark_drawings(row, self.vocab, self.weights, start, places), order, strict=True):
            # The words in front of a drawing speak of what it draws; the next drawing's words begin behind it.
            row["about"][spoken:end] = 0 if thing == NOTHING else _bits((thing,))
            spoken = end


def mark_drawings(
    row: dict[str, np.ndarray],
    vocab: Vocabulary,
    weights: Weights,
    start: int,
    drawings: Sequence[tuple[tuple[float, ...], int]],
) -> Iterator[int]:
    """Say of every drawn token of an answer what it stands for; yields where each drawing ends.

    ``row``: of :func:`columns`, marked in place; its answer begins at ``start``. ``drawings``, in the order written:
    the exact values of a drawing's location tokens, in 0-1, and the number of its region.
    """
    ids = row["ids"]
    refs = start + np.flatnonzero(_within(ids[start:], vocab.ref))
    stops = np.append(refs, len(ids))[1:]
    for ref, stop, (values, region) in zip(refs, stops, drawings, strict=True):
        inside = np.arange(ref + 1, stop)
        locs = inside[_within(ids[inside], vocab.loc)]
        if len(locs):
            row["locs"][locs] = values
        row["weights"][locs] = weights.loc
        drawn = [locs]
        for name, block in (("mask_code", vocab.mask), ("depth_code", vocab.depth)):
            codes = inside[_within(ids[inside], block)]
            number = np.arange(len(codes))
            row[name][codes] = number
            row["weights"][codes] = weights.mask if name == "mask_code" else weights.depth
            if name == "depth_code" and len(codes):
                row["weights"][locs] = weights.range
            drawn.append(codes)
        tokens = np.concatenate(drawn)
        row["things"][tokens] = region
        yield int(max(tokens, default=ref)) + 1


def columns(ids: Sequence[int], *, segment: int, first: int) -> dict[str, np.ndarray]:
    """What an :class:`Example` says of every position, of tokens that nothing is asked of yet."""
    length = len(ids)
    return {
        "ids": np.asarray(ids, np.int64),
        "segments": np.full(length, segment, np.int64),
        "positions": np.arange(first, first + length),
        "tasks": np.full(length, NOTHING, np.int64),
        "weights": np.zeros(length, np.float32),
        "locs": np.full(length, np.nan, np.float32),
        "about": np.zeros(length, np.int64),
        "things": np.full(length, NOTHING, np.int64),
        "mask_code": np.full(length, NOTHING, np.int64),
        "depth_code": np.full(length, NOTHING, np.int64),
    }


def _bits(regions: Iterable[int]) -> int:
    return sum(1 << region for region in set(regions))


def _within(ids: np.ndarray, block: range) -> np.ndarray:
    return (ids >= block.start) & (ids < block.stop)


def coordinates(scene: Scene, target: Target, region: int) -> tuple[float, ...]:
    """The exact values of a payload's location tokens, in 0-1; a document has none."""
    if target.kind == "doc":
        return ()
    if target.kind == "depth":
        assert scene.depth is not None  # nobody asks for the depth of a photograph
        return depth_range(scene.depth)
    if target.kind == "point":
        return inner_point(scene.mask(region))
    if target.surface:
        return mask_to_payload(scene.surface_mask(target.surface))[0]
    return scene.things[region].xyxy
