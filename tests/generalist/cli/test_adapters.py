"""``generalist adapters`` as its user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from generalist import cli
from generalist.adapter_spec import AdapterSpec, write_spec
from generalist_adapters import stored

SPEC = AdapterSpec(
    name="cells", base="nano", method="lora", rank=4, alpha=4.0, targets=("model.projector.fc1",), tasks=("detect",),
    vocab_hash="0" * 16,
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "adapters" / "cells").mkdir(parents=True)
    write_spec(tmp_path / "adapters" / "cells", SPEC)
    metrics = {"before": {"detect/AP50": 0.1}, "after": {"detect/AP50": 0.625}}
    (tmp_path / "adapters" / "cells" / "metrics.json").write_text(json.dumps(metrics))
    return tmp_path / "adapters"


def test_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["adapters", "list", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'cells'}: cells (lora, base nano, tasks detect)\n"
    assert cli.execute(["adapters", "list", str(folder), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["name"] == "cells" and found["rank"] == 4 and found["folder"] == str(folder / "cells")
    (folder / "none").mkdir()
    assert cli.execute(["adapters", "list", str(folder / "none")]) == 0
    assert capsys.readouterr().out.startswith("no adapters in ")


def test_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["adapters", "show", str(folder / "cells")]) == 0
    out = capsys.readouterr().out
    assert "detect/AP50" in out and "0.100 -> 0.625" in out and "model.projector.fc1" not in out
    assert cli.execute(["adapters", "show", str(folder / "cells"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["after"] == {"detect/AP50": 0.625}


def test_merge_and_export_are_told_what_was_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[object, ...]] = []
    for name in ("merge", "export"):
        monkeypatch.setattr(stored, name, lambda *given: asked.append(given) or Path("there"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cli.execute(["adapters", "merge", str(folder), "--out", "m", "--model", "mine"]) == 0
    assert cli.execute(["adapters", "export", str(folder), "--task", "detect", "--out", "e"]) == 0
    assert asked == [(folder, None, Path("m"), "mine"), (folder, "detect", Path("e"))]
    assert capsys.readouterr().out == "checkpoint in there\nadapter in there\n"


@pytest.mark.parametrize("arguments, says", [
    (["list", "gone"], "gone: no such folder"),
    (["show", "."], "holds no adapter"),
    (["merge", "adapters/cells", "--out", "adapters"], "--out adapters is there already"),
    (["export", "adapters/cells", "--out", "new"], "gives no LoRA"),
])  # fmt: skip
def test_mistakes(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(folder.parent)
    (folder.parent / "empty").mkdir()
    if arguments[:2] == ["show", "."]:
        monkeypatch.chdir(folder.parent / "empty")
    if arguments[0] == "merge":
        (folder / "cells" / "adapter_config.json").write_text("{}")
        monkeypatch.setattr(stored, "load_checkpoint", lambda *_, **__: pytest.fail("loaded"))
    assert cli.execute(["adapters", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and says in captured.err
    assert captured.err.count("\n") == 1


def test_a_broken_adapter_json_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cells" / "adapter.json").write_text('{"name": 7}')
    assert cli.execute(["adapters", "list", str(folder)]) == 2
    assert str(folder / "cells" / "adapter.json") in capsys.readouterr().err
