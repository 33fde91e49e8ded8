"""Damaged and hostile data sets: whatever is in the files, a check ends soon, with findings or one line.

1,000 changes of small sound folders, the same ones every time, over all formats. Each changes one file: its bytes,
a value in its JSON, a word of its text, its name, or what kind of file it is.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from generalist.types import GeneralistError
from generalist_datasets.check import CorpusReport, check
from generalist_datasets.readers import read_samples

from .small_sets import CORPORA, IMAGE_SETS, write_set

CHANGES = 1000
SECONDS = 5.0
"""One check of two small pictures; a hundred times what it usually takes."""
MEBIBYTES = 512

PICTURES = (".jpg", ".png")
NAMES = (
    "../../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "x" * 5000,
    "http://example/a.jpg",
    "",
    ".",
    "..",
    "\ud800",
    "a\nb",
)
NUMBERS = ("nan", "inf", "-inf", "1e400", "-1", "0", "9" * 400, "9" * 5000, "1e18", "-1e9", "0x10", "1_0", "", "None")


@pytest.mark.parametrize("name", [*IMAGE_SETS, *CORPORA])
def test_no_change_of_a_file_breaks_a_check(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERALIST_CACHE", str(tmp_path / "cache"))
    form = IMAGE_SETS[name][0] if name in IMAGE_SETS else name
    files = contents(write_set(name, tmp_path / "sound"))
    before = memory()
    for seed in range(CHANGES // (len(IMAGE_SETS) + len(CORPORA))):
        rng = random.Random(f"{name} {seed}")
        folder = tmp_path / f"data {seed}"
        restore(files, folder)
        what = change(rng, folder)
        started = time.monotonic()
        with telling(f"{name}, seed {seed}: {what}"):
            inspect(folder, rng.choice((form, form, None)))
            if name in IMAGE_SETS:
                read_strictly(folder, form)
            assert time.monotonic() - started < SECONDS, "too slow"
        shutil.rmtree(folder)
    assert memory() - before < MEBIBYTES


def inspect(folder: Path, form: str | None) -> None:
    """Nothing but GeneralistError comes out; every finding names a file, and the report is JSON."""
    try:
        report = check(folder, form)
    except GeneralistError as error:
        assert_one_line(error)
        return
    json.dumps(report.to_dict())
    assert isinstance(report, CorpusReport) or report.images.total >= 0
    for finding in report.findings:
        assert finding.kind and finding.count >= len(finding.examples) > 0
        for example in finding.examples:
            assert Path(example.file).is_absolute() and len(example.entry) < 300, example
            assert "\n" not in example.entry and len(example.detail) < 6000, example


def read_strictly(folder: Path, form: str) -> None:
    """As training reads: samples, or the first error."""
    try:
        for sample in read_samples(folder, form):
            for target in sample.targets:
                xyxy = getattr(target.output, "xyxy", (0, 0))
                assert all(0 <= value <= 1 for value in xyxy), target
    except GeneralistError as error:
        assert_one_line(error)


def assert_one_line(error: GeneralistError) -> None:
    assert str(error).strip() and len(" ".join(str(error).split())) < 8000


class telling:
    """Adds to whatever is raised inside what was done to the folder."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(self.what[:500])


def memory() -> float:
    """The most that this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def restore(files: dict[str, bytes], folder: Path) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


# --- changes ------------------------------------------------------------------------------------------------------


def change(rng: random.Random, folder: Path) -> str:
    """Change one file, labels four times as often as pictures; what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    labels = [path for path in files if path.suffix not in PICTURES]
    file = rng.choice(labels if labels and rng.random() < 0.8 else files)
    kinds: list[Callable[[random.Random, Path], str]] = [change_bytes, change_file]
    if file.suffix in (".json", ".jsonl"):
        kinds = [change_json] * 4 + kinds
    elif file.suffix in PICTURES or file.suffix == ".npy":
        kinds = [change_picture, *kinds]
    elif file.suffix != ".p":
        kinds = [change_words] * 4 + kinds
    return f"{file.relative_to(folder)}: {rng.choice(kinds)(rng, file)}"


def change_bytes(rng: random.Random, file: Path) -> str:
    data = bytearray(file.read_bytes())
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.randrange(1, 40))
    kind = rng.choice(("flip", "cut", "empty", "remove", "repeat", "noise", "nul", "not utf-8", "bom", "crlf", "long"))
    changed = {
        "flip": lambda: bytes(b ^ (1 << rng.randrange(8)) if rng.random() < 0.01 else b for b in data),
        "cut": lambda: data[:at],
        "empty": lambda: b"",
        "remove": lambda: data[:at] + data[end:],
        "repeat": lambda: data[:end] + data[at:],
        "noise": lambda: data[:at] + rng.randbytes(end - at) + data[end:],
        "nul": lambda: data[:at] + b"\0" + data[at:],
        "not utf-8": lambda: data[:at] + b"\xff\xfe\x80" + data[at:],
        "bom": lambda: b"\xef\xbb\xbf" + data,
        "crlf": lambda: data.replace(b"\n", b"\r\n"),
        "long": lambda: data[:at] + b"7" * 200_000 + data[at:],
    }[kind]()
    file.write_bytes(changed)
    return f"{kind} at {at}"


def change_file(rng: random.Random, file: Path) -> str:
    kind = rng.choice(("gone", "folder", "loop", "dangling", "swapped", "pipe", "unrelated"))
    other = rng.choice(sorted(path for path in file.parent.parent.rglob("*") if path.is_file()))
    mine, theirs = file.read_bytes(), other.read_bytes()
    file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind == "loop":
        file.symlink_to(file)
    elif kind == "dangling":
        file.symlink_to(file.with_name("nothing"))
    elif kind == "swapped":
        file.write_bytes(theirs)
        if other != file:
            other.write_bytes(mine)
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "unrelated":
        file.write_bytes(rng.randbytes(500))
    return kind


def change_json(rng: random.Random, file: Path) -> str:
    """Replace, remove or repeat one value somewhere in a JSON file, or in one line of a jsonl file."""
    lines = file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
    number = rng.randrange(len(lines))
    root = {"": json.loads(lines[number])}
    holder, key = rng.choice(list(places(root)))
    kind = rng.choice(("remove", "repeat", "nest", *["replace"] * 6))
    value = rng.choice(strange_values(rng, holder[key]))
    if kind == "remove":
        del holder[key]
    elif kind == "repeat" and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif kind == "nest":
        holder[key] = "NEST"
    else:
        holder[key] = value
    text = json.dumps(root.get("", ""))
    depth = rng.choice((50, 2000, 100_000))
    lines[number] = text.replace('"NEST"', "[" * depth + "]" * depth).replace('"HUGE"', "9" * 5000)
    lines[number] = lines[number].replace('"FAR"', "1e400")
    file.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    return f"{kind} {str(key)[:40]!r} ({str(value)[:40]!r})"


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def strange_values(rng: random.Random, old: Any) -> list[Any]:
    others = [None, True, False, "", [], {}, [[]], [None], {"a": 1}, "text", 0, -1, 2.5, 1e18, -1e18, 10**30]
    numbers = [float("nan"), float("inf"), float("-inf"), "FAR", "HUGE", str(old), [old], [[[old]]], {"0": old}]
    return [*others, *numbers, *NAMES, 2**31, 2**63, [0] * 1000, [1e9] * 8, rng.random() * 1e5]


def change_words(rng: random.Random, file: Path) -> str:
    """A number or word of a text file, a line of it, or a bomb in its place."""
    text = file.read_text()
    words = list(re.finditer(r"[\w.\-]+", text))
    word = rng.choice(words)
    new = rng.choice(NUMBERS if rng.random() < 0.6 else NAMES)
    kind = rng.choice((*["word"] * 5, "line gone", "line twice", "separators", "bomb"))
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    changed = {
        "word": text[: word.start()] + new + text[word.end() :],
        "line gone": "".join(lines[:at] + lines[at + 1 :]),
        "line twice": "".join(lines[: at + 1] + lines[at:]),
        "separators": re.sub(r"[,\t ]", lambda match: rng.choice((match[0], match[0] * 3, ";", "")), text),
        "bomb": rng.choice(BOMBS),
    }[kind]
    file.write_text(changed, encoding="utf-8", errors="surrogatepass")
    return f"{kind}: {word[0][:20]!r} is now {new[:20]!r}" if kind == "word" else kind


_LOLS = "".join(f'<!ENTITY l{k + 1} "{f"&l{k};" * 10}">' for k in range(10))
BOMBS = (
    f'<!DOCTYPE a [<!ENTITY l0 "lol">{_LOLS}]><annotation><object><name>&l10;</name></object></annotation>',
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>',
    "<a>" * 100_000,
    "names:\n" + "".join(f"  a{k}: &a{k} [{f'*a{k - 1},' * 10 if k else 0}]\n" for k in range(10)),
    "[" * 100_000,
    "names: &a [*a]\ntrain: .\n",
    "train: ../../../../../..\nval: /\nnames: [dog]\n",
    "!!python/object/apply:os.system [exit]\n",
    '"' + "a" * 200_000,
    "0 " * 200_000,
)


def change_picture(rng: random.Random, file: Path) -> str:
    kind = rng.choice(("huge", "no pixels", "wide", "tall array", "objects"))
    file.write_bytes({
        "huge": png_header(60_000, 60_000),
        "no pixels": png_header(0, 0),
        "wide": png_header(2**31 - 1, 1),
        "tall array": npy_header("(1000000000000, 1000000)", "<f4"),
        "objects": npy_header("(16, 24)", "|O") + b"cos\nsystem\n(S'exit'\ntR.",
    }[kind])  # fmt: skip
    return kind


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def npy_header(shape: str, dtype: str) -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
