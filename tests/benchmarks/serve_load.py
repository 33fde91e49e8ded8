"""Saturates a server for minutes, cutting connections at random: errors, leaks, stuck requests, drain.

    python tests/benchmarks/serve_load.py --minutes 15

64 connections ask without a pause; a third of the requests are cut somewhere on the way, by closing the connection.
Each has a client of its own, and a new one after a cut: what the pool of httpcore 1.0.9 does wrong must not be blamed
on the server. It may close an idle connection as expired that it has just given to another request, which then ends
with ``ReadError``; and a request cancelled before its connection was opened can keep its place in the pool, so that
later ones wait for ever.
Beyond 429 and 503 nothing may go wrong, memory may not grow, nothing may be left under way when all is silent,
and a server that is told to stop answers everything that it had accepted.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).parent))

from serve_batching import picture, request, serving

WAITING_S = 300
"""After so long without an answer a request counts as stuck."""

DRAINED = 16
"""Requests under way when the server is told to stop; it has 30 s for them."""


@dataclass(slots=True)
class Tally:
    """What happened so far; ``memory``: (seconds since the start, resident MiB of the server)."""

    ended: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[float, float]] = field(default_factory=list)


async def one(client: httpx.AsyncClient, number: int, tally: Tally, chance: random.Random) -> bool:
    """Ask once; a third of the time leave before the answer is whole. Whether the connection is still good."""
    body = {**request(number, picture(number % 50)), "stream": chance.random() < 0.5}
    patience = chance.expovariate(1 / 3) if chance.random() < 1 / 3 else WAITING_S
    try:
        async with asyncio.timeout(patience):
            async with client.stream("POST", "/v1/chat/completions", json=body) as response:
                content = (await response.aread()).decode()
        if response.status_code in (429, 503):
            tally.ended[str(response.status_code)] += 1
            await asyncio.sleep(min(float(response.headers["retry-after"]), 2))
        elif response.status_code == 200 and ("data: [DONE]" in content or "finish_reason" in content):
            tally.ended["answered"] += 1
        else:
            tally.errors[f"{response.status_code}: {content[-200:]}"] += 1
    except TimeoutError:
        tally.ended["cut"] += patience < WAITING_S
        tally.errors["stuck"] += patience == WAITING_S
        return False
    except httpx.HTTPError as error:
        tally.errors[repr(error)] += 1
        return False
    return True


async def saturate(address: str, pid: int, connections: int, seconds: float, tally: Tally) -> None:
    began = time.monotonic()
    kept = httpx.Limits(max_connections=1, keepalive_expiry=None)
    context = httpx.create_ssl_context()  # not used, and slow to make for every client

    async def connection(place: int) -> None:
        chance, number = random.Random(place), place
        while time.monotonic() - began < seconds:
            async with httpx.AsyncClient(
                base_url=address, timeout=None, limits=kept, trust_env=False, verify=context
            ) as client:
                is_good = True
                while is_good and time.monotonic() - began < seconds:
                    is_good = await one(client, number, tally, chance)
                    number += connections

    async def watch() -> None:
        while True:
            tally.memory.append((time.monotonic() - began, resident(pid)))
            await asyncio.sleep(2)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(connection(place) for place in range(connections)))
    watching.cancel()


async def left_over(address: str) -> dict[str, float]:
    """What the server believes to be under way, once that has had time to end."""
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as client:
        for _ in range(60):
            found = await gauges(client)
            if not any(found.values()):
                break
            await asyncio.sleep(0.5)
        return found


async def drain(address: str, pid: int, requests: int) -> Counter[str]:
    """Tell the server to stop while it is busy; how each request ended that it had accepted."""
    ended: Counter[str] = Counter()
    asking = httpx.AsyncClient(base_url=address, trust_env=False, timeout=60)
    watching = httpx.AsyncClient(base_url=address, trust_env=False, timeout=60)
    async with asking, watching:

        async def ask(number: int) -> None:
            try:
                response = await asking.post("/v1/chat/completions", json=request(number, picture(number)))
                whole = response.status_code == 200 and "data: [DONE]" in response.text
                ended["answered" if whole else f"lost ({response.status_code})"] += 1
            except httpx.HTTPError as error:
                ended[f"lost ({error!r})"] += 1

        tasks = [asyncio.create_task(ask(number)) for number in range(requests)]
        # Some may be answered before the last one is accepted.
        while ended.total() + sum((await gauges(watching)).values()) < requests:
            await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGTERM)
        await asyncio.gather(*tasks)
    return ended


async def gauges(client: httpx.AsyncClient) -> dict[str, float]:
    found = re.findall(r"^generalist_requests_(\w+) (\S+)$", (await client.get("/metrics")).text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def resident(pid: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def slope(memory: list[tuple[float, float]]) -> tuple[float, float]:
    """MiB a minute, with its standard error, behind the first third, which fills every cache.

    Over the means of 30 seconds each: what is under way at a moment is much the same two seconds later, and a fit to
    all samples would be too sure of itself. NaN where there are fewer than 4.
    """
    seconds, resident_mib = np.array([sample for sample in memory if sample[0] >= memory[-1][0] / 3]).T
    spans = (seconds // 30).astype(int)
    means = np.array([[seconds[spans == k].mean() / 60, resident_mib[spans == k].mean()] for k in np.unique(spans)])
    if len(means) < 4:
        return float("nan"), float("nan")
    (rate, _), covariance = np.polyfit(means[:, 0], means[:, 1], 1, cov=True)
    return float(rate), float(covariance[0, 0] ** 0.5)


def main(
    minutes: Annotated[float, typer.Option(min=0.1)] = 15,
    connections: Annotated[int, typer.Option(min=1)] = 64,
    max_queue: Annotated[int, typer.Option(help="Fewer than there are connections, so that some meet 503.")] = 32,
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Saturate a server of the shipped model, then stop it."""
    tally = Tally()
    with serving("--max-queue", str(max_queue), "--device", "cpu", threads=threads) as (address, pid):
        asyncio.run(saturate(address, pid, connections, minutes * 60, tally))
        under_way = asyncio.run(left_over(address))
        drained = asyncio.run(drain(address, pid, DRAINED))
    print(f"{minutes:g} minutes, {connections} connections: {dict(tally.ended)}")
    print(f"errors beyond 429 and 503: {dict(+tally.errors) or 'none'}")
    first, last = tally.memory[len(tally.memory) // 3][1], tally.memory[-1][1]
    rate, error = slope(tally.memory)
    print(
        f"resident memory {first:.0f} MiB after a third of the time, {last:.0f} at the end, from there to there "
        f"{rate:+.2f} MiB a minute (standard error {error:.2f})"
    )
    print(f"under way when all was silent: {under_way}")
    print(f"told to stop with {DRAINED} requests accepted: {dict(drained)}")


if __name__ == "__main__":
    typer.run(main)
