"""Unchanged vision-language models of transformers, asked and read through their dialects."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from generalist import Answer, Generalist
from generalist.cli import execute
from generalist.dialects import MODEL_TYPES, Sizes, get_dialect, parse
from generalist.engine.hub_engine import HubEngine, HubPrompt
from generalist.hub_line import HubLine, hub_dialect
from generalist.reply import TextDelta
from generalist.types import ChatRequest, GeneralistError, Message, Prompt, Sampling, VisualPrompt

from .tiny_hub import ARCHITECTURES

Pictures = tuple[Image.Image, Image.Image]
Find = Callable[[str], Generalist]
SHORT = Sampling(max_new_tokens=48)
CHAT = {"florence2": "<OCR>"}


@pytest.fixture(params=ARCHITECTURES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def content(answer: Answer) -> dict[str, object]:
    """All but the scores, whose last digits depend on the batch."""
    found = answer.to_dict()
    return {**found, "visual": [{**entry, "score": None} for entry in found["visual"]]}


def test_a_batch_answers_as_its_rows_do_alone(name: str, hub_model: Find, pictures: Pictures) -> None:
    model = hub_model(name)
    asked = [(pictures[0], "Detect dogs."), (pictures[1], "Detect the very big cats."), (pictures[1], "Detect x.")]
    together = model.ask_many(asked, task="detect", sampling=SHORT)
    alone = [model.ask(image, text, task="detect", sampling=SHORT) for image, text in asked]
    assert [content(answer) for answer in together] == [content(answer) for answer in alone]
    assert len({answer.text for answer in together}) > 1 or any(answer.outputs for answer in together)


def test_chat_answers_in_a_batch_as_alone(name: str, hub_model: Find, pictures: Pictures) -> None:
    model, words = hub_model(name), CHAT.get(name, "What is this?")
    together = model.ask_many([(picture, words) for picture in pictures], sampling=SHORT)
    assert [a.text for a in together] == [model.ask(picture, words, sampling=SHORT).text for picture in pictures]


def test_streams_what_it_answers(name: str, hub_model: Find, pictures: Pictures) -> None:
    model = hub_model(name)
    answer = model.ask(pictures[0], "Detect dogs.", task="detect", sampling=SHORT)
    events = list(model.stream(pictures[0], "Detect dogs.", task="detect", sampling=SHORT))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == answer.text
    drawn = [event for event in events if not isinstance(event, TextDelta)]
    unscored = [replace(item, output=replace(item.output, score=None)) for item in answer.outputs]
    assert [repr(item) for item in drawn] == [repr(item) for item in unscored]


def test_a_stream_that_nobody_reads_on_ends(hub_model: Find, pictures: Pictures) -> None:
    model = hub_model("qwen3_vl")
    events = model.stream(pictures[0], "What is this?", sampling=Sampling(max_new_tokens=1500))
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert model.ask(pictures[0], "What is this?", sampling=SHORT).usage.completion_tokens  # the engine is free again


@pytest.mark.parametrize("name", ["paligemma", "florence2"])
def test_constrained_answers_draw(name: str, hub_model: Find, pictures: Pictures) -> None:
    answer = hub_model(name).ask(pictures[0], "Detect dogs.", task="detect", sampling=Sampling(max_new_tokens=80))
    assert answer.boxes
    assert all(box.score is not None and 0 < box.score <= 1 for box in answer.boxes)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_constrained_answers_are_json(name: str, hub_model: Find, pictures: Pictures) -> None:
    model = hub_model(name)
    assert isinstance(model.line, HubLine)
    prompt = model.line.prepare(request("Detect the very big cats.", pictures[1], task="detect"))
    (generation,) = model.engine.generate([prompt], SHORT)
    pieces = model.line._processor.pieces()
    written = "".join(pieces.feed(token) for token in generation.token_ids)
    assert written.startswith(("[{", "[]"))
    assert "<|" not in written
    assert len(generation.logprobs) == len(generation.token_ids) and max(generation.logprobs) <= 0


def request(text: str, *images: Image.Image, task: str = "chat") -> ChatRequest:
    message = Message(role="user", text=text, images=images)
    return ChatRequest(messages=(message,), task=task, sampling=SHORT)


def test_sizes_are_the_processors_own(hub_model: Find, pictures: Pictures) -> None:
    line = hub_model("qwen2_5_vl").line
    assert isinstance(line, HubLine)
    question = line.prepare(request("Detect dogs.", pictures[0], task="detect")).question
    assert question.sizes == Sizes(submitted=(100, 60), resized=(112, 56))
    (item,) = parse(line.dialect, '[{"bbox_2d": [0, 0, 112, 28], "label": "dog"}]', question).outputs
    assert item.output.xyxy == (0, 0, 1, 0.5)  # type: ignore[union-attr]
    fixed = hub_model("paligemma").line
    assert isinstance(fixed, HubLine)
    sizes = fixed.prepare(request("Detect dogs.", pictures[0], task="detect")).question.sizes
    assert sizes is not None and sizes.resized == (32, 32)


def test_conversations_about_several_images(hub_model: Find, pictures: Pictures) -> None:
    model = hub_model("qwen3_vl")
    turns = (
        Message(role="system", text="Be brief."),
        Message(role="user", text="What is this?", images=pictures[:1]),
        Message(role="assistant", text="Noise."),
        Message(role="user", text="And this?", images=pictures[1:]),
    )
    assert isinstance(model.line, HubLine)
    prompt = model.line.prepare(ChatRequest(messages=turns, sampling=SHORT))
    assert prompt.text.count("<|image_pad|>") == 2 and "Be brief." in prompt.text and "Noise." in prompt.text
    assert prompt.question.sizes is not None and prompt.question.sizes.image == 1
    assert model.chat(turns, sampling=SHORT).images == pictures


def test_text_alone(hub_model: Find) -> None:
    answer = hub_model("qwen3_vl").ask(None, "Hello", sampling=SHORT)
    assert answer.usage.completion_tokens and not answer.outputs


def test_sampling_is_repeated_by_its_seed(hub_model: Find, pictures: Pictures) -> None:
    model = hub_model("qwen3_vl")
    warm = Sampling(max_new_tokens=16, temperature=1.0, seed=7)
    together = model.ask_many([(pictures[0], "What is this?")] * 2, sampling=warm)
    again = model.ask(pictures[0], "What is this?", sampling=warm)
    other = model.ask(pictures[0], "What is this?", sampling=replace(warm, seed=8))
    assert [answer.text for answer in together] == [again.text] * 2
    assert other.text != again.text


# --- what is refused ---


@pytest.mark.parametrize(
    ("name", "message", "expected"),
    [
        ("paligemma", Message(role="user", text="What?"), "ask one question about one image"),
        ("qwen3_vl", Message(role="user", text=" "), "no text"),
        ("qwen3_vl", Message(role="assistant", text="Yes."), "end with a user message"),
        ("qwen3_vl", Message(role="user", text="<|image_pad|> What?"), "holds '<|image_pad|>', a mark"),
        ("qwen3_vl", Message(role="user", text="What?", visual_prompts=(VisualPrompt(kind="point", xy=(0, 0)),)),
         "drawings and no image"),
    ],
)  # fmt: skip
def test_questions_that_cannot_be_asked(
    name: str, message: Message, expected: str, hub_model: Find, pictures: Pictures
) -> None:
    images = pictures[:1] if "image_pad" in message.text else ()
    with pytest.raises(GeneralistError, match=re.escape(expected)):
        hub_model(name).chat([replace(message, images=images)], sampling=SHORT)


def test_an_image_that_the_processor_refuses(hub_model: Find) -> None:
    with pytest.raises(GeneralistError, match="the model's processor refuses the"):
        hub_model("qwen3_vl").ask(Image.new("RGB", (1000, 2)), "What?", sampling=SHORT)


def test_a_prompt_that_is_too_long(hub_model: Find) -> None:
    with pytest.raises(GeneralistError, match="use at most 2047"):
        hub_model("qwen3_vl").ask(None, "word " * 500, sampling=SHORT)


def test_prompts_of_another_line(hub_model: Find) -> None:
    engine = hub_model("qwen3_vl").engine
    assert isinstance(engine, HubEngine)
    with pytest.raises(GeneralistError, match="prompts of their line"):
        engine.generate([Prompt(token_ids=(1, 2))], SHORT)
    with pytest.raises(GeneralistError, match="adapter 'x' is not loaded"):
        engine.generate([HubPrompt(text="Hello", adapter="x")], SHORT)


def test_has_no_vocabulary_of_ours(hub_model: Find) -> None:
    with pytest.raises(GeneralistError, match="no vocabulary"):
        _ = hub_model("qwen3_vl").vocabulary


# --- folders ---


def with_type(folder: Path, model_type: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder


def test_the_model_type_chooses_the_dialect(tmp_path: Path) -> None:
    for model_type, dialect in MODEL_TYPES.items():
        assert hub_dialect(with_type(tmp_path / "qwen", model_type)) == dialect  # whatever the folder's name
    assert hub_dialect(with_type(tmp_path / "x", "llava"), "json") == "json"
    assert hub_dialect(with_type(tmp_path / "x", "generalist")) is None
    assert hub_dialect(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("model_type", "dialect", "expected"),
    [
        ("llava", None, "has model_type 'llava', whose dialect is not known"),
        ("llava", "latin", "no dialect 'latin'"),
        ("generalist", "json", "speaks no dialect"),
        (5, "json", "speaks no dialect"),
    ],
)
def test_dialects_that_cannot_be_chosen(model_type: object, dialect: str | None, expected: str, tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match=expected):
        hub_dialect(with_type(tmp_path, model_type), dialect)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match="cannot load the model"):
        Generalist.from_pretrained(with_type(tmp_path, "qwen3_vl"))


def test_a_folder_without_a_processor(hub_folder: Callable[[str], Path], tmp_path: Path) -> None:
    for file in ("config.json", "generation_config.json", "model.safetensors"):
        shutil.copy(hub_folder("qwen3_vl") / file, tmp_path)
    with pytest.raises(GeneralistError, match="the processor"):
        Generalist.from_pretrained(tmp_path)


def test_another_engine_is_refused(hub_folder: Callable[[str], Path]) -> None:
    with pytest.raises(GeneralistError, match="no other engine and no adapter"):
        Generalist.from_pretrained(hub_folder("qwen3_vl"), adapter="x")


def test_another_dialect_can_be_spoken(hub_folder: Callable[[str], Path], pictures: Pictures) -> None:
    model = Generalist.from_pretrained(hub_folder("qwen3_vl"), device="cpu", dialect="json")
    assert isinstance(model.line, HubLine)
    assert model.line.dialect is get_dialect("json")
    assert '"box"' in model.line.prepare(request("Detect dogs.", pictures[0], task="detect")).text


# --- the program ---


@pytest.fixture
def picture_file(tmp_path: Path, pictures: Pictures) -> Path:
    pictures[0].save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_the_program_detects(
    hub_folder: Callable[[str], Path], picture_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["detect", str(picture_file), "dogs", "--model", str(hub_folder("paligemma")), "--device", "cpu"]
    assert execute([*arguments, "--json", "--max-new-tokens", "80"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["visual"][0]["type"] == "box" and 0 < found["visual"][0]["score"] <= 1
    assert found["image"][0]["width"] == 100


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--engine", "vllm"], "runs models of ours"),
        (["--adapter", "x"], "belongs to a model of ours"),
        (["--dialect", "latin"], "no dialect 'latin'"),
    ],
)
def test_the_program_refuses(
    options: list[str],
    expected: str,
    hub_folder: Callable[[str], Path],
    picture_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert execute(["ask", str(picture_file), "Hello", "--model", str(hub_folder("paligemma")), *options]) == 2
    printed = capsys.readouterr().err
    assert expected in printed and printed.count("\n") == 1


def test_the_program_measures(
    hub_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    for number in range(2):
        Image.new("RGB", (64, 48), (200, 40 * number, 10)).save(tmp_path / "images" / f"{number}.png")
    rows = ["image,label,x1,y1,x2,y2", *(f"{n}.png,dog,4,4,30,30" for n in range(2))]
    (tmp_path / "images" / "boxes.csv").write_text("\n".join(rows))
    arguments = ["eval", str(tmp_path / "images"), "--model", str(hub_folder("paligemma")), "--device", "cpu"]
    assert execute([*arguments, "--json", "--no-cache", "--batch-size", "4"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["engine"] == "transformers"
