"""Depth folders and depth files against PIL and numpy, and what is said of broken ones."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist.types import GeneralistError
from generalist_datasets.depth import load_depth
from generalist_datasets.readers import depth_folder
from generalist_datasets.readers.base import Options
from generalist_datasets.records import DepthFile, Problems, Record

LEVELS = np.array([[0, 1, 1000], [2500, 65534, 65535]], np.uint16)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), (90, 120, 30)).save(path)
    return path


def save(path: Path, values: np.ndarray, **arrays: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez_compressed(path, depth=values, **arrays)
    else:
        Image.fromarray(values).save(path)
    return path


def read(path: Path, options: Options | None = None) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False)
    return list(depth_folder.read(path, problems, options or Options())), problems


def one(path: Path, options: Options | None = None) -> DepthFile:
    (record,), problems = read(path, options)
    assert not problems.counts
    assert record.depth is not None
    return record.depth


def test_real_data_is_exact(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("rgbd-7scenes")
    records, problems = read(root)
    assert depth_folder.detect(root)
    assert not problems.counts
    assert len(records) == len(list((root / "images").iterdir()))
    for record in records[::10]:
        assert record.depth is not None
        stored = np.asarray(Image.open(root / "depth" / f"{record.image.stem}.png")).astype(np.int64)
        unknown = (stored == 0) | (stored == 65535)
        metres = load_depth(record.depth)
        assert metres.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(metres), unknown)
        np.testing.assert_array_equal(metres[~unknown], (stored[~unknown] / 1000).astype(np.float32))


# --- scales -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "label", "scale", "split"),
    [
        ("images/a.jpg", "depth/a.png", 1000, ""),
        ("rgb/test/a.jpg", "depth/test/a_depth.png", 1000, "test"),
        ("train/image/a.jpg", "train/depth_maps/a.tiff", 1000, "train"),
        ("val/a.jpg", "val_depth/a.png", 1000, "val"),
        (
            "kitti_val/image/d_image_007_image_02.png",
            "kitti_val/groundtruth_depth/d_groundtruth_depth_007_image_02.png",
            256,
            "",
        ),
    ],
)
def test_arrangement(tmp_path: Path, image: str, label: str, scale: float, split: str) -> None:
    picture(tmp_path / image)
    save(tmp_path / label, LEVELS)
    assert depth_folder.detect(tmp_path)
    (record,), problems = read(tmp_path)
    assert not problems.counts
    assert (record.image, record.split) == (tmp_path / image, split)
    assert record.depth == DepthFile(file=tmp_path / label, scale=scale, invalid=(65535,))


def test_scale_is_the_users_before_the_files(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    save(tmp_path / "depth/a.png", LEVELS)
    for name, text in [("metadata.json", '{"depth_scale": 4000}'), ("scale.txt", "5000\n"), ("depth_scale.txt", "2e3")]:
        (tmp_path / name).write_text(text)
        expected = {"metadata.json": 4000, "scale.txt": 5000, "depth_scale.txt": 2000}[name]
        assert one(tmp_path).scale == expected
    depth = one(tmp_path, Options(depth_scale=500))
    np.testing.assert_array_equal(load_depth(depth), np.float32([[np.nan, 0.002, 2], [5, 65534 / 500, np.nan]]))


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_users_scale_that_is_none(tmp_path: Path, scale: float) -> None:
    picture(tmp_path / "images/a.jpg")
    save(tmp_path / "depth/a.png", LEVELS)
    with pytest.raises(GeneralistError, match="depth scale"):
        read(tmp_path, Options(depth_scale=scale))


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("scale.txt", "millimetres", "not a number"),
        ("scale.txt", "0", "not a number"),
        ("metadata.json", '{"depth_scale": 1e400}', "not a number"),
        ("metadata.json", '{"depth_scale": "1000 per metre"}', "not a number"),
        ("metadata.json", '{"depth_scale": [1000]}', "not a number"),
        ("metadata.json", "[" * 100_000, "not valid JSON"),
    ],
)
def test_written_scale_that_is_none(tmp_path: Path, name: str, text: str, kind: str) -> None:
    picture(tmp_path / "images/a.jpg")
    save(tmp_path / "depth/a.png", LEVELS)
    (tmp_path / name).write_text(text)
    (record,), problems = read(tmp_path)
    assert record.depth is not None
    assert record.depth.scale == 1000
    assert [(p.severity, p.kind, p.where.file.name) for p in problems.kept] == [("error", kind, name)]


# --- arrays -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3), (2, 3, 1)])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2"])
def test_arrays_of_metres(tmp_path: Path, suffix: str, shape: tuple[int, ...], dtype: str) -> None:
    picture(tmp_path / "images/a.jpg")
    values = np.array([0.5, 0, -1, np.nan, np.inf, 7.25], dtype)
    save(tmp_path / f"depth/a{suffix}", values.reshape(shape), **({"other": values} if suffix == ".npz" else {}))
    depth = one(tmp_path)
    assert (depth.scale, depth.invalid) == (1, ())
    metres = load_depth(depth)
    assert metres.dtype == np.float32
    np.testing.assert_array_equal(metres, np.float32([[0.5, np.nan, np.nan], [np.nan, np.nan, 7.25]]))


def test_arrays_of_integers_are_millimetres(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    save(tmp_path / "depth/a.npy", LEVELS)
    np.testing.assert_array_equal(load_depth(one(tmp_path)), np.float32([[np.nan, 0.001, 1], [2.5, 65.534, np.nan]]))


def npy(shape: str, dtype: str = "<f4", data: bytes = b"") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def npz(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], object), allow_pickle=True)
    return file.getvalue()


BROKEN_ARRAYS = {
    "empty.npy": b"",
    "text.npy": b"no array",
    "pickle.npy": pickled(),
    "huge.npy": npy("(100000, 100000)"),  # refused by its header
    "overflow.npy": npy(f"({2**33}, {2**33})"),
    "negative.npy": npy("(-3, -2)"),
    "nothing.npy": npy("(0, 3)"),
    "nested.npy": npy("(" * 3000 + ")" * 3000),
    "complex.npy": npy("(2, 3)", "<c8", bytes(48)),
    "text_values.npy": npy("(2, 3)", "<U4", bytes(96)),
    "future.npy": npy("(2, 3)").replace(b"\x01\x00", b"\x09\x00", 1),
    "archive.npz": b"PK\x03\x04 no archive",
    "no_array.npz": npz(("a.txt", b"hello")),
    "two.npz": npz(("a.npy", npy("(2, 3)", data=bytes(24))), ("b.npy", npy("(2, 3)", data=bytes(24)))),
    "bomb.npz": npz(("depth.npy", npy("(20000, 20000)") + bytes(10_000_000))),
}


@pytest.mark.parametrize("name", BROKEN_ARRAYS)
def test_broken_array(tmp_path: Path, name: str) -> None:
    file = tmp_path / "depth" / name
    for stem in (file.stem, "good"):
        picture(tmp_path / f"images/{stem}.jpg")
    save(tmp_path / "depth/good.npy", np.ones((2, 3)))
    file.write_bytes(BROKEN_ARRAYS[name])
    records, problems = read(tmp_path)
    assert [r.image.stem for r in records] == ["good"]
    assert [(p.severity, p.kind, p.where.file) for p in problems.kept] == [("error", "unreadable file", file)]
    with pytest.raises(GeneralistError, match="not a readable depth array"):
        load_depth(DepthFile(file=file))


@pytest.mark.parametrize("data", [b"", bytes(20)])
def test_array_that_is_cut_is_found_when_it_is_loaded(tmp_path: Path, data: bytes) -> None:
    picture(tmp_path / "images/a.jpg")
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth/a.npy").write_bytes(npy("(2, 3)", data=data))
    with pytest.raises(GeneralistError, match="not a readable depth array"):
        load_depth(one(tmp_path))


@pytest.mark.parametrize("shape", [(6,), (2, 3, 2), (1, 1, 2, 3)])
def test_array_that_is_no_map(tmp_path: Path, shape: tuple[int, ...]) -> None:
    file = save(tmp_path / "a.npy", np.ones(shape))
    with pytest.raises(GeneralistError, match=r"shape .*use \[H, W\]"):
        load_depth(DepthFile(file=file))


# --- pictures -----------------------------------------------------------------------------------------------


def test_broken_pictures(tmp_path: Path) -> None:
    for name in ("colours", "eight", "text"):
        picture(tmp_path / f"images/{name}.jpg")
    picture(tmp_path / "depth/colours.png")
    save(tmp_path / "depth/eight.png", np.full((2, 3), 7, np.uint8))
    (tmp_path / "depth/text.png").write_bytes(b"no picture")
    records, problems = read(tmp_path)
    assert [r.image.stem for r in records] == ["eight"]
    assert [(p.severity, p.kind, p.where.file.name) for p in problems.kept] == [
        ("error", "wrong type", "colours.png"),
        ("warning", "8-bit depth", "eight.png"),
        ("error", "unreadable file", "text.png"),
    ]
    for name in ("colours", "text", "none"):
        with pytest.raises(GeneralistError, match="not a readable depth picture"):
            load_depth(DepthFile(file=tmp_path / f"depth/{name}.png"))


def test_pictures_and_depth_without_each_other(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"images/{name}.jpg")
    for name in "bc":
        save(tmp_path / f"depth/{name}.png", LEVELS)
    records, problems = read(tmp_path)
    assert [r.id for r in records] == ["images/b"]
    found = [(p.severity, p.kind, p.where.file.name) for p in problems.kept]
    assert found == [("warning", "missing label", "a.jpg"), ("warning", "missing image", "c.png")]


def test_nothing_to_read(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    assert not depth_folder.detect(tmp_path)
    records, problems = read(tmp_path)
    assert not records
    assert dict(problems.counts) == {("error", "nothing to read"): 1}
