"""What is found of a labelled folder: which drawing belongs to which thing, statistics, runs, what is shown of them."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from generalist.tokens import Vocabulary
from generalist.types import Box, GeneralistError, Grounded, Mask
from generalist_serving.client import ClientAnswer, ClientError
from generalist_serving.demo.conversations import Picture
from generalist_serving.demo.inspect import Folder, Looker, find_folders, running, views
from generalist_serving.demo.inspect.folders import read_pictures
from generalist_serving.demo.inspect.judging import judge, statistics
from generalist_serving.demo.inspect.looking import Looked
from generalist_serving.demo.inspect.running import Asked, Run

from .labelled_folder import HOSTILE, PICTURES, SIDE, labelled_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return find_folders([labelled_folder(tmp_path_factory.mktemp("labelled"))])[0]


def drawn(*things: tuple[str, tuple[float, ...]]) -> list[Grounded]:
    return [
        Grounded(label=label, span=(0, 0), image=0, ref=at, output=Box(xyxy=tuple(v / SIDE for v in box)))  # type: ignore[arg-type]
        for at, (label, box) in enumerate(things)
    ]


class Server:
    """Answers as ``PICTURES`` says; ``errors``: by file name, raised instead. ``asked``: (file name, question)."""

    def __init__(self, errors: dict[str, Exception] | None = None, delay: float = 0) -> None:
        self.errors = errors or {}
        self.delay = delay
        self.asked: list[tuple[str, str]] = []

    async def ask(self, image: Path, prompt: str, *, task: str, model: str | None) -> ClientAnswer:
        self.asked.append((image.name, prompt))
        await asyncio.sleep(self.delay)
        if image.name in self.errors:
            raise self.errors[image.name]
        return ClientAnswer(text="so", outputs=tuple(drawn(*PICTURES[image.name][1])))


def run(folder: Folder, server: Server, then: Callable[[Run], None] | None = None, **options: Any) -> Run:
    """A run when it is over."""
    cache = options.pop("cache", {})
    asked = Asked(**{"folder": folder, "model": None, "task": "detect", "by_class": False, "limit": 50} | options)

    async def go() -> Run:
        begun = running.start(asked, server, cache)  # type: ignore[arg-type]
        assert begun.task is not None
        if then is not None:
            await asyncio.sleep(0.02)
            then(begun)
        await begun.task
        return begun

    return asyncio.run(go())


# --- judging -------------------------------------------------------------------------------------------------


def test_overlaps_and_confusions_are_exact(folder: Folder) -> None:
    done = run(folder, Server())
    assert done.state == "done" and not done.unread
    judged = [one.judged for one in done.inspected]
    things = [(thing.label, round(thing.overlap, 6), thing.share) for one in judged for thing in one.things]
    dog, cat = 16 * 16 / SIDE**2, 16 * 32 / SIDE**2
    assert things == [
        ("dog", 1, dog),
        ("cat", 1, cat),
        ("dog", 0.5, dog),
        ("dog", 1, dog),
        ("cat", 0, cat),
        ("dog", 1, dog),
        (HOSTILE, round(15 / 17, 6), dog),
    ]
    seen = statistics(judged)
    assert seen.confusion == {
        ("dog", "dog"): 3,
        ("cat", "cat"): 1,
        ("dog", "cat"): 1,
        ("cat", None): 1,
        (None, "bird"): 1,
        (HOSTILE, "dog"): 1,
    }
    assert (seen.things, seen.drawn, seen.right) == (7, 7, 4)
    assert [(one.name, one.true, one.found) for one in seen.classes] == [
        ("dog", 4, 4),
        ("cat", 2, 2),
        (HOSTILE, 1, 0),
        ("bird", 0, 1),
    ]
    assert [one.overlap for one in seen.classes] == pytest.approx([3.5 / 4, 0.5, 15 / 17, None])


@pytest.mark.parametrize(
    ("truth", "found", "partners"),
    [
        # Its own name goes first, where it is found well enough, even if another fits better.
        ([("dog", (0, 0, 32, 32))], [("cat", (0, 0, 32, 32)), ("dog", (0, 0, 32, 24))], [1]),
        # A name alone is not enough beside a drawing that is of this very thing.
        ([("dog", (0, 0, 32, 32))], [("dog", (24, 24, 56, 56)), ("cat", (0, 0, 32, 32))], [1]),
        # One drawing is not two things.
        ([("dog", (0, 0, 32, 32)), ("dog", (0, 0, 32, 30))], [("dog", (0, 0, 32, 32))], [0, None]),
        # Two of the same are told apart by where they are.
        (
            [("dog", (0, 0, 16, 16)), ("dog", (32, 32, 64, 64))],
            [("Dog ", (32, 32, 64, 60)), ("dog", (0, 0, 16, 15))],
            [1, 0],
        ),
        ([("dog", (0, 0, 16, 16))], [], [None]),
        ([], [("dog", (0, 0, 16, 16))], []),
    ],
)
def test_which_drawing_belongs_to_which_thing(truth: list[Any], found: list[Any], partners: list[int | None]) -> None:
    judged = judge(drawn(*truth), drawn(*found), (SIDE, SIDE))
    assert [thing.found for thing in judged.things] == partners


def test_masks_are_compared_by_their_pixels() -> None:
    from generalist_datasets.world.masks import to_mask

    left, diagonal = np.zeros((8, 8), bool), np.triu(np.ones((8, 8), bool))
    left[:, :4] = True
    masks = [Grounded(label="a", span=(0, 1), image=0, ref=0, output=to_mask(bitmap)) for bitmap in (left, diagonal)]
    assert all(isinstance(item.output, Mask) for item in masks)
    judged = judge(masks[:1], masks[1:], (8, 8))
    assert judged.things[0].overlap == pytest.approx((left & diagonal).sum() / (left | diagonal).sum())
    assert judged.things[0].share == 0.5


# --- folders and runs ---------------------------------------------------------------------------------------------


def test_folders_have_names_of_their_own(folder: Folder, tmp_path: Path) -> None:
    names = [one.name for one in find_folders([folder.path, folder.path])]
    assert len(set(names)) == 2 and names[0] == folder.path.name
    with pytest.raises(GeneralistError, match="empty"):
        find_folders([tmp_path])


def test_class_by_class_every_class_that_is_there_is_asked(folder: Folder) -> None:
    server = Server()
    run(folder, server, by_class=True, limit=2)
    assert server.asked == [
        ("right.png", "Detect dog."),
        ("half.png", "Detect dog."),
        ("right.png", "Detect cat."),
    ]


def test_a_picture_that_cannot_be_read_or_asked_about_is_left_out(folder: Folder, tmp_path: Path) -> None:
    copy = labelled_folder(tmp_path)
    (copy / "half.png").write_bytes(b"no picture")
    server = Server({"missed.png": ClientError("too large", status=413), "right.png": GeneralistError("no image")})
    done = run(Folder(name="copy", path=copy), server)
    assert (done.state, done.unread, len(done.inspected)) == ("done", 3, 3)
    assert views.plots(done)["status"].startswith("Done: 6 pictures. 3 could not be read or asked about.")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ClientError("down", code="connection"), "The server cannot be reached"),
        (ClientError("there is no model 'cats'", status=404), "There is no model 'cats'."),
        (RuntimeError("a bug"), "Something went wrong in the demo itself."),
    ],
)
def test_what_concerns_every_picture_ends_the_run(folder: Folder, error: Exception, words: str) -> None:
    done = run(folder, Server(dict.fromkeys(PICTURES, error)))
    assert done.state == "failed" and done.error.startswith(words)
    assert views.plots(done)["status"].startswith(f"Ended after 0 pictures. {words}")


def test_what_was_asked_is_not_asked_again(folder: Folder) -> None:
    server, cache = Server(), {}
    first = run(folder, server, cache=cache, limit=4)
    assert len(server.asked) == len(first.inspected) == 4
    again = run(folder, server, cache=cache)
    assert len(server.asked) == len(again.inspected) == 6
    run(folder, server, cache=cache, model="cats")
    assert len(server.asked) == 12


def test_a_cancelled_run_keeps_what_has_come(folder: Folder) -> None:
    done = run(folder, Server(delay=5), Run.stop)
    assert done.state == "stopped" and not done.inspected
    assert views.plots(done)["status"] == "Stopped after 0 pictures."


def test_a_folder_without_such_labels_gives_nothing(folder: Folder) -> None:
    assert list(read_pictures(folder, "segment", by_class=False)) == []
    done = run(folder, Server(), task="segment")
    assert views.plots(done)["status"] == "Done: 0 pictures. None of them has a label to compare with."


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_the_confusion_table(folder: Folder) -> None:
    table = views.plots(run(folder, Server()))["confusion"]
    assert table["rows"] == ["dog", "cat", HOSTILE, "bird", "Made up"]
    assert table["columns"][-1] == "Missed"
    assert table["counts"] == [[3, 1, 0, 0, 0], [0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0] * 5, [0, 0, 0, 1, 0]]


def test_many_classes_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MOST_CLASSES", 2)
    things = [(label, (0, 0, 8, 8)) for label in "aaabbc"]
    judged = [judge(drawn(thing), drawn(thing, ("d", (40, 40, 60, 60))), (SIDE, SIDE)) for thing in things]
    table = views.confusion(statistics(judged))
    assert table["rows"] == ["a", "b", "2 others", "Made up"]
    assert table["counts"] == [[3, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0], [0, 0, 6, 0]]


def test_a_thing_and_its_drawing_have_the_same_number(folder: Folder) -> None:
    done = run(folder, Server())
    one = done.inspected[4]
    picture = Picture.read(one.picture.path.read_bytes(), one.picture.path.name)
    truth, found = views.stages(one, picture)
    assert [(unit["index"], unit["label"]) for unit in truth["units"]] == [(0, "dog")]
    assert [(unit["index"], unit["label"]) for unit in found["units"]] == [(0, "dog"), (1, "bird")]
    assert truth["units"][0]["box"] == [8.5, 8.5, 24.5, 24.5]
    assert views.about(done.inspected[3], 0).endswith("Nothing that was found touches it.")
    assert "by 0.50." in views.about(done.inspected[1], 0)


def test_a_heat_map_is_255_where_it_is_highest() -> None:
    picture = Picture.read(_png(), "a.png")
    maps = np.array([[[0.1, 0.4], [0.2, 0.3]], [[0, 0], [0, 0]]], np.float32)
    value = views.heat(Looked(tokens=("a", "b"), maps=maps, share=np.array([0.25, 0])), picture)
    assert list(base64.b64decode(value["maps"])) == [64, 255, 128, 191, 0, 0, 0, 0]
    assert value["grid"] == [2, 2] and value["share"] == [0.25, 0]


def test_without_the_model_nothing_is_told(vocab: Vocabulary) -> None:
    looker = Looker()
    assert not looker.ready
    with pytest.raises(GeneralistError, match="without --url"):
        looker.look(Image.new("RGB", (8, 8)), "Detect dog.", "detect", None)


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()
