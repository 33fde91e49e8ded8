"""How long `generalist data check` takes on a large COCO file, and how much memory.

    python tests/benchmarks/check_speed.py

Writes pictures and annotations with polygons into a temporary folder, and runs the command as its user would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TextIO

import numpy as np
import typer
from PIL import Image

_ROOT = Path(__file__).parents[2]
_WIDTH, _HEIGHT = 640, 480
_CLASSES = 80
_CORNERS = 24
"""Points of a polygon, about as many as COCO's have."""


def main(
    pictures: Annotated[int, typer.Option(min=1)] = 20_000,
    annotations: Annotated[int, typer.Option(min=1)] = 200_000,
) -> None:
    """Measure the check of a made-up data set."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        file = write_set(Path(folder), pictures, annotations)
        print(f"{pictures:,} pictures, {annotations:,} annotations, json of {file.stat().st_size / 2**20:.0f} MiB")
        print(f"written in {time.perf_counter() - began:.0f} s")
        seconds, mebibytes, report = checked(Path(folder))
    counted = json.loads(report)
    assert counted["annotations"]["total"] == annotations and counted["usable"], counted["findings"]
    print(f"checked in {seconds:.1f} s, at most {mebibytes:.0f} MiB")


def write_set(folder: Path, pictures: int, annotations: int) -> Path:
    """Small files of large pictures: the check reads every header."""
    (folder / "train2017").mkdir()
    (folder / "annotations").mkdir()
    file = folder / "annotations" / "instances_train2017.json"
    rng = np.random.default_rng(0)
    for number in range(pictures):
        picture = Image.new("L", (_WIDTH, _HEIGHT), number % 256)
        picture.putpixel((number // 256 % _WIDTH, number // 256 // _WIDTH), 255 - number % 256)
        picture.save(folder / "train2017" / f"{number:012d}.png", compress_level=1)
    with file.open("w") as out:
        out.write('{"images": [')
        write_list(out, (image(number) for number in range(pictures)))
        out.write('], "annotations": [')
        write_list(out, (annotation(rng, number, pictures) for number in range(annotations)))
        out.write('], "categories": [')
        write_list(out, ({"id": number + 1, "name": f"class {number}"} for number in range(_CLASSES)))
        out.write("]}")
    return file


def write_list(out: TextIO, entries: Iterable[dict[str, object]]) -> None:
    for number, entry in enumerate(entries):
        out.write((", " if number else "") + json.dumps(entry))


def image(number: int) -> dict[str, object]:
    return {"id": number, "file_name": f"{number:012d}.png", "width": _WIDTH, "height": _HEIGHT}


def annotation(rng: np.random.Generator, number: int, pictures: int) -> dict[str, object]:
    """A round thing somewhere in a random picture."""
    radius = rng.uniform(4, 100)
    x, y = rng.uniform(radius, _WIDTH - radius), rng.uniform(radius, _HEIGHT - radius)
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    ring = np.column_stack([x + radius * np.cos(angles), y + radius * np.sin(angles)]).round(2).ravel().tolist()
    box = [round(float(v), 2) for v in (x - radius, y - radius, 2 * radius, 2 * radius)]
    return {
        "id": number,
        "image_id": int(rng.integers(pictures)),
        "category_id": int(rng.integers(_CLASSES)) + 1,
        "bbox": box,
        "area": round(float(np.pi * radius**2), 2),
        "segmentation": [ring],
        "iscrowd": 0,
    }


def checked(folder: Path) -> tuple[float, float, str]:
    """Seconds, MiB at most, and the JSON of the command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(_ROOT / part) for part in (".", "datasets"))}
    command = [sys.executable, "-m", "generalist.cli", "data", "check", str(folder), "--json", "--no-preview"]
    began = time.perf_counter()
    with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        report = process.stdout.read()
        _, _, usage = os.wait4(process.pid, 0)
    return time.perf_counter() - began, usage.ru_maxrss / 1024, report


if __name__ == "__main__":
    typer.run(main)
