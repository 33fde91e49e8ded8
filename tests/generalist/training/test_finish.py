"""Behind training: what is fitted to the checkpoint, and the reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from generalist.evaluation.cases import Result, Suite
from generalist.training import finish

from ..evaluation.results import MEASURES, result, suite


def test_trust_and_scores_are_fitted_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores depend on masks, and masks on the trust in their codes."""
    done: list[tuple[str, Path]] = []
    monkeypatch.setattr(
        "generalist.training.mask_trust.fit_checkpoint", lambda folder, scenes: done.append(("trust", folder))
    )
    monkeypatch.setattr(
        "generalist.training.score_calibration.calibrate", lambda folder: done.append(("scores", folder))
    )
    finish.finish(tmp_path)
    assert done == [("trust", tmp_path), ("scores", tmp_path)]


def test_reports_of_unseen_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []

    def run_suite(
        model: str, asked_of: Suite, *, progress: Callable[[int, int | None], None], **options: Any
    ) -> Result:
        progress(4, None)
        options["cache"].touch()
        asked.append({"model": model, **options})
        return result("mine")

    monkeypatch.setattr("generalist.training.finish.Generalist.from_pretrained", lambda folder: "loaded")
    monkeypatch.setattr("generalist.evaluation.suites.get_suite", lambda name: suite())
    monkeypatch.setattr("generalist.evaluation.run.run_suite", run_suite)
    monkeypatch.setattr("generalist.evaluation.measures.MEASURES", MEASURES)
    checkpoint, out = tmp_path / "checkpoint", tmp_path / "evaluation"
    finish.evaluate(checkpoint, out)
    assert [(run["model"], run["folder"]) for run in asked] == [("loaded", checkpoint)] * 2
    assert sorted(path.name for path in out.iterdir()) == [
        "world-compositions.html", "world-compositions.json", "world-style.html", "world-style.json",
    ]  # fmt: skip
    told = json.loads((out / "world-style.json").read_text())
    assert told["command"] == f"generalist eval world/style --model {checkpoint}"
    assert capsys.readouterr().out.count("4 questions") == 2
