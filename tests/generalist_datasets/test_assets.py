"""Fetching: what a user sees when a client is missing or refuses, and that nothing half-made stays."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from generalist.types import GeneralistError
from generalist_datasets import assets


def test_a_missing_client_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERALIST_CACHE", str(tmp_path))
    monkeypatch.setattr(assets.shutil, "which", lambda _: None)
    with pytest.raises(GeneralistError, match="npm is not installed"):
        assets.fetch("fluent-3d")
    assert not (tmp_path / "packages" / "fluent-3d-1.1.0").exists()


def test_a_refusal_is_passed_on_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "first\nno such package\n")

    monkeypatch.setenv("GENERALIST_CACHE", str(tmp_path))
    monkeypatch.setattr(assets.shutil, "which", lambda name: name)
    monkeypatch.setattr(assets.subprocess, "run", refuse)
    with pytest.raises(GeneralistError, match=r"^cannot fetch .* with npm: no such package$"):
        assets.fetch("emoji-names")
    assert list((tmp_path / "packages").iterdir()) == []


def test_what_was_fetched_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERALIST_CACHE", str(tmp_path))
    monkeypatch.setattr(assets.subprocess, "run", None)
    folder = tmp_path / "packages" / "mate-backgrounds"
    folder.mkdir(parents=True)
    assert assets.fetch("mate-backgrounds") == folder


def test_two_processes_may_fetch_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "packages" / "emoji-names-0.9.0"

    def slow_client(package: assets.Package, download: Path, unpacked: Path) -> None:
        (unpacked / "ours").touch()
        target.mkdir()
        (target / "theirs").touch()  # the other process is done first

    monkeypatch.setenv("GENERALIST_CACHE", str(tmp_path))
    monkeypatch.setitem(assets._CLIENTS, "npm", slow_client)
    assert assets.fetch("emoji-names") == target
    assert [path.name for path in target.iterdir()] == ["theirs"]
    assert list(target.parent.iterdir()) == [target]
