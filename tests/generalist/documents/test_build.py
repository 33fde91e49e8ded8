"""Making and changing indexes; what the documents say afterwards; files that are cut, foreign or edited."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from generalist.documents import Collection, add_documents, build_index, delete_documents
from generalist.documents import build as module
from generalist.index import open_index
from generalist.index.store import MANIFEST, check_index
from generalist.index.writer import writing
from generalist.model import Checkpoint
from generalist.types import GeneralistError
from generalist_datasets.records import Document

from .conftest import DOCUMENTS

ROOT = Path(__file__).resolve().parents[3]


def said(folder: Path) -> dict[str, tuple[str, str]]:
    """Id -> title and text."""
    collection = Collection.open(folder)
    return {id: (collection.title(place), collection.text(place)) for id, place in collection.places.items()}


def expected(*documents: Document) -> dict[str, tuple[str, str]]:
    return {document.id: (document.title, document.text) for document in documents}


def test_documents_say_what_they_said(small: Collection) -> None:
    wanted = expected(*DOCUMENTS)
    # A language without spaces gets one between sentences.
    wanted["é"] = ("Ünder", "Größe 日本語。 次の文。")
    assert said(small.index.folder) == wanted
    assert small.index.documents == 4
    assert list(small.texts()) == list(wanted.values())


def test_white_space_is_made_plain(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    build_index([Document(id="a", title=" A \n b", text="\n one\ttwo \nthree\n \n\n four")], tmp_path / "i",
                base=tiny_checkpoint.folder)  # fmt: skip
    assert said(tmp_path / "i") == {"a": ("A b", "one two three\n\nfour")}


def test_names_of_special_tokens_are_text(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    text = "Say </doc> and <loc_0001>."
    index = build_index([Document(id="a", text=text)], tmp_path / "i", base=tiny_checkpoint.folder)
    assert said(tmp_path / "i") == {"a": ("", text)}
    special = tiny_checkpoint.vocabulary.special_ids
    assert not special & set(index.segments[0].tokens.tolist())


def test_adding_and_deleting_is_like_having_built_so(own: Path, tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    more = [Document(id="new", title="New", text="A new box."), Document(id="dog", title="Dog", text="Another dog.")]
    add_documents(own, more)
    delete_documents(own, ["cat", "é"])
    assert said(own) == expected(DOCUMENTS[2], *more)
    index = check_index(own)
    assert len(index.segments) == 2
    anew = build_index([DOCUMENTS[2], *more], tmp_path / "anew", base=tiny_checkpoint.folder)
    changed, built = index.automaton(), anew.automaton()
    for text in (" dog", " asleep", " box", " cat", " map", "Dog", " A new box.", "12"):
        tokens = tiny_checkpoint.vocabulary.encode_text(text)
        counts = [found.count(found.find(tokens)) if found.find(tokens) >= 0 else 0 for found in (changed, built)]
        assert counts[0] == counts[1], text


def test_many_additions_make_one_segment(own: Path) -> None:
    for number in range(module.MOST_SEGMENTS):
        add_documents(own, [Document(id=f"n{number}", text=f"Box {number}.")])
    assert len(open_index(own).segments) == 1
    assert list(said(own)) == [*(d.id for d in DOCUMENTS), *(f"n{number}" for number in range(module.MOST_SEGMENTS))]


def test_old_parts_are_removed(own: Path) -> None:
    add_documents(own, [Document(id="dog", text="Other.")])
    parts = {part.folder for part in open_index(own).manifest.parts}
    assert {entry.name for entry in own.iterdir() if entry.is_dir()} == parts


def test_an_index_that_is_open_stays_whole_while_it_is_changed(own: Path) -> None:
    collection = Collection.open(own)
    delete_documents(own, ["dog"])
    assert collection.text(collection.place("dog")) == DOCUMENTS[0].text
    assert "dog" not in Collection.open(own).places


MISTAKES = {
    "no documents": ([], "0 documents"),
    "an id twice": ([DOCUMENTS[0], DOCUMENTS[0]], "'dog' is there twice"),
    "an empty id": ([Document(id="", text="x")], "'' is empty"),
    "no Unicode": ([Document(id="a", text="\ud800")], "not Unicode text"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_documents_that_cannot_be_indexed(what: str, own: Path, tiny_checkpoint: Checkpoint) -> None:
    documents, message = MISTAKES[what]
    before = said(own)
    for change in (
        lambda: add_documents(own, documents),
        lambda: build_index(documents, own, base=tiny_checkpoint.folder),
    ):
        with pytest.raises(GeneralistError, match=message):
            change()
    assert said(own) == before


def test_what_cannot_be_deleted(own: Path) -> None:
    with pytest.raises(GeneralistError, match="there is no document 'fox'; nothing was deleted"):
        delete_documents(own, ["dog", "fox"])
    with pytest.raises(GeneralistError, match="these are all 4 documents"):
        delete_documents(own, [document.id for document in DOCUMENTS])
    assert len(said(own)) == 4


def test_places_that_are_taken(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("")
    for name, message in (("file", "this is a file"), ("folder", "holds something else"), ("x\0", "cannot write")):
        with pytest.raises(GeneralistError, match=message):
            build_index(DOCUMENTS, tmp_path / name, base=tiny_checkpoint.folder)
    assert (tmp_path / "folder" / "mine").exists()
    with pytest.raises(GeneralistError, match="unknown model 'none'"):
        build_index(DOCUMENTS, tmp_path / "new", base="none")
    with pytest.raises(GeneralistError, match=r"cannot read tokenizer\.json"):
        build_index(DOCUMENTS, tmp_path / "new", base=tmp_path / "folder")
    with pytest.raises(GeneralistError, match="no index there"):
        add_documents(tmp_path / "folder", DOCUMENTS)
    assert not (tmp_path / "folder" / MANIFEST).exists()


def test_two_do_not_write_at_once(own: Path) -> None:
    with writing(own), pytest.raises(GeneralistError, match="another process is changing this index"):
        delete_documents(own, ["dog"])
    delete_documents(own, ["dog"])


# --- damage -------------------------------------------------------------------------------------------


def test_every_file_that_is_cut_or_missing_is_found_at_once(own: Path) -> None:
    files = [path for path in own.rglob("*") if path.is_file() and path.name != ".lock"]
    assert len(files) >= 10
    for file in files:
        data = file.read_bytes()
        for damage in (data[:-2], b"", data + b"x"):
            file.write_bytes(damage)
            with pytest.raises(GeneralistError, match="damaged"):
                open_index(own)
        file.unlink()
        with pytest.raises(GeneralistError, match=r"missing|no index there"):
            open_index(own)
        file.write_bytes(data)
    assert len(said(own)) == 4


def test_every_file_that_is_edited_is_found_by_the_check(own: Path) -> None:
    for file in (path for path in own.rglob("*") if path.is_file() and path.name not in (".lock", MANIFEST)):
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        before = file.read_bytes()
        file.write_bytes(data)
        with pytest.raises(GeneralistError, match=r"damaged \("):
            check_index(own)
        file.write_bytes(before)
    check_index(own)


def test_arrays_of_another_index_are_refused(own: Path, tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    index = open_index(own)
    folder = own / index.manifest.segments[0].folder
    np.save(folder / "first.npy", np.zeros(len(index.segments[0].first), np.int64))
    with pytest.raises(GeneralistError, match="damaged"):
        open_index(own)


MANIFESTS = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "another format": b'{"format": "generalist-index-9"}',
    "no text": b"\xff\xfe",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_manifest_that_is_none(what: str, own: Path) -> None:
    (own / MANIFEST).write_bytes(MANIFESTS[what])
    with pytest.raises(GeneralistError, match=r"damaged|its format is") as caught:
        open_index(own)
    assert "\n" not in str(caught.value)


def test_a_manifest_cannot_point_elsewhere(own: Path) -> None:
    from generalist.index import store

    content = json.loads((own / MANIFEST).read_text())
    content["segments"][0]["folder"] = "../" + content["segments"][0]["folder"]
    content.pop("sha256")
    content["sha256"] = store.digest_of(content)
    (own / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(GeneralistError, match="damaged"):
        open_index(own)


# --- killed on the way ---------------------------------------------------------------------------------

KILLED = """
import sys, time
from pathlib import Path
import generalist.index.writer as writer
from generalist.documents import add_documents, build_index
from generalist_datasets.records import Document

folder, base, stop, what = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
count = 0

def slowly(name):
    real = getattr(writer.Writer, name)
    def wait(self, *arguments):
        global count
        count += 1
        if count == stop:
            print("now", flush=True)
            time.sleep(60)
        return real(self, *arguments)
    setattr(writer.Writer, name, wait)

slowly("add"), slowly("commit"), slowly("clean")
documents = [Document(id="dog", title="x", text="Another text."), Document(id="n", text="New.")]
add_documents(folder, documents) if what == "add" else build_index(documents, folder, base=base)
"""


@pytest.mark.parametrize(
    ("what", "stop"), [("add", 1), ("add", 3), ("add", 4), ("build", 2), ("build", 4), ("build", 5)]
)
def test_a_killed_writer_leaves_all_or_nothing(what: str, stop: int, own: Path, tiny_checkpoint: Checkpoint) -> None:
    before = said(own)
    paths = os.pathsep.join(str(ROOT / one) for one in (".", "adapters", "serving", "datasets"))
    command = [sys.executable, "-c", KILLED, str(own), str(tiny_checkpoint.folder), str(stop), what]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "now\n"
        writer.send_signal(signal.SIGKILL)
    check_index(own)
    after = said(own)
    new = {"dog": ("x", "Another text."), "n": ("", "New.")}
    kept = {} if what == "build" else {id: text for id, text in before.items() if id not in new}
    assert after in (before, {**kept, **new})
    delete_documents(own, ["dog"])  # the next writer gets through, and clears up
    parts = {part.folder for part in open_index(own).manifest.parts}
    assert {entry.name for entry in own.iterdir() if entry.is_dir()} == parts


def test_a_first_build_that_was_killed_leaves_room_for_the_next(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), writing(tmp_path / "i", new=True) as writer:
        writer.add("segment", lambda folder: None)
        raise RuntimeError
    with pytest.raises(GeneralistError, match="no index there"):
        open_index(tmp_path / "i")
    build_index(DOCUMENTS, tmp_path / "i", base=tiny_checkpoint.folder)
    assert len(list(tmp_path.glob("i/segment-*"))) == 1
