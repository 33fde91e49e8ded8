"""``adapter.json``: what an adapter is, beside the files that hold it; written whole, read strictly.

All that is wrong is a :class:`~generalist.types.GeneralistError` of one line that names the file.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from generalist.tasks import get_task
from generalist.types import GeneralistError

SPEC = "adapter.json"

MAX_RANK = 512

_MAX_JSON_BYTES = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSpec:
    """What an adapter is, for people and servers.

    ``name``: what requests call it. ``base``: the model that it extends. ``method``: how it was trained ("lora",
    "mtlora", ...). ``rank``: 0 for what is no LoRA. ``targets``: the layers that it changes, as PEFT names them.
    ``tasks``: what it was trained for, empty for whatever the base does. ``vocab_hash``: ``Vocabulary.hash`` of the
    model that it was trained on.
    """

    name: str
    base: str
    method: str
    rank: int
    alpha: float
    targets: tuple[str, ...]
    tasks: tuple[str, ...]
    vocab_hash: str

    def __post_init__(self) -> None:
        check_name(self.name)
        for what in ("base", "method", "vocab_hash"):
            if not isinstance(value := getattr(self, what), str) or not value or not value.isprintable():
                raise GeneralistError(f"{what} is {value!r:.80}; use a word")
        if not is_whole(self.rank) or not 0 <= self.rank <= MAX_RANK:
            raise GeneralistError(f"rank is {self.rank!r:.80}; use 1 to {MAX_RANK}, or 0 for what is no LoRA")
        if not is_number(self.alpha):
            raise GeneralistError(f"alpha is {self.alpha!r:.80}; use a number")
        for what in ("targets", "tasks"):
            value = getattr(self, what)
            if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
                raise GeneralistError(f"{what} is {value!r:.80}; use a list of names")
        for task in self.tasks:
            get_task(task)


def check_name(name: object) -> str:
    """``name``, if requests can name an adapter so; else :class:`GeneralistError`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise GeneralistError(
            f"the name {name!r:.80} is none for an adapter; use up to 64 letters, digits, '.', '_', '-'"
        )
    return name


def write_spec(folder: str | Path, spec: AdapterSpec) -> None:
    """Write ``adapter.json``, whole or not at all."""
    path = Path(folder) / SPEC
    part = path.with_name(f"{SPEC}.part")
    part.write_text(json.dumps(asdict(spec), indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def read_spec(folder: str | Path) -> AdapterSpec | None:
    """What ``adapter.json`` says; None where there is none: the adapter is plain PEFT."""
    path = Path(folder) / SPEC
    if not os.path.lexists(path):
        return None
    content = read_object(path)
    known = [entry.name for entry in fields(AdapterSpec)]
    if missing := [name for name in known if name not in content]:
        raise GeneralistError(f"{path}: has no {missing[0]}; restore the file, or remove it to use plain PEFT")
    if extra := sorted(content.keys() - set(known)):
        raise GeneralistError(f"{path}: has an unknown field {extra[0]!r:.80}; use only {', '.join(known)}")
    for name in ("targets", "tasks"):
        if isinstance(content[name], list):
            content[name] = tuple(content[name])
    try:
        return AdapterSpec(**content)
    except GeneralistError as error:
        raise GeneralistError(f"{path}: {error}") from error


def adapter_name(folder: str | Path) -> str:
    """What requests call the adapter of a folder: by its ``adapter.json``, else as the folder is called."""
    spec = read_spec(folder)
    if spec is not None:
        return spec.name
    try:
        return check_name(Path(os.path.abspath(folder)).name)
    except GeneralistError as error:
        raise GeneralistError(f"{folder}: {error}; rename the folder") from error


def check_vocabulary(folder: str | Path, vocab_hash: str) -> None:
    """Raises :class:`GeneralistError` for an adapter that was trained with another vocabulary than this one."""
    spec = read_spec(folder)
    if spec is not None and spec.vocab_hash != vocab_hash:
        raise GeneralistError(
            f"{Path(folder) / SPEC}: vocab_hash is {spec.vocab_hash!r:.80}, the model's vocabulary is {vocab_hash!r}; "
            f"use the model that the adapter was trained on ({spec.base!r:.80})"
        )


# --- values, for whoever reads an adapter's files ---------------------------------------------------------


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a small file; :class:`GeneralistError` for anything else."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise GeneralistError(f"{path}: has more than {_MAX_JSON_BYTES} bytes; restore the file")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GeneralistError(f"{path}: cannot be read ({error.strerror}); name an adapter's folder") from error
    except GeneralistError:
        raise
    except (ValueError, RecursionError) as error:
        raise GeneralistError(f"{path}: not readable as JSON ({one_line(error)}); restore the file") from error
    if not isinstance(content, dict):
        raise GeneralistError(f"{path}: holds a JSON {type(content).__name__}, not an object; restore the file")
    return content


def is_whole(value: object) -> bool:
    """Whether JSON's ``value`` is an integer; true is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether JSON's ``value`` is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def one_line(error: BaseException) -> str:
    """What an error says, short and without line breaks."""
    return " ".join(str(error).split())[:300] or type(error).__name__
