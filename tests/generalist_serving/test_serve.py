import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from generalist import cli
from generalist.model import load_checkpoint
from generalist.pipeline import resolve_model
from generalist_serving.addresses import is_local
from generalist_serving.serve import ServeOptions, make_settings, read_keys

from ..generalist.random_adapters import LANGUAGE, write_adapter
from .searched_indexes import build

ROOT = Path(__file__).parents[2]
HELLO = {"model": "nano", "messages": [{"role": "user", "content": "Hello?"}], "stream": True}


@contextmanager
def server(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """(process, address) of a server that is ready."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, (line, process.communicate())
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


@contextmanager
def slow_reply(address: str) -> Iterator[list[str]]:
    """The lines of a stream, as another thread reads them; entered once it has begun."""
    lines: list[str] = []
    begun = threading.Event()

    def read() -> None:
        try:
            with httpx.stream("POST", f"{address}/v1/chat/completions", json=HELLO, timeout=60) as response:
                for line in response.iter_lines():
                    lines.append(line)
                    begun.set()
        except httpx.HTTPError as error:
            lines.append(f"cut: {error!r}")

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(30)
    yield lines
    thread.join(30)
    assert not thread.is_alive()


def wait_until_stopping(address: str) -> None:
    for _ in range(200):
        if httpx.get(f"{address}/ready").status_code == 503:
            return
        time.sleep(0.01)
    raise AssertionError("/ready does not fail")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_what_it_has_accepted(how: signal.Signals) -> None:
    with server("tests.generalist_serving.scripted_server", "0.5", "30") as (process, address):
        with slow_reply(address) as lines:
            process.send_signal(how)
            wait_until_stopping(address)
            late = httpx.post(f"{address}/v1/chat/completions", json=HELLO)
            assert (late.status_code, "retry-after" in late.headers) == (503, True)
            assert httpx.get(f"{address}/health").status_code == 200
        assert "data: [DONE]" in lines
        assert process.wait(10) == 0
        assert "1 requests are under way" in process.communicate()[1]


def test_what_takes_too_long_is_cut_off() -> None:
    with server("tests.generalist_serving.scripted_server", "20", "0.3") as (process, address):
        answers: list[httpx.Response | httpx.HTTPError] = []

        def ask() -> None:
            try:
                answers.append(httpx.post(f"{address}/v1/chat/completions", json=HELLO, timeout=60))
            except httpx.HTTPError as error:
                answers.append(error)

        waiting = threading.Thread(target=ask)
        waiting.start()
        while "requests_running 1.0" not in httpx.get(f"{address}/metrics").text:
            time.sleep(0.01)
        process.terminate()
        assert process.wait(10) == 0
        assert "cutting off 1 requests after 0.3 s" in process.communicate()[1]
        waiting.join(10)
        (answer,) = answers
        assert isinstance(answer, httpx.HTTPError) or answer.status_code >= 500


def test_told_twice_it_ends_at_once() -> None:
    with server("tests.generalist_serving.scripted_server", "1", "30") as (process, address), slow_reply(address):
        process.send_signal(signal.SIGINT)
        wait_until_stopping(address)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_the_program_serves_the_shipped_model_its_adapters_and_indexes(adapters: Path) -> None:
    indexes = build(adapters.parent / "indexes")
    options = ("--port", "0", "--device", "cpu", "--adapters", str(adapters), "--indexes", str(indexes))
    with server("generalist.cli", "serve", *options) as (process, address):
        stores = httpx.get(f"{address}/v1/vector_stores").json()["data"]
        assert {store["id"]: store["file_counts"]["total"] for store in stores} == {"notes": 4, "cards": 2}
        searched = {"query": "Which card describes a red mug?", "find": "entity"}
        hits = httpx.post(f"{address}/v1/vector_stores/cards/search", json=searched, timeout=60).json()["data"]
        assert {hit["file_id"] for hit in hits} <= {"mug", "ball"} and hits
        listed = httpx.get(f"{address}/v1/models").json()["data"]
        assert [(card["id"], card["parent"]) for card in listed] == [("nano", None), ("cats", "nano"), ("dogs", "nano")]
        said = [say(address, name) for name in ("nano", "cats", "dogs", "nano", "cats")]
        assert said[0] == said[3] and said[1] == said[4] and len(set(said)) == 3
        named = {"lora_name": "again", "lora_path": "cats"}
        assert httpx.post(f"{address}/v1/load_lora_adapter", json=named).status_code == 200
        assert httpx.post(f"{address}/v1/unload_lora_adapter", json={"lora_name": "cats"}).status_code == 200
        assert say(address, "again") == said[1]
        (adapters / "broken").mkdir()
        for file in (adapters / "cats").iterdir():
            (adapters / "broken" / file.name).write_bytes(file.read_bytes()[:-8])
        refused = httpx.post(f"{address}/v1/load_lora_adapter", json={"lora_name": "x", "lora_path": "broken"})
        assert refused.status_code == 400 and "broken/adapter_config.json" in refused.json()["error"]["message"]
        body = {"model": "cats", "messages": [{"role": "user", "content": "Hello"}]}
        assert httpx.post(f"{address}/v1/chat/completions", json=body).json()["error"]["code"] == "model_not_found"
        assert httpx.get(f"{address}/v1/models", headers={"host": "evil.example"}).status_code == 403
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture
def adapters(tmp_path: Path) -> Path:
    """A folder of two adapters of the shipped model that write nonsense."""
    model = load_checkpoint(resolve_model("nano")).model
    for seed, name in enumerate(("cats", "dogs")):
        write_adapter(tmp_path / "adapters" / name, model, seed, parts=LANGUAGE, scale=3.0)
    return tmp_path / "adapters"


def say(address: str, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "How many apples are there?"}], "max_tokens": 12}
    answer = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60).json()
    return answer["choices"][0]["message"]["content"]


# --- what cannot be served ---------------------------------------------------------------------------


@pytest.mark.parametrize("arguments, says", [
    (["--host", "0.0.0.0"], "no key; give --api-key-file, or --no-auth"),
    (["--host", "::"], "no key"),
    (["--host", ""], "no key"),
    (["--host", "192.168.1.7"], "no key"),
    (["--host", "localhost.example.com"], "no key"),
    (["--host", "no.such.host.invalid", "--no-auth"], "no address of this machine"),
    (["--host", "203.0.113.9", "--no-auth"], "no address of this machine"),
    (["--engine", "gpt"], "no engine 'gpt'; use one of auto, transformers, vllm"),
    (["--port", "70000"], "--port is 70000"),
    (["--port", "-1"], "--port is -1"),
    (["--api-key-file", "/nowhere/key"], "/nowhere/key: cannot read the API key (No such file"),
    (["--api-key-file", "/"], "cannot read the API key (Is a directory"),
    (["--model", "gpt"], "unknown model 'gpt'"),
    (["--adapters", "/nowhere"], "--adapters /nowhere: cannot read this folder (No such file"),
    (["--indexes", "/nowhere"], "--indexes /nowhere: cannot read this folder (No such file"),
    (["--max-queue", "-1"], "max_queue is -1"),
    (["--max-batch", "0"], "--max-batch is 0"),
    (["--requests-per-minute", "0"], "requests_per_minute is 0"),
    (["--port", "0", "--", "--tensor-parallel-size", "2"], "no options of its own (got '--tensor-parallel-size')"),
])  # fmt: skip
def test_mistakes_are_told_in_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["serve", *arguments]) == 2
    shown = capsys.readouterr()
    assert says in shown.err and shown.err.count("\n") == 1 and shown.out == ""


def test_a_broken_adapter_keeps_the_server_from_starting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "adapter.json").write_text("{}")
    assert cli.execute(["serve", "--port", "0", "--adapters", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert f"{tmp_path / 'cats'}: there is no adapter 'cats'" in shown.err and shown.err.count("\n") == 1


def test_a_broken_index_keeps_the_server_from_starting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "index.json").write_text("{}")
    assert cli.execute(["serve", "--port", "0", "--indexes", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert f"{tmp_path / 'notes'}: its format is" in shown.err and shown.err.count("\n") == 1 and shown.out == ""


def test_a_taken_port_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.execute(["serve", "--port", str(port)]) == 2
    assert f"port {port} of 127.0.0.1 is in use" in capsys.readouterr().err


@pytest.mark.parametrize("content, says", [
    ("", "holds no API key"), ("\n \n", "holds no API key"), ("caf\u00e9", "no header can carry"),
])  # fmt: skip
def test_files_without_a_usable_key(
    tmp_path: Path, content: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "key"
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    assert cli.execute(["serve", "--port", "0", "--api-key-file", str(path)]) == 2
    assert says in capsys.readouterr().err


def test_keys_are_one_a_line_and_others_should_not_read_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys"
    path.write_text("first\n\n second \n")
    path.chmod(0o600)
    assert read_keys(path) == ("first", "second")
    assert capsys.readouterr().err == ""
    path.chmod(0o644)
    assert read_keys(path) == ("first", "second")
    assert "everybody on this machine can read" in capsys.readouterr().err


@pytest.mark.parametrize("host, local", [
    ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
    ("0.0.0.0", False), ("::", False), ("", False), ("10.0.0.1", False), ("example.com", False), ("127.1", False),
])  # fmt: skip
def test_what_only_this_machine_reaches(host: str, local: bool) -> None:
    assert is_local(host) == local


def test_a_server_without_a_key_answers_to_its_own_names_only(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    assert "localhost" in make_settings(ServeOptions()).allowed_hosts
    assert make_settings(ServeOptions(host="0.0.0.0", no_auth=True)).allowed_hosts == ()
    keyed = make_settings(ServeOptions(host="0.0.0.0", api_key_file=tmp_path / "key"))
    assert (keyed.api_keys, keyed.allowed_hosts) == (("secret",), ())
