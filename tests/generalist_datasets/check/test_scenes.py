"""Checking composed scenes: what is there, and every way in which shards and manifest can disagree."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from generalist_datasets.check import ScenesReport, check
from generalist_datasets.world import shards
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.dataset import World
from generalist_datasets.world.shards import read_shards, write_shards
from generalist_datasets.world.splits import Split


@pytest.fixture
def folder(toy_assets: Assets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five scenes in three shards."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 2)
    split = Split(name="toy", summary="painted shapes", styles=("fluent",), size=None)
    write_shards(World(split, seed=3, size=(96, 80), count=5, assets=toy_assets), tmp_path / "scenes")
    return tmp_path / "scenes"


def checked(folder: Path) -> ScenesReport:
    report = check(folder)
    assert isinstance(report, ScenesReport)
    return report


def test_sound_scenes(folder: Path) -> None:
    report = checked(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (report.split, report.seed, report.count, report.digest) == ("toy", 3, 5, manifest["digest"])
    assert (report.scenes, report.shards, report.findings) == (5, 3, ())
    assert sum(report.questions.values()) == len(list(read_shards(folder)))
    assert report.usable and report.to_dict()["errors"] == 0


def edit(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "toy-00001.parquet"
        parquet.write_table(change(parquet.read_table(path)), path)

    return damage


def without_bytes(table: pa.Table) -> pa.Table:
    broken = pa.array([{"bytes": b"no picture", "path": None}] * len(table), table.schema.field("surfaces").type)
    return table.set_column(table.schema.get_field_index("surfaces"), "surfaces", broken)


def manifest(**changes: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


@pytest.mark.parametrize("damage, kind, file", [
    (lambda folder: (folder / "toy-00001.parquet").unlink(), "missing shard", "manifest.json"),
    (lambda folder: (folder / "toy-00001.parquet").write_bytes(b"PAR1"), "unreadable file", "toy-00001.parquet"),
    (lambda folder: shutil.copy(folder / "toy-00001.parquet", folder / "toy-00009.parquet"), "unknown shard",
     "toy-00009.parquet"),
    (lambda folder: shutil.copy(folder / "toy-00000.parquet", folder / "toy-00001.parquet"), "wrong digest",
     "toy-00001.parquet"),
    (edit(lambda table: table.slice(1)), "wrong number of scenes", "toy-00001.parquet"),
    (edit(without_bytes), "unreadable file", "toy-00001.parquet"),
    (edit(lambda table: table.drop_columns(["questions"])), "unreadable file", "toy-00001.parquet"),
    (manifest(complete=False), "not finished", "manifest.json"),
    (manifest(count=6), "wrong number of scenes", "manifest.json"),
    (manifest(digest="00"), "wrong digest", "manifest.json"),
    (manifest(split=None, seed="x", count=[], shards=[7, {}], digest={}), "missing shard", "manifest.json"),
])  # fmt: skip
def test_damage_is_named(folder: Path, damage: Callable[[Path], object], kind: str, file: str) -> None:
    damage(folder)
    report = checked(folder)
    assert not report.usable
    assert (kind, file) in [(f.kind, Path(e.file).name) for f in report.findings for e in f.examples]
    assert all("\n" not in e.detail and len(e.detail) < 300 for f in report.findings for e in f.examples)
