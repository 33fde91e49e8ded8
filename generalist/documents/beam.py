"""Writing only what exists: beam search and sampling over the text of an index.

Every hypothesis is a state of the automaton, so whatever comes out stands in the collection. The log-probabilities are
the model's own over its whole vocabulary: what the index leaves to choose from narrows the choice, not the score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from generalist.documents.asking import Question
from generalist.documents.models import Floats, TokenModel
from generalist.index.automaton import TextAutomaton
from generalist.types import GeneralistError


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An n-gram of the collection, or the beginning of a title: its tokens, natural log-probability and state.

    ``whole``: it is an identifier as it stands; an n-gram always is.
    """

    tokens: tuple[int, ...]
    logprob: float
    state: int
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamOptions:
    """``width`` hypotheses of up to ``length`` tokens.

    With a ``temperature`` above 0 they are drawn, each by itself, with ``seed``; otherwise they are the best ones.
    """

    width: int = 15
    length: int = 10
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, most in (("width", self.width, 1000), ("length", self.length, 64)):
            if not 1 <= value <= most:
                raise GeneralistError(f"the {name} of the search is {value}; use 1 to {most}")
        if not 0 <= self.temperature < float("inf"):
            raise GeneralistError(f"temperature is {self.temperature}; use 0 (the best) or more")


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What was written for one question, and ``first``, the log-probabilities [V] of its first token, where known.

    ``written`` holds every n-gram that was under way at some step, not only those of the last one: a short one
    can be the telling one.
    """

    written: tuple[Written, ...]
    first: Floats | None = None


def write(
    model: TokenModel, automaton: TextAutomaton, questions: Sequence[Question], options: BeamOptions
) -> list[Search]:
    """Identifiers for each question, all questions in one batch.

    Raises :class:`GeneralistError` for a question that the model cannot be asked.
    """
    if not questions:
        return []
    reading, logprobs = model.read(questions)
    rng = np.random.default_rng(options.seed)
    first = logprobs
    found: list[dict[tuple[int, ...], Written]] = [{} for _ in questions]
    begun = Written(tokens=(), logprob=0.0, state=automaton.root, whole=False)
    copies = options.width if options.temperature > 0 else 1
    beams: list[list[tuple[int, Written]]] = [[(row, begun)] * copies for row in range(len(questions))]
    for step in range(options.length):
        chosen = [_choose(automaton, beam, logprobs, options, rng) for beam in beams]
        if automaton.what == "ngrams":
            for kept, beam in zip(found, chosen, strict=True):
                kept.update((written.tokens, written) for _, written in beam)
        rows = [row for beam in chosen for row, _ in beam]
        tokens = [written.tokens[-1] for beam in chosen for _, written in beam]
        if not rows or (step + 1 == options.length and automaton.what == "ngrams"):
            break
        logprobs = reading.go_on(rows, tokens)
        beams = _renumbered(chosen)
        if automaton.what == "titles":
            for kept, beam in zip(found, beams, strict=True):
                _keep_titles(kept, beam, automaton, logprobs, model.end, last=step + 1 == options.length)
    return [Search(tuple(kept.values()), first[row]) for row, kept in enumerate(found)]


def _choose(
    automaton: TextAutomaton,
    beam: Sequence[tuple[int, Written]],
    logprobs: Floats,
    options: BeamOptions,
    rng: np.random.Generator,
) -> list[tuple[int, Written]]:
    """The hypotheses of one question with one more token."""
    following = [(row, written, automaton.following(written.state).tokens) for row, written in beam]
    following = [(row, written, tokens) for row, written, tokens in following if len(tokens)]
    if options.temperature > 0:
        drawn = ((row, written, _draw(logprobs[row, tokens], options.temperature, rng), tokens)
                 for row, written, tokens in following)  # fmt: skip
        return [_longer(automaton, row, written, int(tokens[at]), logprobs) for row, written, at, tokens in drawn]
    if not following:
        return []
    scores = np.concatenate([written.logprob + logprobs[row, tokens] for row, written, tokens in following])
    ends = np.cumsum([len(tokens) for _, _, tokens in following])
    kept = min(options.width, len(scores))
    best = np.argpartition(-scores, kept - 1)[:kept] if kept < len(scores) else np.arange(kept)
    best = best[np.lexsort((best, -scores[best]))]
    places = np.searchsorted(ends, best, "right")
    return [
        _longer(automaton, row, written, int(tokens[at - (end - len(tokens))]), logprobs)
        for at, (row, written, tokens), end in zip(
            best.tolist(), (following[place] for place in places), ends[places].tolist(), strict=True
        )
    ]


def _draw(logprobs: Floats, temperature: float, rng: np.random.Generator) -> int:
    """The Gumbel-max trick: the place of a draw from softmax(logprobs / temperature)."""
    return int((logprobs.astype(np.float64) / temperature + rng.gumbel(size=len(logprobs))).argmax())


def _longer(automaton: TextAutomaton, row: int, written: Written, token: int, logprobs: Floats) -> tuple[int, Written]:
    return row, Written(
        tokens=(*written.tokens, token),
        logprob=written.logprob + float(logprobs[row, token]),
        state=automaton.step(written.state, token),
    )


def _keep_titles(
    kept: dict[tuple[int, ...], Written],
    beam: Sequence[tuple[int, Written]],
    automaton: TextAutomaton,
    logprobs: Floats,
    end: int,
    *,
    last: bool,
) -> None:
    """Titles that end here, with the log-probability of ending; at the last step also the beginnings of others."""
    for row, written in beam:
        if automaton.following(written.state).ends:
            logprob = written.logprob + float(logprobs[row, end])
            kept[written.tokens] = Written(tokens=written.tokens, logprob=logprob, state=written.state)
        elif last:
            kept[written.tokens] = Written(
                tokens=written.tokens, logprob=written.logprob, state=written.state, whole=False
            )


def _renumbered(chosen: Sequence[Sequence[tuple[int, Written]]]) -> list[list[tuple[int, Written]]]:
    """The rows of the next step count through all hypotheses."""
    number: Iterator[int] = iter(range(sum(map(len, chosen))))
    return [[(next(number), written) for _, written in beam] for beam in chosen]
