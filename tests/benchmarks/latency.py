"""How long answers take, and how much memory, on this machine's CPU.

    python tests/benchmarks/latency.py

Times are medians over several questions; a first question on an image is asked on a picture that was not seen
before, a second one on the same picture. Start-up is measured in fresh processes.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from generalist import Generalist

_SAMPLES = Path(__file__).parents[2] / "datasets" / "samples"
_LOAD = (
    "from generalist import Generalist; g = Generalist.from_pretrained(); "
    "print(g.segment({path!r}, 'the red apple').text)"
)


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def fresh(picture: Image.Image, number: int) -> Image.Image:
    """The same picture with other bytes: a new image to every cache."""
    pixels = np.asarray(picture).copy()
    pixels[0, 0] = (number * 7 % 256, number % 256, 0)
    pixels[-40:-10, -40:-10] = number * 31 % 256
    return Image.fromarray(pixels)


def main(
    repeats: Annotated[int, typer.Option(min=1)] = 9,
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Measure latency and memory of the shipped model."""
    torch.set_num_threads(threads)
    sample = _SAMPLES / "orchard.png"
    print(f"generalist --help            {process([sys.executable, '-m', 'generalist.cli', '--help']):.2f} s")
    print(f"import, load, first answer   {process([sys.executable, '-c', _LOAD.format(path=str(sample))]):.2f} s")
    model = Generalist.from_pretrained(device="cpu")
    with Image.open(sample) as opened:
        picture = opened.convert("RGB")
    asks: dict[str, Callable[[Image.Image], object]] = {
        "box": lambda image: model.ask(image, "Where is the red apple?", task="box"),
        "mask": lambda image: model.segment(image, "the red apple"),
        "depth": model.depth,
        "caption": model.caption,
    }
    for kind, (name, ask) in enumerate(asks.items()):
        ask(picture)
        firsts, seconds_ = [], []
        for number in range(repeats):
            image = fresh(picture, kind * repeats + number + 1)
            firsts.append(seconds(lambda: ask(image)))  # noqa: B023
            seconds_.append(seconds(lambda: ask(image)))  # noqa: B023
        first, second = statistics.median(firsts), statistics.median(seconds_)
        print(f"{name:8s} first {first:.3f} s, again {second:.3f} s, {first / second:.2f}x faster")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak resident memory         {peak:.2f} GiB")


def process(command: list[str]) -> float:
    """Seconds that a fresh process takes; the best of three, so that disk caches are warm."""
    return min(seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(3))


if __name__ == "__main__":
    typer.run(main)
