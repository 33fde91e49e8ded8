"""What our server costs in front of vLLM: our chat route against that of vLLM's own server.

    OMP_NUM_THREADS=1 python tests/benchmarks/serve_vllm_overhead.py

Two processes with the same model and engine arguments: ``generalist serve --engine vllm``, which holds every reply to
the grammar of its task, scores and decodes it; and vLLM's own server, asked for the raw tokens. Both get the same 64
mixed requests with images of their own, 32 at a time, in turns. Prints for each round the wall time, and the processor
time of the server's whole process tree (which says more on a machine that others use too); then ratios of the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import runpy
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from PIL import Image

from generalist.broken_packages import hide_broken
from generalist.pipeline import EVERYTHING, resolve_model
from generalist.tasks import TASKS, question

hide_broken()  # here, so that it holds in the processes that vLLM starts from this file too

ROOT = Path(__file__).resolve().parents[2]
THINGS = {"desk": "the laptop", "orchard": "the red apple", "picnic": "the basket", "street": "the bus"}
WORDS = {"chat": "What is in the picture?", "detect": EVERYTHING, "segment": EVERYTHING}
START_S = 600.0

ENGINE = ("--max-model-len", "2048", "--max-num-batched-tokens", "2048")
STOCK = (
    *("--dtype", "float32", "--enforce-eager", "--block-size", "32", "--limit-mm-per-prompt", '{"image": 8}'),
    *("--generation-config", "vllm", "--seed", "0", "--served-model-name", "nano", "--disable-uvicorn-access-log"),
)
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one round of requests took."""

    requests: int
    tokens: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Requests a second of processor time."""
        return self.requests / self.cpu_seconds


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that is ready; ``extra`` goes into every request."""

    name: str
    process: psutil.Process
    url: str
    extra: Mapping[str, Any]

    def cpu_seconds(self) -> float:
        tree = [self.process, *self.process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in tree)


def bodies(count: int, turn: int, max_tokens: int) -> list[dict[str, Any]]:
    """``count`` requests over all tasks, each about a picture that no other turn has shown."""
    specs, made = list(TASKS.values()), []
    for number in range(count):
        name, thing = list(THINGS.items())[number // len(specs) % len(THINGS)]
        spec = specs[number % len(specs)]
        with Image.open(ROOT / "datasets" / "samples" / f"{name}.png") as opened:
            image = opened.convert("RGB").resize((320, 240)).rotate(number + count * turn, expand=False)
        data = io.BytesIO()
        image.save(data, "JPEG")
        url = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
        words = question(spec.name, WORDS.get(spec.name, thing) if spec.takes_text else "")
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": words}]
        message = {"role": "user", "content": content}
        made.append(
            {"model": "nano", "messages": [message], "max_tokens": max_tokens, "temperature": 0, "_task": spec.name}
        )
    return made


async def ask_all(server: Server, asked: list[dict[str, Any]], concurrency: int, tasks: bool) -> Round:
    places = asyncio.Semaphore(concurrency)
    tokens = 0

    async def one(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
        nonlocal tokens
        sent = {name: value for name, value in body.items() if name != "_task"} | dict(server.extra)
        sent |= {"task": body["_task"]} if tasks else {}
        async with places:
            answer = await client.post(server.url, json=sent)
        answer.raise_for_status()
        tokens += answer.json()["usage"]["completion_tokens"]

    async with httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=concurrency)) as client:
        begun, cpu = time.monotonic(), server.cpu_seconds()
        await asyncio.gather(*(one(client, body) for body in asked))
        seconds = time.monotonic() - begun
    return Round(requests=len(asked), tokens=tokens, seconds=seconds, cpu_seconds=server.cpu_seconds() - cpu)


@contextmanager
def serving(name: str, arguments: list[str], port: int, extra: Mapping[str, Any]) -> Iterator[Server]:
    environment = {**ENVIRONMENT, **os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=sys.stderr)
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + START_S
        while True:
            try:
                if httpx.get(f"{address}/health").status_code == 200:
                    break
            except httpx.HTTPError:
                assert process.poll() is None and time.monotonic() < until, f"{name} did not start"
                time.sleep(0.5)
        route = f"{address}/v1/chat/completions"
        yield Server(name=name, process=psutil.Process(process.pid), url=route, extra=extra)
    finally:
        process.terminate()
        process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--port", type=int, default=8760)
    chosen = parser.parse_args()
    batch = str(chosen.concurrency)
    ours = ["-m", "generalist.cli", "serve", "--engine", "vllm", "--device", "cpu", "--port", str(chosen.port)]
    ours += ["--max-batch", batch, "--", *ENGINE]
    stock = [__file__, "--stock", "--host", "127.0.0.1", "--port", str(chosen.port + 1)]
    stock += ["--model", str(resolve_model("nano")), "--max-num-seqs", batch, *STOCK, *ENGINE]
    raw = {"skip_special_tokens": False, "return_token_ids": True}
    with (
        serving("ours", ours, chosen.port, {}) as first,
        serving("stock", stock, chosen.port + 1, raw) as second,
    ):
        found: dict[str, list[Round]] = {"ours": [], "stock": []}
        for turn in range(chosen.rounds + 1):
            asked = bodies(chosen.requests, turn, chosen.max_tokens)
            for server in (first, second) if turn % 2 else (second, first):
                one = asyncio.run(ask_all(server, asked, chosen.concurrency, server is first))
                if turn:  # the first round warms up
                    found[server.name].append(one)
                    print(json.dumps({"server": server.name, "turn": turn} | asdict(one)), flush=True)
    rate, cpu_rate = (
        {name: statistics.median(getattr(one, what) for one in rounds) for name, rounds in found.items()}
        for what in ("rate", "cpu_rate")
    )
    tokens = {name: sum(one.tokens for one in rounds) for name, rounds in found.items()}
    print(
        f"tokens a second: ours {rate['ours']:.1f}, stock {rate['stock']:.1f}, ratio {rate['ours'] / rate['stock']:.3f}"
    )
    ratios = {what: by["ours"] / by["stock"] for what, by in (("wall", rate), ("processor", cpu_rate))}
    print(f"requests a second: ours {rate['ours']:.2f}, stock {rate['stock']:.2f}, ratio {ratios['wall']:.3f}")
    print(f"requests a second of processor time: ratio {ratios['processor']:.3f}")
    print(f"tokens in all: ours {tokens['ours']}, stock {tokens['stock']}, which counts the end of each reply")


def run_stock() -> None:
    """vLLM's own program, with the rest of this one's arguments."""
    del sys.argv[1]
    runpy.run_module("vllm.entrypoints.launchers.api_server.entry", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stock"]:
        run_stock()
    else:
        main()
