"""Masks and depth by models of the hub, drawn for a model that is asked in the usual way."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from generalist import Answer, Generalist
from generalist.cli import execute
from generalist.decoders.hub import HubDepth, HubMasks
from generalist.dialects import get_dialect
from generalist.engine.scripted import ScriptedEngine
from generalist.hub_drawing import HubDrawing
from generalist.hub_line import HubLine
from generalist.reply import TextDelta
from generalist.tokens import Vocabulary
from generalist.types import Box, ChatRequest, Grounded, Mask, Message, Point

from .random_drawers import noise
from .scripted_model import DOG, Ids, scripted

Find = Callable[[str], Path]
ORCHARD = Path(__file__).resolve().parents[2] / "datasets" / "samples" / "orchard.png"
MASK = "The <Phrase>dog</Phrase>(<Unit>mask</Unit>[0]<loc_0016><loc_0016><loc_0032><loc_0048>"
DEPTH = "<Phrase>scene</Phrase>(<Unit>depth</Unit>[0]<loc_0016><loc_0032>"


@pytest.fixture
def mask_reply(vocab: Vocabulary, ids: Ids) -> list[int]:
    return ids(MASK + "<mask_001>" * vocab.sizes.mask_length + ") sits.")


@pytest.fixture
def depth_reply(vocab: Vocabulary, ids: Ids) -> list[int]:
    return ids(DEPTH + "<depth_001>" * vocab.sizes.depth_grid**2 + ")")


@pytest.fixture
def make(vocab: Vocabulary, drawer_folder: Find) -> Callable[..., tuple[Generalist, ScriptedEngine]]:
    """A model of ours with ``replies``, and tiny models that draw for it."""

    def make(
        replies: Sequence[Sequence[int]], *, masks: str = "", depth: str = ""
    ) -> tuple[Generalist, ScriptedEngine]:
        model, engine = scripted(vocab, replies or [[0]])
        found = {kind: drawer_folder(name) for kind, name in (("masks", masks), ("depth", depth)) if name}
        model.drawing = HubDrawing.open(model.line, **found, device="cpu")
        return model, engine

    return make


Make = Callable[..., tuple[Generalist, ScriptedEngine]]


# --- a model of ours ---


def test_its_masks_are_drawn_anew(make: Make, mask_reply: list[int]) -> None:
    model, _ = make([mask_reply, mask_reply], masks="sam")
    plain = model._answer([model._request(noise(64, 64), "Segment the dog.", "segment", (), None)])[0]
    answer = model.segment(noise(64, 64), "the dog")
    (old,), (new,) = plain.masks, answer.masks
    assert (answer.text, answer.outputs[0].label) == (plain.text, "dog")
    assert model.drawing is not None and model.drawing.masks is not None
    assert new == model.drawing.masks.draw(noise(64, 64), [old])[0] != old


@pytest.mark.parametrize("task", ["chat", "detect"])
def test_its_boxes_stay_boxes(task: str, make: Make, ids: Ids) -> None:
    model, _ = make([ids(DOG)], masks="sam")
    answer = model.ask(noise(64, 64), "Where is the dog?", task=task)
    assert answer.boxes and not answer.masks


def test_depth_is_not_asked_of_it(make: Make) -> None:
    model, engine = make([], depth="depth_anything")
    answer = model.depth(noise(64, 48))
    assert answer.depth is not None and answer.depth.unit == "relative" and answer.depth.values.shape == (48, 64)
    assert (answer.text, answer.usage.total_tokens, engine.prompts) == ("scene", 0, [])
    (entry,) = answer.to_visual()
    assert (entry["type"], entry["unit"], entry["label"], entry["span"]) == ("depth", "relative", "scene", [0, 5])
    answer.overlay()


@pytest.mark.parametrize("words", ["Estimate the depth.", " estimate the DEPTH"])
def test_depth_in_a_conversation(words: str, make: Make) -> None:
    model, engine = make([], depth="zoedepth")
    answer = model.ask([noise(20, 20), noise(64, 48)], words)
    assert answer.depth is not None and answer.depth.unit == "metre"
    assert answer.outputs[0].image == 1 and not engine.prompts


def test_depth_that_it_draws_itself_gives_way(make: Make, depth_reply: list[int]) -> None:
    model, _ = make([depth_reply], depth="depth_anything")
    answer = model.ask(noise(64, 48), "How far is everything?")
    assert answer.depth is not None and answer.depth.unit == "relative"


def test_without_an_image_there_is_nothing_to_look_at(make: Make, ids: Ids) -> None:
    model, _ = make([ids("Which picture?")], depth="depth_anything", masks="sam")
    answer = model.ask(None, "Estimate the depth.")
    assert answer.text == "Which picture?" and not answer.outputs


def test_streams_what_it_answers(make: Make, mask_reply: list[int]) -> None:
    model, _ = make([mask_reply, mask_reply], masks="sam", depth="depth_anything")
    answer = model.segment(noise(64, 64), "the dog")
    events = list(model.stream(noise(64, 64), "Segment the dog.", task="segment"))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == answer.text
    (drawn,) = (event.output for event in events if isinstance(event, Grounded))
    assert isinstance(drawn, Mask) and drawn.counts == answer.masks[0].counts
    assert [type(event) for event in model.stream(noise(64, 64), "Estimate the depth.")] == [TextDelta, Grounded]


def test_several_questions_at_once(make: Make, mask_reply: list[int]) -> None:
    model, engine = make([mask_reply, mask_reply], masks="sam", depth="depth_anything")
    asked = ["Segment the dog.", "Estimate the depth.", "Segment the cat."]
    first, second, third = model.ask_many([(noise(64, 64), words) for words in asked])
    assert first.masks and second.depth is not None and third.masks
    assert len(engine.prompts) == 2
    report = model.drawing.report() if model.drawing else {}
    assert (report["masks"]["encoded"], report["masks"]["reused"], report["masks"]["drawn"]) == (1, 1, 2)
    assert report["depth"]["model_type"] == "depth_anything" and report["depth"]["weights_mb"] > 0
    json.dumps(report)


# --- models of the hub ---


class Processor:
    """None that is needed: requests are looked at, not run."""

    has_template = False


def asked_of(dialect: str, text: str, task: str, drawer_folder: Find) -> ChatRequest:
    """What a model of the hub is asked."""
    line = HubLine(get_dialect(dialect), Processor())  # type: ignore[arg-type]
    drawing = HubDrawing(line, masks=HubMasks.open(drawer_folder("sam"), "cpu"))
    seen: list[ChatRequest] = []

    def ask(requests: Sequence[ChatRequest]) -> list[Answer]:
        seen.extend(requests)
        return [model_answer(requests[0])]

    message = Message(role="user", text=text, images=(noise(64, 64),))
    (answer,) = drawing.answer([ChatRequest(messages=(message,), task=task)], ask)
    assert len(answer.masks) == (0 if task == "detect" else 2)
    return seen[0]


def model_answer(request: ChatRequest) -> Answer:
    """A box and a point."""
    from generalist.types import Reply

    drawn: tuple[Box | Point, ...] = (Box(xyxy=(0.1, 0.1, 0.6, 0.9), score=0.5), Point(xy=(0.4, 0.4)))
    outputs = tuple(Grounded(label="dog", span=(0, 3), image=0, ref=k, output=output) for k, output in enumerate(drawn))
    return Answer(reply=Reply(text="dog"), outputs=outputs, images=request.messages[-1].images)


@pytest.mark.parametrize(
    ("dialect", "text", "task", "words", "asked"),
    [
        ("qwen3_vl", "Segment the red mug.", "segment", "Detect the red mug.", "detect"),
        ("qwen3_vl", "segment the red mug", "chat", "Detect the red mug.", "detect"),
        ("molmo", "Segment the red mug.", "segment", "Point to the red mug.", "point"),
        ("qwen3_vl", "the red mug", "segment", "Detect the red mug.", "detect"),
        ("qwen3_vl", "What holds the pens?", "chat", "What holds the pens?", "chat"),
        ("qwen3_vl", "Detect mugs.", "detect", "Detect mugs.", "detect"),
    ],
)
def test_models_without_masks_are_asked_for_boxes_or_points(
    dialect: str, text: str, task: str, words: str, asked: str, drawer_folder: Find
) -> None:
    request = asked_of(dialect, text, task, drawer_folder)
    assert (request.messages[-1].text, request.task) == (words, asked)


# --- the program ---


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    noise(64, 48).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_the_program_draws_depth(picture: Path, drawer_folder: Find, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["depth", str(picture), "--depth", str(drawer_folder("metric_anything")), "--device", "cpu"]
    assert execute([*arguments, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["visual"][0]["unit"] == "metre"
    assert content["drawing"]["depth"]["encoded"] == 1 and content["drawing"]["depth"]["load_s"] > 0
    assert execute(arguments) == 0
    printed = capsys.readouterr()
    assert "metre" in printed.out
    assert printed.err.startswith("note: depth by ") and "1 drawn on 1 images" in printed.err


def test_the_program_draws_masks(drawer_folder: Find, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["segment", str(ORCHARD), "the red apple", "--device", "cpu", "--json"]
    assert execute([*arguments, "--masks", str(drawer_folder("sam2"))]) == 0
    content = json.loads(capsys.readouterr().out)
    (entry,) = content["visual"]
    assert entry["type"] == "mask" and 0 <= entry["score"] <= 1
    assert content["drawing"]["masks"]["drawn"] == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--masks", "facebook/no-such-sam"], "`hf download facebook/no-such-sam`"),
        (["--depth", "/no/such/folder"], "is no folder"),
    ],
)
@pytest.mark.parametrize("command", ["segment", "eval", "info"])
def test_the_program_says_what_is_missing(
    command: str, options: list[str], expected: str, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"segment": [str(picture), "dogs"], "eval": ["world/compositions"], "info": []}[command]
    assert execute([command, *arguments, *options]) == 2
    printed = capsys.readouterr().err
    assert expected in printed and printed.count("\n") == 1


def test_the_program_tells_about_them(drawer_folder: Find, capsys: pytest.CaptureFixture[str]) -> None:
    sam, dpt = drawer_folder("sam"), drawer_folder("dpt")
    assert execute(["info", "--masks", str(sam), "--depth", str(dpt), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["masks_model"]["type"] == "sam" and content["masks_model"]["parameters"] > 1000
    assert content["depth_model"]["unit"] == "relative"
    assert HubDepth.open(dpt).work.encoded == 0


def test_the_program_measures_with_them(
    tmp_path: Path, drawer_folder: Find, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "depth").mkdir()
    noise(32, 24).save(tmp_path / "images" / "a.png")
    Image.new("I;16", (32, 24), 2000).save(tmp_path / "depth" / "a.png")
    arguments = ["eval", str(tmp_path), "--depth", str(drawer_folder("metric_anything")), "--depth-scale", "1000"]
    assert execute([*arguments, "--device", "cpu", "--json", "--no-cache"]) == 0
    printed = capsys.readouterr().out
    assert "--depth " in json.loads(printed)["command"] and "depth AbsRel" in printed
