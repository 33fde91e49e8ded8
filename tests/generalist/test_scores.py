"""Scores: what a checkpoint's own file makes of log-probabilities, and what becomes of a file that is none."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from generalist.engine.scripted import ScriptedEngine
from generalist.pipeline import Generalist, Line, resolve_model
from generalist.reply import parse
from generalist.scores import FEATURES, FILE, Evidence, Logistic, Scores, evidence
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError, Generation, Prompt, Reply, Sampling

from .scripted_model import DOG, Ids, scripted

PICTURE = Image.new("RGB", (200, 100))
TWO = (
    "A <Phrase>cat</Phrase>(<Unit>box</Unit>[0]<loc_0001><loc_0002><loc_0003><loc_0004>) and "
    "<Phrase>dogs</Phrase>(<Unit>mask</Unit>"
    "[0]<loc_0011><loc_0012><loc_0013><loc_0014>" + "<mask_001>" * 16 + "[1]<loc_0021><loc_0022><loc_0023><loc_0024>"
    "" + "<mask_002>" * 16 + ")"
)


def logistic(bias: float = 1.0, **weights: float) -> Logistic:
    return Logistic(bias=bias, weights={name: weights.get(name, 0.0) for name in FEATURES})


FITTED = Scores(
    kinds={
        "box": logistic(2.0, phrase=0.5, place=1.0, doubt=0.25, many=-0.5),
        "mask": logistic(1.0, place=1.0, codes=0.5, doubt=0.5),
    }
)


def flat(scores: Scores, reply: Reply, logprobs: list[float]) -> list[float]:
    return [score for of_phrase in scores.of(reply, logprobs) for score in of_phrase]


class CertainTo:
    """An engine with a log-probability of its own for every token."""

    def __init__(self, tokens: list[int], logprobs: list[float]) -> None:
        self._made = Generation(token_ids=tuple(tokens), logprobs=tuple(logprobs), finish_reason="stop")

    def generate(self, prompts: list[Prompt], sampling: Sampling) -> list[Generation]:
        return [self._made] * len(prompts)


# --- what speaks for a drawing ----------------------------------------------------------------------------


def test_evidence_tells_words_places_and_codes_apart(vocab: Vocabulary, ids: Ids) -> None:
    tokens = ids(TWO)
    reply = parse(tokens, vocab)
    logprobs = [0.0] * len(tokens)
    cat, dogs = reply.phrases
    assert cat.unit and dogs.unit
    first, second = dogs.unit.refs
    for at in range(*dogs.tokens):
        logprobs[at] = -1.0
    for at in range(*second.tokens):
        logprobs[at] = -2.0 if at < second.tokens[0] + 4 else -3.0
    logprobs[first.tokens[0]] = -8.0  # of the drawing before the second
    logprobs[0] = -5.0  # the first word
    logprobs[second.tokens[0] - 1] = -4.0  # that there is a second one
    (of_cat,), (of_first, of_second) = evidence(reply, logprobs)
    many = math.log(3)
    assert of_cat == Evidence(doubt=-5.0, many=many)
    assert of_first == Evidence(phrase=-1.0, place=-2.0, doubt=-1.0, many=many)
    assert of_second == Evidence(phrase=-1.0, place=-2.0, codes=-3.0, doubt=-4.0, many=many)


@pytest.mark.parametrize("strange", [-math.inf, math.nan, -1e300])
def test_what_is_no_number_speaks_against(vocab: Vocabulary, ids: Ids, strange: float) -> None:
    tokens = ids(DOG)
    ((score,),) = FITTED.of(parse(tokens, vocab), [strange] * len(tokens))
    assert 0 <= score < 1e-6


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_more_probable_token_never_lowers_a_score(vocab: Vocabulary, ids: Ids, data: st.DataObject) -> None:
    tokens = ids(TWO)
    reply = parse(tokens, vocab)
    logprob = st.floats(-12, 0)
    logprobs = data.draw(st.lists(logprob, min_size=len(tokens), max_size=len(tokens)))
    at = data.draw(st.integers(0, len(tokens) - 1))
    raised = [*logprobs[:at], data.draw(st.floats(logprobs[at], 0)), *logprobs[at + 1 :]]
    for scores in (FITTED, Scores()):
        pairs = zip(flat(scores, reply, logprobs), flat(scores, reply, raised), strict=True)
        assert all(0 <= before <= after + 1e-12 and after <= 1 for before, after in pairs)


# --- in an answer -----------------------------------------------------------------------------------------


def fitted_line(vocab: Vocabulary) -> Line:
    return Line(vocab, scripted(vocab, [[0]])[0].decoders, scores=FITTED)


def test_an_answer_has_the_fitted_score(vocab: Vocabulary, ids: Ids) -> None:
    tokens = ids(DOG)
    model = Generalist(CertainTo(tokens, [-0.5] * len(tokens)), fitted_line(vocab))
    score = model.ask(PICTURE, "Where?").boxes[0].score
    assert score == pytest.approx(1 / (1 + math.exp(-(2 - 0.5 * (0.5 + 1 + 0.25)))))


def test_kinds_that_were_not_fitted_and_documents_keep_their_scores(vocab: Vocabulary, ids: Ids) -> None:
    written = "<Phrase>x</Phrase>(<Unit>point</Unit>[0]<loc_0001><loc_0002>)"
    written += "<Phrase>y</Phrase>(<Unit>doc</Unit>[0]<doc>d7</doc>)"
    plain, _ = scripted(vocab, [ids(written)], docs=True)
    fitted = Generalist(plain.engine, Line(vocab, plain.decoders, scores=FITTED))
    found = [[item.output.score for item in model.ask(PICTURE, "?").outputs] for model in (plain, fitted)]
    assert found[0] == found[1] == [pytest.approx(math.exp(-0.2)), 0.5]


def test_without_log_probabilities_there_are_no_scores(vocab: Vocabulary, ids: Ids) -> None:
    model = Generalist(CertainTo(ids(DOG), []), fitted_line(vocab))
    assert model.ask(PICTURE, "Where?").boxes[0].score is None


def test_a_checkpoint_s_file_is_used(tmp_path: Path) -> None:
    shipped = resolve_model("nano")
    for file in shipped.iterdir():
        if file.name != FILE:
            (tmp_path / file.name).symlink_to(file)
    vocab = Vocabulary.load(tmp_path)
    found = [vocab.structure["<Phrase>"], *vocab.encode_text("dog"), vocab.structure["</Phrase>"]]
    found += [vocab.open_paren, vocab.structure["<Unit>"], *vocab.encode_text("box"), vocab.structure["</Unit>"]]
    found += [vocab.ref[0], *vocab.loc[10:14], vocab.close_paren]

    def score() -> float | None:
        return Generalist.from_pretrained(tmp_path, engine=ScriptedEngine([found])).ask(PICTURE, "?").boxes[0].score

    assert score() == pytest.approx(math.exp(-0.2))
    Scores(kinds={"box": logistic(0.0)}).save(tmp_path)
    assert score() == 0.5
    (tmp_path / FILE).write_text("{")
    with pytest.raises(GeneralistError, match=FILE):
        score()


# --- the file ---------------------------------------------------------------------------------------------


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    FITTED.save(tmp_path)
    assert Scores.load(tmp_path) == FITTED
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_no_file_means_plain_scores(tmp_path: Path) -> None:
    assert Scores.load(tmp_path) == Scores()


def test_a_folder_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match="give a checkpoint folder"):
        FITTED.save(tmp_path / "nowhere")


WEIGHTS = dict.fromkeys(FEATURES, 0.5)


def written(**changed: object) -> str:
    return json.dumps({"version": 1, "kinds": {"box": {"bias": 0.0, "weights": WEIGHTS} | changed}})


@pytest.mark.parametrize("content", [
    b"",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"{}",
    b"[" * 50_000,  # deeper than Python nests
    b" " * 200_000,
    written()[:40].encode(),  # cut short
    b'{"version": 2, "kinds": {}}',
    b'{"version": true, "kinds": {}}',
    b'{"version": 1, "kinds": []}',
    b'{"version": 1, "kinds": {"depth": {}}}',  # not one that is right or wrong
    b'{"version": 1, "kinds": {}, "more": 1}',
    b'{"version": 1, "kinds": {"box": 3}}',
    written(bias="0").encode(),
    written(bias=None).encode(),
    written(bias=True).encode(),
    written(bias=math.nan).encode(),
    written(bias=math.inf).encode(),
    written(bias=10**400).encode(),
    written(bias=0).replace("0,", "1" * 5000 + ",").encode(),  # a number longer than Python reads
    written(weights=[0.5]).encode(),
    written(weights=WEIGHTS | {"place": -0.1}).encode(),  # a more probable place would lower the score
    written(weights=WEIGHTS | {"place": 1e9}).encode(),
    written(weights={"place": 1.0}).encode(),
    written(weights=WEIGHTS | {"\ud800": 1.0}).encode(),
])  # fmt: skip
def test_a_file_that_is_none_is_one_line_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(GeneralistError) as caught:
        Scores.load(tmp_path)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / FILE)) and "remove the file" in message
    assert "\n" not in message and len(message) < 600 and message.isascii()


def test_a_folder_of_that_name_is_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(GeneralistError, match=FILE):
        Scores.load(tmp_path)
