"""``generalist eval`` as its user sees it, over results made by hand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from generalist import cli
from generalist.evaluation.cases import Result, Suite
from generalist.types import GeneralistError

from ..evaluation.results import MEASURES, result, suite
from ..random_adapters import write_adapter


class Loaded(str):
    """Stands for a model."""

    __slots__ = ()
    engine = None


class Calls:
    """What the command asked for."""

    def __init__(self) -> None:
        self.loaded: list[tuple[str, str]] = []
        self.adapters: list[Path | None] = []
        self.suites: list[tuple[str, dict[str, Any]]] = []
        self.runs: list[dict[str, Any]] = []


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Any model name loads, any suite is the toy one; "better" answers everything right. Works in an empty folder."""
    calls = Calls()

    def load_model(
        name: str, device: str, engine: str, adapter: Path | None, dialect: str | None, **drawers: str | None
    ) -> str:
        calls.loaded.append((name, device))
        calls.adapters.append(adapter)
        return Loaded(name)

    def get_suite(name: str, **options: Any) -> Suite:
        if name == "missing":
            raise GeneralistError("there is no suite 'missing'")
        calls.suites.append((name, options))
        return suite()

    def run_suite(model: str, suite: Suite, *, progress: Callable[[int, int | None], None], **options: Any) -> Result:
        progress(4, None)
        if options["cache"] is not None:
            options["cache"].parent.mkdir(parents=True, exist_ok=True)
            options["cache"].touch()
        calls.runs.append({"model": model, **options})
        return result(model, boxes=(1.0, 1.0, 0.9) if model == "better" else (0.0, 0.1, 0.2))

    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("GENERALIST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("generalist.cli.evaluate.resolve_model", Path)
    monkeypatch.setattr("generalist.cli.run.resolve_model", Path)
    monkeypatch.setattr("generalist.cli.evaluate.load_model", load_model)
    monkeypatch.setattr("generalist.evaluation.suites.get_suite", get_suite)
    monkeypatch.setattr("generalist.evaluation.run.run_suite", run_suite)
    monkeypatch.setattr("generalist.evaluation.measures.MEASURES", MEASURES)
    return calls


def test_people_get_a_table_and_no_files_unless_they_ask(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["eval", "toy"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("toy: nano on transformers, 4 questions in 12 s\n") and "0.100 to 0.900" in out
    assert calls.loaded == [("nano", "auto")]
    (run,) = calls.runs
    assert (run["name"], run["engine"], run["batch_size"], run["limit"]) == ("nano", "transformers", 16, None)
    assert list(Path().iterdir()) == []


def test_json_is_one_line_a_result_with_the_command_that_reproduces_it(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", "toy", "--limit", "2", "--device", "cpu", "--model", "my model", "--batch-size", "4"]
    assert cli.execute([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    shown = json.loads(line)
    assert shown["figures"]["box"][0]["value"] == pytest.approx(0.1)
    assert captured.err == ""
    command = shlex.split(shown["command"])
    assert command[:3] == ["generalist", "eval", "toy"]
    calls.runs.clear()
    assert cli.execute(command[1:]) == 0
    assert calls.loaded == [("my model", "cpu")] * 2
    assert (calls.runs[0]["limit"], calls.runs[0]["batch_size"]) == (2, 4)


def test_reports_of_every_suite_are_written(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos").mkdir()
    assert cli.execute(["eval", "world/style", "photos/", "--out", "reports/today"]) == 0
    folder = Path("reports/today")
    names = ["photos.html", "photos.json", "world-style.html", "world-style.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert "saved reports/today/world-style.html" in capsys.readouterr().out
    assert json.loads((folder / "photos.json").read_text())["command"] == "generalist eval photos/ --model nano"
    assert "data:image/jpeg" in (folder / "photos.html").read_text()


def test_options_of_folders_reach_the_reader(calls: Calls) -> None:
    Path("pictures").mkdir()
    options = ["--format", "coco", "--images", "pictures", "--depth-scale", "1000"]
    assert cli.execute(["eval", "toy", *options]) == 0
    name, given = calls.suites[0]
    assert (name, given["format"]) == ("toy", "coco")
    assert (given["options"].images, given["options"].depth_scale) == (Path("pictures"), 1000.0)


def test_two_models_are_compared(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["eval", "toy", "--model", "old", "--model", "better", "--out", "o"]) == 0
    out = capsys.readouterr().out
    assert "toy: A is old, B is better, 4 questions" in out and "+0.867" in out
    written = sorted(path.relative_to("o").as_posix() for path in Path("o").rglob("*.*"))
    assert written == ["better/toy.html", "better/toy.json", "old/toy.html", "old/toy.json", "toy-comparison.json"]
    assert cli.execute(["eval", "toy", "--model", "old", "--model", "better", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("model") for line in lines] == ["old", "better", None]
    assert lines[2]["figures"]["box"][0]["verdict"] == "better"


@pytest.mark.parametrize("arguments, says", [
    (["missing"], "there is no suite 'missing'"),
    (["toy", "--limit", "0"], "--limit is 0; use 1 or more"),
    (["toy", "--batch-size", "-1"], "--batch-size is -1"),
    (["toy", "toy"], "suite 'toy' is given twice"),
    (["toy", "--model", "a", "--model", "a"], "--model 'a' is given twice"),
    (["toy", "--model", "a", "--model", "b", "--model", "c"], "at most two models"),
    (["toy", "--images", "nowhere"], "--images is nowhere, which is no folder"),
    (["toy", "--depth-scale", "0"], "--depth-scale is 0.0; use a number above 0"),
    (["toy", "--out", "taken"], "--out taken: cannot make this folder"),
    (["toy", "--engine", "x"], "there is no engine 'x'"),
])  # fmt: skip
def test_mistakes_are_one_line_before_any_model_is_loaded(
    calls: Calls, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    Path("taken").write_text("a file")
    assert cli.execute(["eval", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("error: ") and says in captured.err
    assert calls.loaded == []


def test_suites_and_models_whose_names_look_alike_get_files_of_their_own(calls: Calls) -> None:
    for folder in ("a/photos", "b/photos"):
        Path(folder).mkdir(parents=True)
    assert cli.execute(["eval", "a/photos", "b/photos", "--out", "o"]) == 0
    assert {path.name for path in Path("o").iterdir()} >= {"photos.json", "photos-2.json"}


def test_an_interrupted_command_goes_on_from_answers_that_are_kept_until_it_is_done(
    calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(model: str, suite: Suite, *, cache: Path | None, **options: Any) -> Result:
        if cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)
            cache.write_text("answers")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("generalist.evaluation.run.run_suite", interrupted)
        assert cli.execute(["eval", "toy", "--no-cache"]) == 130
        assert capsys.readouterr().err == "" and not (tmp_path / "cache").exists()
        assert cli.execute(["eval", "toy"]) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on from the answers that are kept\n"
    (kept,) = (tmp_path / "cache" / "answers").iterdir()
    assert cli.execute(["eval", "toy", "--limit", "2"]) == 0
    assert kept.exists() and calls.runs[-1]["cache"] != kept
    assert cli.execute(["eval", "toy"]) == 0
    assert calls.runs[-1]["cache"] == kept and not kept.exists()


def test_help_shows_an_example_and_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["eval", "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example: generalist eval world/compositions" in out and "--no-cache" in out


def test_an_adapter_answers_in_the_place_of_its_base(
    calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_adapter(tmp_path / "cats", torch.nn.Sequential(torch.nn.Linear(2, 2)), parts=("0",))
    assert cli.execute(["eval", "toy", "--adapter", str(folder), "--out", "reports"]) == 0
    assert calls.adapters == [folder]
    assert calls.runs[0]["name"] == "nano + cats"
    (report,) = Path("reports").glob("*.json")
    assert f"--adapter {folder}" in json.loads(report.read_text())["command"]
    before = calls.runs[0]["cache"]
    write_adapter(folder, torch.nn.Sequential(torch.nn.Linear(2, 2)), 1, parts=("0",))
    assert cli.execute(["eval", "toy", "--adapter", str(folder)]) == 0
    assert calls.runs[1]["cache"] != before  # answers of what the adapter was are not taken for its own
    capsys.readouterr()
    for arguments, says in (
        (["--adapter", str(tmp_path / "dogs")], "adapter_config.json: cannot be read"),
        (["--adapter", str(folder), "--model", "nano", "--model", "better"], "belongs to one model; give --model once"),
    ):
        assert cli.execute(["eval", "toy", *arguments]) == 2
        assert says in capsys.readouterr().err
    assert len(calls.runs) == 2
