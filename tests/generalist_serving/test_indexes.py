"""Searching the indexes of a server: in threads, a bounded number at once, whatever happens to their files."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from generalist.documents import Searcher, SearchOptions, add_documents, build_index, delete_documents, models
from generalist.documents.asking import Question
from generalist.documents.bases import BaseModel
from generalist.index import MANIFEST
from generalist.index.store import digest_of
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError
from generalist_datasets.records import Document
from generalist_serving.backend import Busy
from generalist_serving.indexes import Indexes, Searched, UnknownIndex

from .searched_indexes import Says, build

WORDS = SearchOptions(mode="lexical")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("indexes") / "root")


@pytest.fixture
def notes(built: Path, tmp_path: Path) -> Path:
    """One to change."""
    return Path(shutil.copytree(built / "notes", tmp_path / "notes"))


def ids(indexes: Indexes, question: str, options: SearchOptions = WORDS, name: str = "notes") -> list[str]:
    found = asyncio.run(indexes.search(name, [Question(text=question)], options))
    return [hit.document_id for hit in found]


def other_base(folder: Path, name: str) -> None:
    """Let an index say that it is in the tokens of another model."""
    content = json.loads((folder / MANIFEST).read_text())
    content.pop("sha256")
    content["base"]["name"] = name
    content["sha256"] = digest_of(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def test_each_is_found_by_its_name(built: Path) -> None:
    indexes = Indexes({"notes": built / "notes", "cards": built / "cards"})
    assert ids(indexes, "Where is the sofa?") == ["dog"]
    assert ids(indexes, "toys", name="cards") == ["ball"]
    for name in ("other", "", "../notes", "notes/"):
        with pytest.raises(UnknownIndex, match="GET /v1/vector_stores"):
            asyncio.run(indexes.search(name, [Question(text="?")], WORDS))


def test_a_broken_one_is_named(notes: Path) -> None:
    (notes / MANIFEST).write_text("{")
    with pytest.raises(GeneralistError, match=rf"{re.escape(str(notes))}: the index is damaged"):
        Indexes({"notes": notes})


def test_several_questions_make_one_ranking(built: Path) -> None:
    indexes = Indexes({"notes": built / "notes"})
    both = [Question(text="cat map"), Question(text="cat sofa")]
    found = asyncio.run(indexes.search("notes", both, WORDS))
    assert [hit.document_id for hit in found] == ["cat", "dog"]
    assert len({hit.score for hit in found}) == 2
    one = asyncio.run(indexes.search("notes", both, SearchOptions(mode="lexical", most=1)))
    assert [hit.document_id for hit in one] == ["cat"]


def test_what_is_added_and_deleted_counts_at_once(notes: Path) -> None:
    indexes = Indexes({"notes": notes})
    assert ids(indexes, "zebra") == []
    add_documents(notes, [Document(id="zebra", title="", text="A zebra has stripes.")])
    assert ids(indexes, "zebra") == ["zebra"]
    delete_documents(notes, ["dog", "zebra"])
    assert ids(indexes, "zebra sofa") == []


def test_an_index_that_is_built_anew_in_other_tokens(notes: Path, tmp_path: Path, vocab: Vocabulary) -> None:
    indexes = Indexes({"notes": notes})
    assert indexes.get("notes").sees_images and indexes.get("notes").naming is not None
    (tmp_path / "base").mkdir()
    vocab.tokenizer.save(str(tmp_path / "base" / "tokenizer.json"))
    build_index([Document(id="zebra", title="", text="A zebra has stripes.")], notes, base=tmp_path / "base")
    assert ids(indexes, "zebra") == ["zebra"]
    assert not indexes.get("notes").sees_images and indexes.get("notes").naming is None


def test_an_index_that_goes_away_is_still_searched(notes: Path) -> None:
    indexes = Indexes({"notes": notes})
    shutil.rmtree(notes)
    assert ids(indexes, "Where is the sofa?") == ["dog"]


def test_without_its_model_words_are_searched(notes: Path, caplog: pytest.LogCaptureFixture) -> None:
    other_base(notes, "/models/gone")
    indexes = Indexes({"notes": notes})
    assert "notes: searched by words alone" in caplog.text
    assert indexes.get("notes").modes == ("lexical",) and not indexes.get("notes").sees_images
    assert ids(indexes, "Where is the sofa?") == ["dog"]
    with pytest.raises(GeneralistError, match=r"notes has no mode 'generative'; use one of lexical"):
        ids(indexes, "sofa", SearchOptions(mode="generative"))


def test_the_model_writes_only_what_the_index_holds(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    indexes = Indexes({"notes": built / "notes"})
    index = indexes.get("notes")
    loaded = []

    def load(base: BaseModel, device: str, adapter: Path | None) -> Says:
        loaded.append(base)
        return Says(" sofa", base)

    monkeypatch.setattr(models, "load_model", load)
    assert index.modes[0] == "hybrid" and "generative" in index.modes and index.sees_images
    for _ in range(2):
        assert ids(indexes, "What is red?", SearchOptions(mode="generative"))[0] == "dog"
    assert len(loaded) == 1


def test_a_model_that_cannot_be_loaded_is_the_servers_fault(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(base: BaseModel, device: str, adapter: Path | None) -> Says:
        raise GeneralistError("/models/secret: cannot load")

    monkeypatch.setattr(models, "load_model", load)
    with pytest.raises(RuntimeError):
        ids(Indexes({"notes": built / "notes"}), "sofa", SearchOptions(mode="generative"))


def test_errors_do_not_tell_where_it_lies(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    indexes = Indexes({"notes": notes})
    monkeypatch.setattr(Searcher, "rank", lambda self, *_: _fail(f"{notes}: the index is damaged"))
    with pytest.raises(GeneralistError, match=r"^notes: the index is damaged"):
        ids(indexes, "sofa")


def _fail(message: str) -> None:
    raise GeneralistError(message)


def test_only_so_many_wait(built: Path) -> None:
    seen: list[Searched] = []
    indexes = Indexes({"notes": built / "notes"}, at_once=2, waiting=1, observe=seen.append)
    go_on = threading.Event()

    def wait() -> list[int]:
        assert go_on.wait(20)
        return [1]

    async def ask() -> None:
        running = [asyncio.create_task(indexes.run("notes", "lexical", wait)) for _ in range(3)]
        await asyncio.sleep(0)
        assert (indexes.running, indexes.waiting) == (2, 1)
        with pytest.raises(Busy) as busy:
            await indexes.run("notes", "lexical", wait)
        assert busy.value.seconds >= 1
        go_on.set()
        assert await asyncio.gather(*running) == [[1]] * 3
        assert (indexes.running, indexes.waiting) == (0, 0)
        assert await indexes.run("notes", "lexical", lambda: []) == []

    asyncio.run(asyncio.wait_for(ask(), 20))
    assert sorted(one.ended for one in seen) == ["busy", "found", "found", "found", "nothing"]


def test_who_leaves_the_queue_frees_a_place(built: Path) -> None:
    indexes = Indexes({"notes": built / "notes"}, at_once=1, waiting=1)
    go_on = threading.Event()
    begun: list[int] = []

    def work(number: int) -> Callable[[], list[int]]:
        def run() -> list[int]:
            begun.append(number)
            assert go_on.wait(20)
            return [number]

        return run

    async def ask() -> None:
        first = asyncio.create_task(indexes.run("notes", "lexical", work(1)))
        second = asyncio.create_task(indexes.run("notes", "lexical", work(2)))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert indexes.waiting == 0
        go_on.set()
        assert await first == [1]

    asyncio.run(asyncio.wait_for(ask(), 20))
    assert begun == [1]
