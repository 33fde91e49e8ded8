"""``generalist demo``: its options reach the demo; its mistakes are one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from generalist import cli
from generalist_serving.demo import launch
from generalist_serving.demo.launch import DemoOptions


def test_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[DemoOptions] = []

    def demo(options: DemoOptions, prepare: Callable[[], None]) -> None:
        asked.append(options)

    monkeypatch.setattr(launch, "demo", demo)
    assert cli.execute(["demo"]) == 0
    more = ["--url", "http://there:1", "--api-key-file", "key", "--host", "0.0.0.0", "--port", "1", "--no-auth"]
    assert cli.execute(["demo", *more]) == 0
    assert cli.execute(["demo", "--model", "mine", "--engine", "vllm", "--device", "cuda", "--adapters", "all"]) == 0
    assert cli.execute(["demo", "--indexes", "found", "--inspect", "one", "--inspect", "two/three"]) == 0
    assert asked == [
        DemoOptions(),
        DemoOptions(url="http://there:1", api_key_file=Path("key"), host="0.0.0.0", port=1, no_auth=True),
        DemoOptions(model="mine", engine="vllm", device="cuda", adapters=Path("all")),
        DemoOptions(indexes=Path("found"), inspect=(Path("one"), Path("two/three"))),
    ]


def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["demo", "--host", "0.0.0.0"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: --host 0.0.0.0 can be reached by others") and told.count("\n") == 1


def test_a_folder_without_labels_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.execute(["demo", "--port", "0", "--inspect", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {tmp_path}: ") and told.count("\n") == 1
