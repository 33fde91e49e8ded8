"""A name in an annotation finds a picture or nothing, whatever it is."""

from pathlib import Path

import pytest

from generalist_datasets.readers.paths import resolve_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("train/a.jpg", "val/a.jpg", "val/only.jpg", "été.jpg", "outside.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_the_name_as_given_comes_before_the_base_name(root: Path) -> None:
    folders = [root / "train", root]
    assert resolve_image("val/a.jpg", folders) == root / "val/a.jpg"
    assert resolve_image("a.jpg", folders) == root / "train/a.jpg"
    assert resolve_image("elsewhere/a.jpg", folders) == root / "train/a.jpg"


def test_folders_are_tried_in_their_order(root: Path) -> None:
    assert resolve_image("a.jpg", [root / "val", root / "train"]) == root / "val/a.jpg"
    assert resolve_image("only.jpg", [root / "train", root / "val"]) == root / "val/only.jpg"


def test_windows_separators_absolute_and_non_ascii_names(root: Path) -> None:
    assert resolve_image(r"C:\pictures\only.jpg", [root / "val"]) == root / "val/only.jpg"
    assert resolve_image(r"val\a.jpg", [root]) == root / "val/a.jpg"
    assert resolve_image(str(root / "val/a.jpg"), [root / "train"]) == root / "val/a.jpg"
    assert resolve_image("été.jpg", [root]) == root / "été.jpg"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/",
        "train",  # a folder
        "train/",
        "missing.jpg",
        "a.jpg\0.png",  # NUL
        "x" * 300,  # longer than a name may be
        "x/" * 5000,  # longer than a path may be
        "\ud800.jpg",  # half a surrogate pair, which JSON may hold
        "https://host/train/a.jpg",  # nothing is fetched
        "file:///etc/hostname",
    ],
)
def test_names_of_nothing(root: Path, name: str) -> None:
    assert resolve_image(name, [root, root / "train"]) is None


def test_links_that_loop_and_folders_that_do_not_exist(root: Path) -> None:
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    assert resolve_image("loop.jpg", [root]) is None
    assert resolve_image("a.jpg", [root / "nowhere", root / "x" / ("y" * 300)]) is None
    assert resolve_image("a.jpg", []) is None
