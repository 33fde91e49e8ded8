"""The whole line over a scripted engine: what is asked, what comes back, what is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist.constrain import reply_constraint
from generalist.pipeline import Generalist, Line, resolve_model
from generalist.reply import TextDelta
from generalist.tokens import Vocabulary
from generalist.types import (
    Box,
    DepthMap,
    GeneralistError,
    Generation,
    Grounded,
    Message,
    Point,
    Prompt,
    Sampling,
    Usage,
    VisualPrompt,
)
from generalist.visual import box_prompt

from .scripted_model import DOG, NOTHING, Ids, scripted

PICTURE = Image.new("RGB", (200, 100), (9, 9, 9))
DEPTH = "<Phrase>Depth</Phrase>(<Unit>depth</Unit>[0]<loc_0001><loc_0060>" + "<depth_003>" * 64 + ")"
MASK = (
    "<Phrase>cat</Phrase>(<Unit>mask</Unit>[0]" + "<loc_0000><loc_0000><loc_0063><loc_0063>" + "<mask_001>" * 16 + ")"
)


def ask(vocab: Vocabulary, ids: Ids, written: str, **options: object):
    model, _ = scripted(vocab, [ids(written)])
    return model.ask(PICTURE, "Where is the dog?", **options)


def test_an_answer_has_text_and_grounded_boxes(vocab: Vocabulary, ids: Ids) -> None:
    answer = ask(vocab, ids, DOG)
    assert answer.text == "The dog sits."
    (found,) = answer.outputs
    assert (found.label, found.span, found.image, found.ref) == ("dog", (4, 7), 0, 0)
    assert answer.boxes == (found.output,)
    assert answer.boxes[0].xyxy == pytest.approx((16.5 / 64, 16.5 / 64, 32.5 / 64, 48.5 / 64))
    assert (answer.points, answer.masks, answer.documents, answer.depth, answer.plan) == ((), (), (), None, None)
    assert answer.issues == () and answer.finish_reason == "stop" and answer.sizes == ((200, 100),)


def test_to_dict_is_the_documented_json(vocab: Vocabulary, ids: Ids) -> None:
    content = json.loads(json.dumps(ask(vocab, ids, DOG).to_dict(), allow_nan=False))
    assert list(content) == ["text", "visual", "image", "usage"]
    assert content["image"] == [{"index": 0, "width": 200, "height": 100}]
    assert content["visual"][0]["box"] == [51.56, 25.78, 101.56, 75.78]
    usage = content["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def test_plan_and_issues_appear_when_there_are_any(vocab: Vocabulary, ids: Ids) -> None:
    answer = ask(vocab, ids, "<Task>- Name: dog Unit: box Num: 1</Task>Hi<loc_0003>")
    assert answer.text == "Hi"
    content = answer.to_dict()
    assert content["plan"] == [{"name": "dog", "kind": "box", "num": 1}]
    assert len(content["issues"]) == 1 and set(content["issues"][0]) == {"at", "expected", "got"}


class CertainTo:
    """An engine with a log-probability of its own for every token."""

    def __init__(self, tokens: list[int], logprobs: list[float]) -> None:
        self._generation = Generation(
            token_ids=tuple(tokens), logprobs=tuple(logprobs), finish_reason="stop", usage=Usage()
        )

    def generate(self, prompts: list[Prompt], sampling: Sampling) -> list[Generation]:
        return [self._generation] * len(prompts)


def test_a_score_is_the_payload_s_geometric_mean_times_the_phrase_s(vocab: Vocabulary, ids: Ids) -> None:
    tokens = ids(DOG)
    logprobs = [-9.0] * len(tokens)  # tokens that must not count
    label = tokens.index(vocab.structure["<Phrase>"]) + 1
    for at in range(label, tokens.index(vocab.structure["</Phrase>"])):
        logprobs[at] = math.log(0.5)
    payload = tokens.index(vocab.loc[16])
    logprobs[payload : payload + 4] = [math.log(p) for p in (0.9, 0.8, 0.7, 0.6)]
    model = Generalist(CertainTo(tokens, logprobs), scripted(vocab, [[0]])[0].line)
    score = model.ask(PICTURE, "Where?").boxes[0].score
    assert score == pytest.approx(0.5 * (0.9 * 0.8 * 0.7 * 0.6) ** 0.25)


@pytest.mark.parametrize("logprob", [-math.inf, math.nan])
def test_strange_log_probabilities_score_0(vocab: Vocabulary, ids: Ids, logprob: float) -> None:
    tokens = ids(DOG)
    model = Generalist(CertainTo(tokens, [logprob] * len(tokens)), scripted(vocab, [[0]])[0].line)
    assert model.ask(PICTURE, "Where?").boxes[0].score == 0.0


@pytest.mark.parametrize("task, arguments, words", [
    ("detect", (), "Detect all objects."),
    ("detect", ("dogs",), "Detect dogs."),
    ("segment", (), "Segment all objects."),
    ("segment", ("the dog",), "Segment the dog."),
    ("point", ("the dog",), "Point to the dog."),
    ("count", ("dogs",), "How many dogs are there?"),
    ("depth", (), "Estimate the depth."),
    ("caption", (), "Describe the image."),
])  # fmt: skip
def test_thin_forms_ask_in_the_task_s_words(
    vocab: Vocabulary, ids: Ids, task: str, arguments: tuple[str, ...], words: str
) -> None:
    model, engine = scripted(vocab, [ids(NOTHING)])
    assert getattr(model, task)(PICTURE, *arguments).text == NOTHING
    assert list(engine.prompts[0].token_ids) == ids(f"<bos><user><image>{words}<assistant>")


def test_a_task_limits_what_may_be_drawn(vocab: Vocabulary, ids: Ids) -> None:
    model, engine = scripted(vocab, [ids(NOTHING)], docs=True)
    model.detect(PICTURE), model.caption(PICTURE), model.ask(PICTURE, "Hm?"), model.ask(None, "Hm?")
    detect, caption, chat, without_image = (p.constraint.grammar for p in engine.prompts if p.constraint)
    assert detect == reply_constraint(vocab, kinds=("box",)).grammar
    assert chat == reply_constraint(vocab).grammar
    assert caption == reply_constraint(vocab, kinds=(), plan=False).grammar
    assert without_image == reply_constraint(vocab, kinds=("doc",)).grammar


def test_sampling_falls_back_to_the_task_s_length_and_the_model_s_seed(vocab: Vocabulary, ids: Ids) -> None:
    model, engine = scripted(vocab, [ids(NOTHING)], seed=5)
    model.count(PICTURE, "dogs")
    model.count(PICTURE, "dogs", sampling=Sampling(temperature=0.5, seed=0, max_new_tokens=3))
    assert engine.samplings == [
        Sampling(max_new_tokens=32, seed=5),
        Sampling(temperature=0.5, seed=0, max_new_tokens=3),
    ]


def test_a_cut_reply_says_so(vocab: Vocabulary, ids: Ids) -> None:
    answer = ask(vocab, ids, NOTHING, sampling=Sampling(max_new_tokens=2))
    assert answer.finish_reason == "length" and NOTHING.startswith(answer.text)


def test_drawings_lie_on_the_last_of_several_images(vocab: Vocabulary, ids: Ids) -> None:
    model, engine = scripted(vocab, [ids(DOG)])
    answer = model.ask([PICTURE, np.zeros((64, 64), np.uint8)], "Where is it?")
    assert [image.size for image in engine.prompts[0].images] == [(200, 100), (64, 64)]
    (entry,) = answer.to_visual()
    assert entry["image"] == 1 and entry["box"] == [16.5, 16.5, 32.5, 48.5]
    assert np.array_equal(answer.overlay(0), PICTURE) and answer.overlay().size == (64, 64)


def test_without_an_image_only_documents_are_drawn(vocab: Vocabulary, ids: Ids) -> None:
    written = f"{DOG} <Phrase>Text</Phrase>(<Unit>doc</Unit>[0]<doc>d7</doc>)"
    model, _ = scripted(vocab, [ids(written)], docs=True)
    answer = model.ask(None, "What do you know?")
    assert answer.boxes == () and [hit.doc_id for hit in answer.documents] == ["d7"]
    assert answer.documents[0].score == 0.5  # the index's own score stays
    with pytest.raises(GeneralistError, match="no image"):
        answer.overlay()


def test_a_kind_that_the_checkpoint_cannot_decode_is_left_out(vocab: Vocabulary, ids: Ids) -> None:
    answer = ask(vocab, ids, "<Phrase>Text</Phrase>(<Unit>doc</Unit>[0]<doc>d7</doc>)")
    assert answer.text == "Text" and answer.outputs == ()


def test_ask_many_keeps_the_order_and_runs_one_batch(vocab: Vocabulary, ids: Ids) -> None:
    model, engine = scripted(vocab, [ids("one"), ids("two"), ids("three")])
    answers = model.ask_many([(PICTURE, "a"), (None, "b"), (PICTURE, "c")])
    assert [a.text for a in answers] == ["one", "two", "three"]
    assert len(engine.prompts) == 3


def test_requests_with_other_samplings_keep_their_order(vocab: Vocabulary, ids: Ids) -> None:
    model, engine = scripted(vocab, [ids("first"), ids("second"), ids("third")])
    requests = [
        model._request(None, text, "chat", (), Sampling(max_new_tokens=n)) for text, n in (("a", 9), ("b", 8), ("c", 9))
    ]
    answers = model.answer(requests)
    assert [s.max_new_tokens for s in engine.samplings] == [9, 9, 8]
    assert [a.text for a in answers] == ["first", "third", "second"]


def test_a_conversation_goes_on(vocab: Vocabulary, ids: Ids) -> None:
    model, engine = scripted(vocab, [ids(DOG)])
    turns = [
        Message(role="user", text="A dog?", images=(PICTURE,)),
        Message(role="assistant", text="Yes."),
        Message(role="user", text="Where?"),
    ]
    assert model.chat(turns).boxes
    assert list(engine.prompts[0].token_ids) == ids(
        "<bos><user><image>A dog?<assistant>Yes.<eos><user>Where?<assistant>"
    )


def test_streaming_gives_the_same_text_and_drawings(vocab: Vocabulary, ids: Ids) -> None:
    model, _ = scripted(vocab, [ids(DOG)])
    events = list(model.stream(PICTURE, "Where?"))
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "The dog sits."
    (found,) = (e for e in events if isinstance(e, Grounded))
    whole = model.ask(PICTURE, "Where?").outputs[0]
    assert isinstance(whole.output, Box) and found.output == replace(whole.output, score=None)
    at = events.index(found)
    assert any(isinstance(e, TextDelta) for e in events[at:]), "a drawing comes before the rest of the text"


def test_leaving_a_stream_closes_the_engine_s(vocab: Vocabulary, ids: Ids) -> None:
    closed = []

    class Slow:
        def stream(self, prompt: Prompt, sampling: Sampling):
            try:
                yield from ids(DOG) * 1000
            finally:
                closed.append(True)

    model = Generalist(Slow(), Line(vocab, {}))  # type: ignore[arg-type]
    events = model.stream(PICTURE, "Where?")
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert closed == [True]


def test_any_tokens_give_an_answer(vocab: Vocabulary) -> None:
    rng = np.random.default_rng(0)
    replies = [rng.integers(-5, vocab.size + 5, 60).tolist() for _ in range(200)]
    model, _ = scripted(vocab, replies, docs=True)
    for _ in replies:
        json.dumps(model.ask(PICTURE, "?").to_dict(), allow_nan=False)


@pytest.mark.parametrize("written, names", [(DOG, []), (DEPTH, ["d.png"])])
def test_saving(vocab: Vocabulary, ids: Ids, tmp_path: Path, written: str, names: list[str]) -> None:
    answer = ask(vocab, ids, written)
    answer.save_overlay(tmp_path / "o.png")
    assert Image.open(tmp_path / "o.png").size == (200, 100)
    if names:
        assert answer.save_depth(tmp_path / "d.png") == 1000.0
        assert np.asarray(Image.open(tmp_path / "d.png")).tolist() == np.full((100, 200), 2500).tolist()
    else:
        with pytest.raises(GeneralistError, match="no depth map"):
            answer.save_depth(tmp_path / "d.png")


def test_masks_and_depth_are_found_by_kind(vocab: Vocabulary, ids: Ids) -> None:
    answer = ask(vocab, ids, f"{MASK} {DEPTH} <Phrase>x</Phrase>(<Unit>point</Unit>[0]<loc_0000><loc_0063>)")
    assert answer.masks[0].size == (100, 200)
    assert isinstance(answer.depth, DepthMap) and answer.points == (
        Point(xy=(0.5 / 64, 63.5 / 64), score=answer.points[0].score),
    )
    assert [entry["type"] for entry in answer.to_visual()] == ["mask", "depth", "point"]


DRAWN = np.zeros((100, 200), bool)
DRAWN[10:20, 10:50] = True


def test_what_the_user_draws_is_in_the_prompt(vocab: Vocabulary, ids: Ids) -> None:
    model, engine = scripted(vocab, [ids(NOTHING)])
    drawn = (box_prompt((0, 0, 100, 100), (200, 100)), VisualPrompt(kind="mask", bitmap=DRAWN))
    model.ask(PICTURE, "What is this?", visual_prompts=drawn)
    assert list(engine.prompts[0].token_ids) == ids(
        "<bos><user><image>What is this?(<Unit>box</Unit>[0]<loc_0000><loc_0000><loc_0032><loc_0063>)"
        "(<Unit>mask</Unit>[0]<loc_0000><loc_0000><loc_0063><loc_0063>" + "<mask_001>" * 16 + ")<assistant>"
    )


@pytest.mark.parametrize("prompt, drawn, task, says", [
    ("", (), "chat", "the prompt is empty"),
    (" \n ", (), "chat", "the prompt is empty"),
    ("caf\udcff?", (), "chat", "Unicode"),
    ("Hm?", (), "dance", "dance"),
    ("Hm?", (VisualPrompt(kind="box", xyxy=(0.5, 0, 0.2, 1)),), "chat", "turned round"),
    ("Hm?", (VisualPrompt(kind="box", xyxy=(0, 0, 1.2, 1)),), "chat", "not inside"),
    ("Hm?", (VisualPrompt(kind="box"),), "chat", "coordinates"),
    ("Hm?", (VisualPrompt(kind="point", xy=(-1, 0)),), "chat", "not inside"),
    ("Hm?", (VisualPrompt(kind="mask", bitmap=DRAWN.T),), "chat", "200x100"),
    ("Hm?", (VisualPrompt(kind="scribble", bitmap=~DRAWN & DRAWN),), "chat", "0 pixels"),
])  # fmt: skip
def test_bad_questions(
    vocab: Vocabulary, ids: Ids, prompt: str, drawn: tuple[VisualPrompt, ...], task: str, says: str
) -> None:
    model, engine = scripted(vocab, [ids(NOTHING)])
    for method in (model.ask, model.stream):
        with pytest.raises(GeneralistError, match=says) as caught:
            method(PICTURE, prompt, visual_prompts=drawn, task=task)
        assert "\n" not in str(caught.value)
    assert engine.prompts == []


def test_a_drawing_without_an_image_is_refused(vocab: Vocabulary, ids: Ids) -> None:
    model, _ = scripted(vocab, [ids(NOTHING)])
    with pytest.raises(GeneralistError, match="no image"):
        model.ask(None, "What is this?", visual_prompts=(VisualPrompt(kind="point", xy=(0.5, 0.5)),))


@pytest.mark.parametrize("name", ["no-such-model", "x" * 5000, "nul\0", "", __file__, "not-a-model"])
def test_an_unknown_model_lists_those_that_ship(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generalist.loading._CHECKPOINTS", tmp_path)
    for shipped in ("nano", "not-a-model"):
        (tmp_path / shipped).mkdir()
    (tmp_path / "nano" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "nano")
    assert resolve_model("nano") == tmp_path / "nano"
    assert resolve_model(tmp_path) == tmp_path
    with pytest.raises(GeneralistError, match=r"unknown model .*\(nano\)") as caught:
        Generalist.from_pretrained(name)
    assert len(str(caught.value)) < 400


def test_import_is_lazy_and_names_are_found() -> None:
    code = """
import sys, generalist
heavy = {"numpy", "PIL", "torch", "transformers", "xgrammar", "supervision", "rich"} & set(sys.modules)
assert not heavy, heavy
from generalist import Generalist, GeneralistError, Answer, Sampling, box_prompt
assert not {"torch", "transformers", "xgrammar", "supervision"} & set(sys.modules)
assert set(generalist.__all__) <= set(dir(generalist)) and generalist.__version__
for name in generalist.__all__: getattr(generalist, name)
try: generalist.nonsense
except AttributeError: print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout == "fine\n", done.stderr
