"""Identifiers from an engine that has no beams, such as vLLM: several replies to each question, drawn at random.

The engine is held to the index by the request's constraint, like any reply with documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from generalist.documents.asking import Question, chat_prompt
from generalist.documents.beam import BeamOptions, Search, Written
from generalist.engine import Engine
from generalist.identifiers import TITLES
from generalist.index.automaton import DEAD, TextAutomaton
from generalist.pipeline import Line
from generalist.tokens import DOC_CLOSE, DOC_OPEN, PHRASE_CLOSE, PHRASE_OPEN, UNIT_CLOSE, UNIT_OPEN
from generalist.types import Constraint, Generation, Sampling

_TEMPERATURE = 1.0
"""Where none is asked for: the model's own probabilities."""
_MOST_NAME = 16
"""Tokens of the phrase before a title."""


def write_with_engine(
    engine: Engine,
    line: Line,
    folder: Path,
    automaton: TextAutomaton,
    questions: Sequence[Question],
    options: BeamOptions,
) -> list[Search]:
    """As :func:`~generalist.documents.beam.write`, of the index in ``folder``: ``width`` draws a question."""
    constraint = _constraint(line, folder, automaton, options.length)
    room = options.length + 2 if automaton.what == "ngrams" else options.length + _MOST_NAME + 12
    # The automaton has to see <doc> written, and the grammar how a reply begins.
    asked = [chat_prompt(question, line) for question in questions]
    prompts = [replace(prompt, token_ids=prompt.token_ids[:-1], constraint=constraint) for prompt in asked]
    opened, closed = (line.vocabulary.structure[name] for name in (DOC_OPEN, DOC_CLOSE))
    found: list[dict[tuple[int, ...], Written]] = [{} for _ in questions]
    for draw in range(options.width):
        sampling = Sampling(
            temperature=options.temperature or _TEMPERATURE,
            max_new_tokens=room,
            seed=options.seed + draw,  # an engine draws alike for all rows of a call
        )
        for kept, generation in zip(found, engine.generate(prompts, sampling), strict=True):
            kept.update((written.tokens, written) for written in _read(generation, automaton, opened, closed))
    return [Search(tuple(kept.values())) for kept in found]


def _constraint(line: Line, folder: Path, automaton: TextAutomaton, length: int) -> Constraint:
    """``<doc>``, up to ``length`` tokens of text, ``</doc>``; before a title the phrase and unit of a whole reply."""
    vocabulary = line.vocabulary

    def exactly(*ids: int) -> str:
        return " ".join(f"Token({one})" for one in ids)

    phrase, phrase_end, unit, unit_end, opened, closed = (
        vocabulary.structure[name] for name in (PHRASE_OPEN, PHRASE_CLOSE, UNIT_OPEN, UNIT_CLOSE, DOC_OPEN, DOC_CLOSE)
    )
    document = f"{exactly(opened)} text{{1,{length}}} {exactly(closed)}"
    root, identifiers = document, str(folder)
    if automaton.what == "titles":
        kind = exactly(vocabulary.open_paren, unit, *vocabulary.encode_text("doc"), unit_end, vocabulary.ref[0])
        root = f"{exactly(phrase)} text{{1,{_MOST_NAME}}} {exactly(phrase_end)} {kind} {document}"
        identifiers += TITLES
    special = ", ".join(map(str, sorted(vocabulary.special_ids)))
    return Constraint(grammar=f"root ::= {root}\ntext ::= ExcludeToken({special})\n", identifiers=identifiers)


def _read(generation: Generation, automaton: TextAutomaton, opened: int, closed: int) -> list[Written]:
    """Every n-gram that a reply begins with, or its title."""
    if opened not in generation.token_ids:
        return []
    begin = generation.token_ids.index(opened) + 1
    rest = generation.token_ids[begin:]
    ended = closed in rest
    tokens = rest[: rest.index(closed)] if ended else rest
    logprobs = generation.logprobs[begin:]
    found: list[Written] = []
    state, total = automaton.root, 0.0
    for count, token in enumerate(tokens, 1):
        state, total = automaton.step(state, token), total + logprobs[count - 1]
        if state == DEAD:
            break
        found.append(Written(tokens=tokens[:count], logprob=total, state=state))
    if automaton.what == "ngrams" or not found:
        return found
    title = found[-1]
    whole = ended and len(found) == len(tokens)
    return [replace(title, logprob=title.logprob + (logprobs[len(tokens)] if whole else 0.0), whole=whole)]
