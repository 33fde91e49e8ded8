"""What holds for every dialect: nothing raises or hangs, and pieces are read as the whole is."""

from __future__ import annotations

import random
import time

import pytest

from generalist.dialects import DIALECTS, MODEL_TYPES, Dialect, Drawn, Question, Reading, Sizes, get_dialect, parse
from generalist.dialects.triplets import Triplets
from generalist.dialects.writer import MAX_DRAWINGS
from generalist.reply import Issue, TextDelta
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError, VisualPrompt

from . import (
    test_deepseek_vl2,
    test_florence2,
    test_gemini,
    test_json,
    test_kosmos2,
    test_molmo,
    test_paligemma,
    test_qwen2_5_vl,
    test_qwen3_vl,
    test_triplets,
)
from .rows import DETECT, Row

TABLES = {
    "triplets": test_triplets,
    "qwen2_5_vl": test_qwen2_5_vl,
    "qwen3_vl": test_qwen3_vl,
    "paligemma": test_paligemma,
    "florence2": test_florence2,
    "kosmos2": test_kosmos2,
    "molmo": test_molmo,
    "deepseek_vl2": test_deepseek_vl2,
    "gemini": test_gemini,
    "json": test_json,
}
MUTATED = 5000
SECONDS_EACH = 0.05
SIGNS = "<>[]{}()\",:;|'\\/-0139.x é\n`=\x00\ufffd"


def rows(name: str) -> list[Row]:
    table = TABLES[name]
    return [param.values[0] for param in (*table.DOCUMENTED, *table.MALFORMED)]


@pytest.fixture(params=TABLES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def dialect(name: str, vocab: Vocabulary) -> Dialect:
    return Triplets(vocabulary=vocab) if name == "triplets" else get_dialect(name)


def test_points_that_exclude_are_refused_in_one_line(dialect: Dialect) -> None:
    drawn = [VisualPrompt(kind="point", xy=(0.5, 0.5), excludes=excludes) for excludes in (False, True)]
    sizes = Sizes(submitted=(100, 100), resized=(100, 100), image=0)
    for task in getattr(dialect, "tasks", ("chat",)):  # our own takes any
        with pytest.raises(GeneralistError, match="cannot be shown") as raised:
            dialect.ask(Question(text="Where?", task=task, visual_prompts=tuple(drawn), sizes=sizes))
        assert "\n" not in str(raised.value)


def mutated(text: str, rng: random.Random) -> str:
    """``text`` with a few pieces cut, doubled, turned round, or signs put in."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(text) + 1)
        stop = min(len(text), start + rng.randint(0, 20))
        piece, elsewhere = text[start:stop], rng.randrange(len(text) + 1)
        text = rng.choice(
            [
                text[:start] + text[stop:],
                text[:stop] + text[start:],
                text[:start] + piece[::-1] + text[stop:],
                text[:start] + rng.choice(SIGNS) + text[start:],
                text[:elsewhere] + piece + text[elsewhere:],
                text[:start],
            ]
        )
    return text


def whole(reading: Reading) -> tuple[object, ...]:
    drawn = [(d.source, d.item.label, d.item.span, d.item.ref, d.item.output) for d in reading.drawn]
    return reading.text, drawn, reading.issues


def test_every_dialect_has_tables(name: str) -> None:
    assert set(TABLES) == set(DIALECTS)
    assert len(TABLES[name].DOCUMENTED) >= 12
    assert len(TABLES[name].MALFORMED) >= 20


def test_mutated_answers_neither_raise_nor_hang(name: str, dialect: Dialect) -> None:
    rng, table = random.Random(name), rows(name)
    began = time.perf_counter()
    for _ in range(MUTATED):
        row = rng.choice(table)
        answer = mutated(row.answer, rng)
        reading = parse(dialect, answer, row.question)
        assert all(0 <= issue.at <= len(answer) for issue in reading.issues)
    # A guard against answers that take for ever, not a measurement: the usual one takes a fraction of a millisecond.
    assert time.perf_counter() - began < MUTATED * SECONDS_EACH


def test_pieces_are_read_as_the_whole_is(name: str, dialect: Dialect) -> None:
    rng = random.Random(name)
    for row in rows(name):
        for answer in (row.answer, *(mutated(row.answer, rng) for _ in range(5))):
            reader, events, at = dialect.reader(row.question), [], 0
            while at < len(answer):
                size = rng.choice((1, 1, 2, 5, 30))
                events += reader.feed(answer[at : at + size])
                at += size
            events += reader.finish()
            expected = parse(dialect, answer, row.question)
            assert whole(reader.reading()) == whole(expected), answer
            assert "".join(e.text for e in events if isinstance(e, TextDelta)) == expected.text
            assert [e.item for e in events if isinstance(e, Drawn)] == list(reader.reading().outputs)
            assert [e.issue for e in events if isinstance(e, Issue)] == list(expected.issues)


FIRST_OF_TWO = {
    "triplets": (f"{test_triplets.DOG}", " and more"),
    "qwen2_5_vl": (f"```json\n[{test_qwen2_5_vl.DOG}", ", {"),
    "qwen3_vl": (f"[{test_qwen3_vl.DOG}", ", {"),
    "paligemma": (f"{test_paligemma.AT} dog ;", " <loc"),
    "florence2": (f"car{test_florence2.CAR}", "door<loc"),
    "kosmos2": (f"<phrase> a fire</phrase><object>{test_kosmos2.FIRE}", "</object> and"),
    "molmo": (f"{test_molmo.PEAK}", " and"),
    "deepseek_vl2": (f"{test_deepseek_vl2.DOG}"[:-9], ", [1"),
    "gemini": (f"[{test_gemini.DOG}", ", {"),
    "json": (f'{{"objects": [{test_json.DOG}', ", {"),
}


def test_a_drawing_comes_as_soon_as_it_is_whole(name: str, dialect: Dialect) -> None:
    first, more = FIRST_OF_TWO[name]
    reader = dialect.reader(DETECT)
    assert not any(isinstance(event, Drawn) for event in reader.feed(first[:-1]))
    assert sum(isinstance(event, Drawn) for event in reader.feed(first[-1:])) == 1
    assert not any(isinstance(event, Drawn) for event in [*reader.feed(more), *reader.finish()])


@pytest.mark.parametrize("sign", ["[", "{", "<", '"', "`", "[{", '{"a":', "<loc0001>", "<poly>", "(<Unit>", "<|det|>["])
def test_long_nonsense_is_read_in_time(sign: str, dialect: Dialect) -> None:
    began = time.perf_counter()
    reading = parse(dialect, sign * (20_000 // len(sign)), DETECT)
    assert not reading.outputs
    assert time.perf_counter() - began < 30  # a guard against quadratic work, which would take hours


def test_endless_answers_end(dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generalist.dialects.dialect.MAX_CHARACTERS", 10_000)
    reader = dialect.reader(DETECT)
    for _ in range(3):
        reader.feed("dog " * 1000)
    reader.finish()
    assert len(reader.reading().text) <= 10_000
    assert [issue.at for issue in reader.reading().issues].count(10_000) == 1


def test_repeated_drawings_end() -> None:
    reading = parse(get_dialect("florence2"), f"car{test_florence2.CAR}" * (MAX_DRAWINGS + 9), DETECT)
    assert len(reading.outputs) == MAX_DRAWINGS
    assert [issue.expected for issue in reading.issues] == [f"at most {MAX_DRAWINGS} drawings"]


def test_model_types_have_dialects() -> None:
    assert set(MODEL_TYPES.values()) <= set(DIALECTS)


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(GeneralistError, match="no dialect 'latin'; use one of triplets, "):
        get_dialect("latin")


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_sizes_are_checked(size: tuple[int, int]) -> None:
    with pytest.raises(GeneralistError, match="at least 1 pixel"):
        Sizes(submitted=size, resized=(1, 1))


@pytest.mark.parametrize(
    ("task", "text", "thing"),
    [
        ("box", "Where is the red mug?", "the red mug"),
        ("detect", "detect mugs.", "mugs"),
        ("detect", "Find me some mugs", "Find me some mugs"),
        ("caption", "Describe the image.", ""),
        ("chat", "Where is it?", ""),
    ],
)
def test_what_a_question_is_about(task: str, text: str, thing: str) -> None:
    assert Question(text=text, task=task).thing == thing
