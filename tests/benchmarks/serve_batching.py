"""What dynamic batching gains: the same questions, by the same 16 connections, one at a time and side by side.

    python tests/benchmarks/serve_batching.py

Two servers of the shipped model, ``--max-batch 1`` and ``--max-batch 16``, take turns, so that whatever else the
machine does meets both. First every question is about a picture of its own, then all are about the same few.
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import typer
from PIL import Image

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "datasets" / "samples"
THINGS = {"desk": "laptop", "orchard": "red apple", "picnic": "basket", "street": "bus"}
"""What each sample shows: of what is not there a reply only says so, and is too short for a batch to gain by."""
QUESTIONS = (
    ("segment", "Segment the {}."),
    ("detect", "Detect all objects."),
    ("caption", "Describe the image."),
    ("box", "Where is the {}?"),
    ("count", "How many {}s are there?"),
)


@contextmanager
def serving(*options: str, threads: int | None = None) -> Iterator[tuple[str, int]]:
    """(address, process id) of a server of the shipped model."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-m", "generalist.cli", "serve", "--port", "0", *options]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        if found is None:
            raise RuntimeError("the server did not start")
        try:
            yield found[0], process.pid
        finally:
            process.terminate()


def picture(number: int) -> str:
    """A sample with a patch of its own, as a data URL."""
    with Image.open(SAMPLES / f"{list(THINGS)[number % len(THINGS)]}.png") as opened:
        pixels = np.asarray(opened.convert("RGB")).copy()
    pixels[-40:-10, -40:-10] = (number * 31 % 256, number * 7 % 256, number // 256)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def request(number: int, image: str) -> dict[str, object]:
    """A question about what there is on ``picture(number)``."""
    task, words = QUESTIONS[number % len(QUESTIONS)]
    words = words.format(list(THINGS.values())[number % len(THINGS)])
    content = [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": words}]
    return {"model": "nano", "task": task, "stream": True, "messages": [{"role": "user", "content": content}]}


@dataclass(slots=True)
class Side:
    """What was measured of one of the servers."""

    address: str
    seconds: float = 0.0
    requests: int = 0
    first: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


async def ask_all(side: Side, requests: list[dict[str, object]], connections: int) -> None:
    """Send all requests over so many connections, and wait for the answers."""
    waiting = list(reversed(requests))
    limits = httpx.Limits(max_connections=connections)
    async with httpx.AsyncClient(base_url=side.address, timeout=600, limits=limits, trust_env=False) as client:

        async def connection() -> None:
            while waiting:
                body, began = waiting.pop(), time.perf_counter()
                async with client.stream("POST", "/v1/chat/completions", json=body) as response:
                    response.raise_for_status()
                    lines = response.aiter_lines()
                    await anext(lines)
                    side.first.append(time.perf_counter() - began)
                    async for _ in lines:
                        pass

        began = time.perf_counter()
        await asyncio.gather(*(connection() for _ in range(connections)))
        side.seconds += time.perf_counter() - began
    side.requests += len(requests)


def compare(sides: dict[str, Side], rounds: int, per_round: int, connections: int, *, fresh: bool) -> None:
    few = [picture(number) for number in range(4)]
    for side in sides.values():
        asyncio.run(ask_all(side, [request(n, few[n % 4]) for n in range(10)], connections))  # warm
        side.seconds, side.requests, side.first = 0.0, 0, []
    for number in range(rounds):
        numbers = range(number * per_round, (number + 1) * per_round)
        requests = [request(n, picture(n) if fresh else few[n % 4]) for n in numbers]
        for side in sides.values():
            asyncio.run(ask_all(side, requests, connections))
    print("each question about a picture of its own" if fresh else "questions about the same 4 pictures")
    for name, side in sides.items():
        first = statistics.median(side.first)
        print(f"  {name:13s} {side.rate:6.2f} requests/s, first byte {first:.2f} s (median), {side.requests} requests")
    one, many = sides.values()
    sooner = statistics.median(one.first) / statistics.median(many.first)
    print(f"  {many.rate / one.rate:.2f} times the throughput, the first byte {sooner:.1f} times sooner")


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 4,
    per_round: Annotated[int, typer.Option(min=1)] = 48,
    connections: Annotated[int, typer.Option(min=1)] = 16,
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Compare one at a time with side by side."""
    with ExitStack() as stack:
        sides = {}
        for name, batch in (("one at a time", 1), ("side by side", connections)):
            address, _ = stack.enter_context(serving("--max-batch", str(batch), "--device", "cpu", threads=threads))
            sides[name] = Side(address)
        for fresh in (True, False):
            compare(sides, rounds, per_round, connections, fresh=fresh)


if __name__ == "__main__":
    typer.run(main)
