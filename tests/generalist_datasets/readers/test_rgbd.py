"""Recordings of colour and depth side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist_datasets.depth import load_depth
from generalist_datasets.readers import rgbd
from generalist_datasets.readers.base import Options
from generalist_datasets.records import Problems, Record

LEVELS = np.array([[0, 1500, 65535]], np.uint16)


def pair(folder: Path, colour: str, depth: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 1), (90, 120, 30)).save(folder / colour)
    Image.fromarray(LEVELS).save(folder / depth)


def read(path: Path, options: Options | None = None) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False)
    return list(rgbd.read(path, problems, options or Options())), problems


def metres(record: Record) -> np.ndarray:
    assert record.depth is not None
    return load_depth(record.depth)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_real_frames_in_the_original_arrangement(
    shared_data: Callable[[str], Path], tmp_path: Path, suffix: str
) -> None:
    source = shared_data("rgbd-7scenes")
    stems = sorted(p.stem for p in (source / "depth").iterdir())[:6]
    for i, stem in enumerate(stems):
        folder = tmp_path / f"seq-0{1 + i % 2}"
        folder.mkdir(exist_ok=True)
        (folder / f"{stem}.color.{suffix}").symlink_to(source / "images" / f"{stem}.jpg")
        (folder / f"{stem}.depth.png").symlink_to(source / "depth" / f"{stem}.png")
        (folder / f"{stem}.pose.txt").write_text("1 0 0 0\n")
    (tmp_path / "TrainSplit.txt").write_text("sequence1\n")
    (tmp_path / "TestSplit.txt").write_bytes(b"sequence2\r\n")
    assert rgbd.detect(tmp_path)
    records, problems = read(tmp_path)
    assert not problems.counts
    assert [r.split for r in records] == ["train"] * 3 + ["test"] * 3
    assert [r.id for r in records] == [f"seq-0{1 + i % 2}/{stems[i]}.color" for i in (0, 2, 4, 1, 3, 5)]
    for record in records:
        stored = np.asarray(Image.open(source / "depth" / f"{record.image.name.partition('.')[0]}.png")).astype(
            np.int64
        )
        known = (stored > 0) & (stored < 65535)
        expected = np.where(known, stored / 1000, np.nan).astype(np.float32)
        np.testing.assert_array_equal(metres(record), expected)


def test_real_frames_in_folders_of_their_own(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("rgbd-7scenes")
    assert not rgbd.detect(root)  # which is a depth_folder, and may be read as either
    records, problems = read(root)
    assert len(records) == len(list((root / "depth").iterdir()))
    assert not problems.counts


@pytest.mark.parametrize(
    ("colour", "depth"),
    [
        ("rgb_00012.jpg", "sync_depth_00012.png"),
        ("rgb_00012.png", "depth_00012.png"),
        ("00012_colors.png", "00012_depth.png"),
        ("room.rgb.jpg", "room.depth.png"),
        ("frame-000012.color.jpg", "frame-000012.depth.png"),
    ],
)
def test_names(tmp_path: Path, colour: str, depth: str) -> None:
    pair(tmp_path / "test/kitchen_0001", colour, depth)
    assert rgbd.detect(tmp_path)
    (record,), problems = read(tmp_path)
    assert not problems.counts
    assert (record.image.name, record.split) == (colour, "test")
    np.testing.assert_array_equal(metres(record), np.float32([[np.nan, 1.5, np.nan]]))
    (record,), _ = read(tmp_path, Options(depth_scale=5000))
    np.testing.assert_array_equal(metres(record), np.float32([[np.nan, 0.3, np.nan]]))


def test_frames_without_a_partner(tmp_path: Path) -> None:
    for i in range(3):
        pair(tmp_path / "seq-01", f"frame-{i:06d}.color.png", f"frame-{i:06d}.depth.png")
    (tmp_path / "seq-01/frame-000000.depth.png").unlink()
    (tmp_path / "seq-01/frame-000001.color.png").unlink()
    (tmp_path / "TrainSplit.txt").write_text("\nthe first\n")
    records, problems = read(tmp_path)
    assert [r.id for r in records] == ["seq-01/frame-000002.color"]
    assert [(p.severity, p.kind, p.where.file.name, p.where.entry) for p in problems.kept] == [
        ("warning", "unknown sequence", "TrainSplit.txt", "line 2"),
        ("warning", "missing label", "frame-000000.color.png", ""),
        ("warning", "missing image", "frame-000001.depth.png", ""),
    ]


def test_broken_depth(tmp_path: Path) -> None:
    for i in range(2):
        pair(tmp_path, f"rgb_{i}.jpg", f"sync_depth_{i}.png")
    (tmp_path / "sync_depth_0.png").write_bytes(b"P5 no picture")
    records, problems = read(tmp_path)
    assert [r.image.name for r in records] == ["rgb_1.jpg"]
    assert [(p.kind, p.where.file.name) for p in problems.kept] == [("unreadable file", "sync_depth_0.png")]


def test_nothing_to_read(tmp_path: Path) -> None:
    Image.new("RGB", (3, 1)).save(tmp_path / "photo.jpg")
    assert not rgbd.detect(tmp_path)
    records, problems = read(tmp_path)
    assert not records
    assert dict(problems.counts) == {("error", "nothing to read"): 1}
