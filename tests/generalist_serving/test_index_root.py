"""What a server takes for an index: folders directly in its own, with nothing of theirs elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from generalist.index import MANIFEST
from generalist.types import GeneralistError
from generalist_serving.index_root import find_indexes


def write(folder: Path) -> Path:
    (folder / "segment-000001").mkdir(parents=True)
    (folder / MANIFEST).write_text("{}")
    (folder / "segment-000001" / "tokens.npy").write_text("")
    return folder


def test_indexes_are_the_folders_with_a_manifest(tmp_path: Path) -> None:
    root = tmp_path / "indexes"
    notes, cards = write(root / "notes.index"), write(root / "cards")
    write(root / "deep" / "other")
    (root / "a file").write_text("")
    assert find_indexes(root) == {"cards": cards, "notes.index": notes}
    assert find_indexes(None) == {}


def test_a_root_that_is_a_link_is_followed(tmp_path: Path) -> None:
    notes = write(tmp_path / "indexes" / "notes")
    (tmp_path / "link").symlink_to(tmp_path / "indexes")
    assert find_indexes(tmp_path / "link") == {"notes": notes}


@pytest.mark.parametrize("name", ["two words", "ä", "x" * 65, ".hidden", "a%2fb", "-x", "a\nb"])
def test_a_name_that_no_url_can_hold(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    with pytest.raises(GeneralistError, match="does not fit into a URL"):
        find_indexes(tmp_path)


def test_links_lead_nowhere(tmp_path: Path) -> None:
    secret, root = write(tmp_path / "secret"), tmp_path / "indexes"
    root.mkdir()
    (root / "link").symlink_to(secret)
    with pytest.raises(GeneralistError, match=r"link: this index is a link"):
        find_indexes(root)
    (root / "link").unlink()
    half = write(root / "half") / "segment-000001" / "tokens.npy"
    half.unlink()
    half.symlink_to(secret / "segment-000001" / "tokens.npy")
    with pytest.raises(GeneralistError, match=r"tokens.npy: this link leads out"):
        find_indexes(root)
    half.unlink()
    half.parent.rmdir()
    half.parent.symlink_to(secret / "segment-000001")
    with pytest.raises(GeneralistError, match=r"segment-000001: this link leads out"):
        find_indexes(root)


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "nothing", tmp_path / "file", Path("a\0b")):
        with pytest.raises(GeneralistError, match=r"--indexes .*: cannot read this folder"):
            find_indexes(root)
