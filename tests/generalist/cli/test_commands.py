"""The program as a user types it, over a scripted model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist import cli
from generalist.cli.run import ModelError
from generalist.documents import build_index
from generalist.engine.scripted import ScriptedEngine
from generalist.model import Checkpoint
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError
from generalist_datasets.records import Document

from ..scripted_model import DOG, NOTHING, Ids, scripted

DEPTH = "<Phrase>Depth</Phrase>(<Unit>depth</Unit>[0]<loc_0001><loc_0060>" + "<depth_003>" * 64 + ")"
MASK = "<Phrase>cat</Phrase>(<Unit>mask</Unit>[0]" + "<loc_0000>" * 4 + "<mask_001>" * 16 + ")"

Say = Callable[..., ScriptedEngine]


@pytest.fixture
def say(vocab: Vocabulary, ids: Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """``say(reply, ...)`` makes these the model's replies; the working folder has photo.png of 200 x 100."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (200, 100), (90, 90, 90)).save("photo.png")
    monkeypatch.setattr("generalist.cli.run.resolve_model", Path)

    def make(*replies: str) -> ScriptedEngine:
        model, engine = scripted(vocab, [ids(reply) for reply in replies])
        monkeypatch.setattr("generalist.cli.run.load_model", lambda *_, **__: model)
        return engine

    make(NOTHING)
    return make


def asked(engine: ScriptedEngine, vocab: Vocabulary, number: int = -1) -> str:
    """The question in a prompt."""
    return vocab.decode_text(engine.prompts[number].token_ids)


def photos(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64)).save(name)


@pytest.mark.parametrize("arguments, question", [
    (["ask", "photo.png", "What is this?"], "What is this?"),
    (["detect", "photo.png"], "Detect all objects."),
    (["detect", "photo.png", "dogs"], "Detect dogs."),
    (["point", "photo.png", "the dog"], "Point to the dog."),
    (["segment", "photo.png"], "Segment all objects."),
    (["segment", "photo.png", "car/truck"], "Segment car/truck."),
    (["depth", "photo.png"], "Estimate the depth."),
    (["caption", "photo.png"], "Describe the image."),
    (["count", "photo.png", "dogs"], "How many dogs are there?"),
])  # fmt: skip
def test_commands_ask_their_question(
    say: Say, vocab: Vocabulary, capsys: pytest.CaptureFixture[str], arguments: list[str], question: str
) -> None:
    engine = say(NOTHING)
    assert cli.execute(arguments) == 0
    assert asked(engine, vocab) == question
    assert capsys.readouterr().out == f"{NOTHING}\n"


def test_people_get_text_a_table_and_file_names(say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    say(DOG + MASK)
    assert cli.execute(["ask", "photo.png", "Where?", "--save", "out.png"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("The dog sits.cat\n") and out.endswith("saved out.png\n")
    assert "51.6, 25.8, 101.6, 75.8" in out and "(20000 pixels)" in out and "dog" in out
    assert Image.open("out.png").size == (200, 100)


def test_json_is_one_object(say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    say(DOG)
    assert cli.execute(["detect", "photo.png", "--json", "--save", "out.png"]) == 0
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    assert captured.out.count("\n") == 1 and captured.err == ""
    assert list(content) == ["text", "visual", "image", "usage"]
    assert content["visual"][0]["box"] == [51.56, 25.78, 101.56, 75.78]
    assert content["image"] == [{"index": 0, "width": 200, "height": 100, "file": "photo.png"}]
    assert Path("out.png").exists()


def test_json_has_a_line_an_image_and_bad_images_do_not_stop_the_others(
    say: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    photos("folder/a.png", "folder/c.jpg")
    Path("folder/b.png").write_bytes(b"")
    assert cli.execute(["detect", "folder", "photo.png", "missing.jpg", "--json"]) == 2
    captured = capsys.readouterr()
    files = [json.loads(line)["image"][0]["file"] for line in captured.out.splitlines()]
    assert files == ["folder/a.png", "folder/c.jpg", "photo.png"]
    first, second = captured.err.splitlines()
    assert first.startswith("error: folder/b.png") and "empty" in first
    assert second.startswith("error: missing.jpg")


def test_a_folder_is_saved_into_a_folder(say: Say) -> None:
    say(DEPTH)
    photos("in/a.png", "in/a.jpg", "in/b.png")
    assert cli.execute(["depth", "in/", "--save", "out"]) == 0
    names = {"a_png", "a_jpg", "b"}
    assert {p.name for p in Path("out").iterdir()} == {f"{n}{s}.png" for n in names for s in ("", "_depth16")}


def test_depth_is_saved_as_colours_and_as_16_bits(say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    say(DEPTH)
    assert cli.execute(["depth", "photo.png", "--save", "out.jpg"]) == 0
    assert Image.open("out.jpg").size == (200, 100)
    deep = np.asarray(Image.open("out_depth16.png"))
    assert deep.shape == (100, 200) and deep[0, 0] == 2500
    out = capsys.readouterr().out
    assert "2.50 to 2.50 metre" in out and "saved out_depth16.png" in out


def test_what_is_drawn_reaches_the_question(say: Say, vocab: Vocabulary) -> None:
    engine = say(NOTHING)
    drawn = Image.new("L", (200, 100))
    drawn.paste(255, (20, 20, 60, 60))
    drawn.save("drawn.png")
    options = ["--box", "0,0,100,100", "--box", "1,1,2,2.5", "--point", "5,5", "--mask", "drawn.png"]
    assert cli.execute(["ask", "photo.png", "What is this?", *options, "--scribble", "drawn.png"]) == 0
    tokens = [vocab.name(t) for t in engine.prompts[0].token_ids]
    assert tokens.count("<Unit>") == 4 and tokens.count("[1]") == 2  # of the boxes and of the scribble
    assert sum(t.startswith("<mask_") for t in tokens) == 16


def test_what_is_not_meant_comes_behind_what_is(say: Say, vocab: Vocabulary) -> None:
    engine = say(NOTHING)
    options = ["--exclude", "150,50", "--box", "0,0,200,100", "--exclude", "199,99"]
    assert cli.execute(["segment", "photo.png", "this", *options]) == 0
    tokens = [vocab.name(t) for t in engine.prompts[0].token_ids]
    excluding = len(tokens) - tokens[::-1].index("<Unit>")
    assert tokens.count("<Unit>") == 2 and tokens[excluding:].count("[1]") == 1


def test_sampling_options(say: Say) -> None:
    engine = say(NOTHING)
    options = ["--seed", "7", "--temperature", "0.5", "--max-new-tokens", "3"]
    assert cli.execute(["ask", "photo.png", "Hm?", *options]) == 0
    (sampling,) = engine.samplings
    assert (sampling.seed, sampling.temperature, sampling.max_new_tokens) == (7, 0.5, 3)


def test_a_cut_reply_is_noted_on_stderr(say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["ask", "photo.png", "Hm?", "--max-new-tokens", "3", "--json"]) == 0
    assert "cut after 3 tokens" in capsys.readouterr().err


def test_control_characters_and_markup_of_a_reply_do_nothing(say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    say("\x1b[31mred [bold]not bold[/bold] :dog: <Phrase>[/] \x1b]0;x\x07</Phrase>"
        "(<Unit>point</Unit>[0]<loc_0000><loc_0000>)")  # fmt: skip
    assert cli.execute(["ask", "photo.png", "Hm?"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out and "[bold]not bold[/bold] :dog:" in out


@pytest.fixture
def bad_files(say: Say) -> None:
    Path("empty.png").write_bytes(b"")
    Path("text.png").write_text("hello")
    Path("half.png").write_bytes(Path("photo.png").read_bytes()[:100])
    Path("nothing").mkdir()
    Image.new("L", (200, 100)).save("black.png")
    Image.new("L", (20, 10), 255).save("small.png")


@pytest.mark.parametrize("arguments, says", [
    (["caption", "missing.png"], "missing.png: no such file"),
    (["caption", "empty.png"], "empty.png: the file is empty"),
    (["caption", "text.png"], "text.png: not a readable image"),
    (["caption", "half.png"], "half.png: truncated"),
    (["caption", "nothing"], "nothing: no images"),
    (["caption", "x" * 5000], "cannot read"),
    (["ask", "photo.png", ""], "text is ''"),
    (["ask", "photo.png", " \n"], "nothing to ask about"),
    (["ask", "photo.png"], "only 'photo.png' is given"),
    (["ask", "photo.png", "photo.png"], "is an image file"),
    (["ask"], "Missing argument"),
    (["detect", "missing.jpg"], "missing.jpg: no such file"),
    (["count", "photo.png", ""], "nothing to ask about"),
    (["ask", "photo.png", "caf\udcff"], "Unicode"),
    (["ask", "photo.png", "Hm?", "--box", "0,0,300,50"], "box 0,0,300,50 is outside the image of 200x100"),
    (["ask", "photo.png", "Hm?", "--box", "-1,0,30,50"], "outside the image"),
    (["ask", "photo.png", "Hm?", "--box", "50,10,20,40"], "box 50,10,20,40 is empty on an image of 200x100"),
    (["ask", "photo.png", "Hm?", "--box", "1,2,3"], "has 3 numbers"),
    (["ask", "photo.png", "Hm?", "--box", "a,b,c,d"], "--box is 'a,b,c,d'"),
    (["ask", "photo.png", "Hm?", "--box", "nan,0,5,5"], "outside"),
    (["ask", "photo.png", "Hm?", "--point", "200.5,5"], "point 200.5,5 is outside"),
    (["ask", "photo.png", "Hm?", "--point", ""], "--point is ''"),
    (["ask", "photo.png", "Hm?", "--exclude", "5,5"], "draw what is meant"),
    (["ask", "photo.png", "Hm?", "--point", "5,5", "--exclude", "300,5"], "point 300,5 is outside"),
    (["ask", "photo.png", "Hm?", "--point", "5,5", "--exclude", "5;5"], "--exclude is '5;5'"),
    (["ask", "photo.png", "Hm?", "--mask", "missing.png"], "missing.png: no such file"),
    (["ask", "photo.png", "Hm?", "--mask", "small.png"], "small.png is 20x10 and the image 200x100"),
    (["ask", "photo.png", "Hm?", "--mask", "black.png"], "nothing is drawn"),
    (["ask", "photo.png", "Hm?", "--scribble", "half.png"], "truncated"),
    (["ask", "photo.png", "Hm?", "--temperature", "-1"], "temperature is -1"),
    (["ask", "photo.png", "Hm?", "--temperature", "hot"], "--temperature"),
    (["ask", "photo.png", "Hm?", "--max-new-tokens", "0"], "max_new_tokens is 0"),
    (["ask", "photo.png", "Hm?", "--save", "out.xyz"], "'.xyz'"),
    (["ask", "photo.png", "Hm?", "--save", "no/out.png"], "does not exist"),
    (["ask", "photo.png", "Hm?", "--save", "nothing"], "''"),
    (["ask", "photo.png", "Hm?", "--save", "photo.png"], "overwrite"),
    (["ask", "photo.png", "small.png", "Hm?", "--save", "photo.png"], "cannot make this folder"),
    (["dance", "photo.png"], "dance"),
    (["ask", "photo.png", "Hm?", "--loud"], "--loud"),
    (["ask", "photo.png", "Hm?", "--engine", "jax"], "there is no engine 'jax'; use one of auto, transformers, vllm"),
])  # fmt: skip
def test_mistakes_are_one_line_and_status_2(
    bad_files: None, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert cli.execute(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1, captured.err
    assert says in captured.err and len(captured.err) < 500
    assert Image.open("photo.png").getpixel((0, 0)) == (90, 90, 90)


def test_images_are_looked_at_before_the_model_is_loaded(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generalist.cli.run.load_model", lambda *_, **__: pytest.fail("loaded"))
    assert cli.execute(["caption", "missing.png"]) == 2
    assert cli.execute(["ask", "photo.png", "Hm?", "--box", "5,5,1,1"]) == 2
    assert cli.execute(["ask", "photo.png", "Hm?", "--save", "x.gif"]) == 2


def test_a_model_that_does_not_load_is_reported_once(
    say: Say, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(
        name: str, device: str, engine: str, adapter: Path | None, dialect: str | None, **drawers: str | None
    ) -> None:
        raise GeneralistError("the weights lack a tensor")

    monkeypatch.setattr("generalist.cli.run.load_model", broken)
    photos("in/a.png", "in/b.png")
    assert cli.execute(["caption", "in"]) == 2
    assert capsys.readouterr().err == "error: the weights lack a tensor\n"
    assert issubclass(ModelError, GeneralistError)


def test_interruption_is_130_and_a_defect_is_not_hidden(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(
        name: str, device: str, engine: str, adapter: Path | None, dialect: str | None, **drawers: str | None
    ) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("generalist.cli.run.load_model", interrupted)
    assert cli.execute(["caption", "photo.png"]) == 130

    def defect(
        name: str, device: str, engine: str, adapter: Path | None, dialect: str | None, **drawers: str | None
    ) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr("generalist.cli.run.load_model", defect)
    with pytest.raises(RuntimeError, match="ours"):
        cli.execute(["caption", "photo.png"])


@pytest.mark.parametrize("make", [
    lambda: Image.new("RGB", (1, 1)),
    lambda: Image.new("RGB", (20_000, 8)),
    lambda: Image.new("I;16", (64, 32), 40_000),
    lambda: Image.new("RGBA", (64, 32), (0, 0, 0, 0)),
    lambda: Image.new("P", (64, 32)),
    lambda: Image.new("LA", (64, 32)),
])  # fmt: skip
def test_odd_images_are_answered(say: Say, make: Callable[[], Image.Image]) -> None:
    say(DOG)
    image = make()
    image.save("odd.png")
    assert cli.execute(["detect", "odd.png", "--save", "out.png"]) == 0
    assert Image.open("out.png").size == image.size


def test_cmyk_rotated_and_animated_files_are_answered(say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    say(DOG)
    Path("in").mkdir()
    Image.new("CMYK", (64, 32)).save("in/cmyk.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 32)).save("in/rotated.jpg", exif=exif)
    frames = [Image.new("RGB", (64, 32), c) for c in ("red", "blue")]
    frames[0].save("in/animated.gif", save_all=True, append_images=frames[1:])
    assert cli.execute(["detect", "in", "--json"]) == 0
    infos = [json.loads(line)["image"][0] for line in capsys.readouterr().out.splitlines()]
    assert {i["file"]: (i["width"], i["height"]) for i in infos} == {
        "in/animated.gif": (64, 32), "in/cmyk.jpg": (64, 32), "in/rotated.jpg": (32, 64),
    }  # fmt: skip


# --- documents of an index -----------------------------------------------------------------------------


@pytest.fixture
def cards(say: Say, tiny_checkpoint: Checkpoint) -> Path:
    """An index of two cards, in the tokens of the scripted model."""
    documents = [Document(id=name, title=name, text=f"A {name}.\x1b[2J It " + "is " * 100) for name in ("dog", "cat")]
    build_index(documents, "cards", base=tiny_checkpoint.folder)
    return Path("cards")


CARD = "<Phrase>Its card</Phrase>(<Unit>doc</Unit>[0]<doc>dog</doc>)"


def test_an_answer_names_documents_beside_boxes(
    say: Say, cards: Path, tiny_checkpoint: Checkpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = say(DOG + CARD)
    asked = ["ask", "photo.png", "Which card describes this?", "--box", "1,1,9,9", "--index", str(cards)]
    asked += ["--model", str(tiny_checkpoint.folder)]
    assert cli.execute([*asked, "--json"]) == 0
    box, document = json.loads(capsys.readouterr().out)["visual"]
    assert (box["type"], document["type"], document["document_id"]) == ("box", "document", "dog")
    assert document["label"] == "Its card" and document["text"].startswith("A dog.") and document["score"] > 0
    assert engine.prompts[0].constraint is not None
    assert engine.prompts[0].constraint.identifiers == f"{cards.absolute()}#titles"
    assert cli.execute([*asked, "--save", "out.png"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "dog: A dog." in out and "\x1b" not in out and "is..." in out
    corner = (0, 85, 60, 100)
    plain = Image.open("photo.png").crop(corner)
    assert not np.array_equal(np.asarray(Image.open("out.png").crop(corner)), np.asarray(plain))


def test_indexes_that_an_answer_cannot_name(
    say: Say, cards: Path, tiny_checkpoint: Checkpoint, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = ["--model", str(tiny_checkpoint.folder)]
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    for arguments, says in (
        (["ask", "photo.png", "Which?", "--index", "none", *model], "none: no index there"),
        (["detect", "photo.png", "--index", "cards", *model], "this command names no documents; use `generalist ask`"),
        (["ask", "photo.png", "Which?", "--index", "cards", "--model", "hub"], "hub is a model from the hub"),
        (["ask", "photo.png", "Which?", "--index", "cards", "--model", "nano"], "this index is in the tokens of"),
    ):
        assert cli.execute(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1 and says in captured.err
