"""Outcomes in a file of JSON lines, so that an interrupted run goes on where it stopped.

A line tells which run it belongs to (the model's files, engine, suite) and which question it answers, so that one
file may serve many runs, and nothing is taken from another model or for another question. Numbers are exact.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from generalist.evaluation.cases import Case, Outcome
from generalist.types import (
    Box,
    DepthMap,
    DocHit,
    GeneralistError,
    Grounded,
    Mask,
    Output,
    ParseIssue,
    Point,
    Sample,
    VisualPrompt,
)

_KINDS: dict[str, type[Output]] = {"box": Box, "point": Point, "mask": Mask, "depth": DepthMap, "doc": DocHit}
_CHUNK = 1 << 20
_MODEL_FILES = frozenset({".safetensors", ".json", ".txt", ".jinja", ".model", ".bin", ".npz", ".pt"})
"""Not logs and reports, which may lie beside."""


def fingerprint(folder: Path) -> str:
    """Digest of a checkpoint's files: weights, vocabulary, codecs. :class:`GeneralistError` when one is unreadable."""
    digest = hashlib.sha256()
    try:
        for file in sorted(path for path in folder.rglob("*") if path.suffix in _MODEL_FILES and path.is_file()):
            digest.update(repr((file.relative_to(folder).as_posix(), file.stat().st_size)).encode())
            with file.open("rb") as opened:
                while chunk := opened.read(_CHUNK):
                    digest.update(chunk)
    except OSError as error:
        raise GeneralistError(f"{folder}: cannot read the model's files ({error.strerror})") from error
    return digest.hexdigest()


class OutcomeFile:
    """The outcomes of one run in ``path``, among those of others.

    ``run``: what tells this run from others. Raises :class:`GeneralistError` when the file cannot be read or
    written; lines that are torn, or not of this form, are passed over.
    """

    def __init__(self, path: Path, run: Sequence[str]) -> None:
        self.path = path
        self.run = hashlib.sha256(json.dumps(list(run)).encode()).hexdigest()[:16]
        self._known: dict[str, tuple[str, int]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._index()
            with path.open("ab") as file:
                if file.tell() and not _ends_with_newline(path):
                    file.write(b"\n")  # so that a torn line spoils no other
        except OSError as error:
            raise self._unusable(error) from error

    def find(self, case: Case) -> Outcome | None:
        """What was answered to exactly this question; None where nothing was, and where it could not be asked."""
        asked, at = self._known.get(case.id, ("", 0))
        if not asked or asked != question_digest(case.sample):
            return None
        try:
            with self.path.open("rb") as file:
                file.seek(at)
                found = _outcome(case.id, json.loads(file.readline()))
        except OSError as error:
            raise self._unusable(error) from error
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
            return None
        return None if found.error else found

    def add(self, answered: Sequence[tuple[Case, Outcome]]) -> None:
        """Append outcomes; they are on disk when this returns."""
        lines = [json.dumps(self._row(case, outcome), default=_plain) for case, outcome in answered]
        try:
            with self.path.open("ab") as file:
                file.write("".join(f"{line}\n" for line in lines).encode("ascii"))
        except OSError as error:
            raise self._unusable(error) from error

    def _row(self, case: Case, outcome: Outcome) -> dict[str, Any]:
        return {
            "run": self.run,
            "case": case.id,
            "asked": question_digest(case.sample),
            "text": outcome.text,
            "outputs": [_grounded_row(item) for item in outcome.outputs],
            "issues": [asdict(issue) for issue in outcome.issues],
            "finished": outcome.finished,
            "error": outcome.error,
            "seconds": outcome.seconds,
        }

    def _index(self) -> None:
        """Where the lines of this run are; they themselves stay on disk, as depth maps are large."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            at = 0
            for line in file:
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    row = None
                if isinstance(row, dict) and row.get("run") == self.run:
                    self._known[str(row.get("case"))] = (str(row.get("asked")), at)
                at += len(line)

    def _unusable(self, error: OSError) -> GeneralistError:
        return GeneralistError(f"{self.path}: cannot keep answers in this file ({error.strerror}); name another one")


def question_digest(sample: Sample) -> str:
    """Digest of everything that a model is shown and asked."""
    said = [(turn.role, turn.text, [_prompt_key(p) for p in turn.visual_prompts]) for turn in sample.history]
    prompts = [_prompt_key(prompt) for prompt in sample.visual_prompts]
    pictures = [(i.size, i.mode, zlib.crc32(i.tobytes())) for i in (*sample.earlier_images, sample.image)]
    return hashlib.sha256(repr((sample.task, sample.prompt, said, prompts, pictures)).encode()).hexdigest()[:16]


def _prompt_key(prompt: VisualPrompt) -> tuple[object, ...]:
    bitmap = None if prompt.bitmap is None else (prompt.bitmap.shape, zlib.crc32(np.packbits(prompt.bitmap).tobytes()))
    return (prompt.kind, prompt.xyxy, prompt.xy, bitmap)


def _plain(value: Any) -> Any:
    """A number of numpy's as one of Python's."""
    return value.item()


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


# --- rows <-> outcomes --------------------------------------------------------------------------------


def _outcome(case: str, row: Mapping[str, Any]) -> Outcome:
    return Outcome(
        case=case,
        text=str(row["text"]),
        outputs=tuple(_grounded(item) for item in row["outputs"]),
        issues=tuple(ParseIssue(**issue) for issue in row["issues"]),
        finished=bool(row["finished"]),
        error=str(row["error"]),
        seconds=float(row["seconds"]),
    )


def _grounded_row(item: Grounded) -> dict[str, Any]:
    kind = next(name for name, made in _KINDS.items() if isinstance(item.output, made))
    if isinstance(item.output, DepthMap):
        fields = {"unit": item.output.unit, "score": item.output.score, **_packed(item.output.values)}
    else:
        fields = asdict(item.output)
    return {"label": item.label, "span": item.span, "image": item.image, "ref": item.ref, "kind": kind, **fields}


def _grounded(row: Mapping[str, Any]) -> Grounded:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    common = {key: fields.pop(key) for key in ("label", "span", "image", "ref")}
    kind = fields.pop("kind")
    if kind == "depth":
        fields["values"] = _unpacked(fields.pop("shape"), fields.pop("float32"))
    return Grounded(**common, output=_KINDS[kind](**fields))


def _packed(values: np.ndarray) -> dict[str, Any]:
    """float32, the first bytes of all numbers first: neighbours are alike in these."""
    numbers = np.ascontiguousarray(values, "<f4")
    planes = np.ascontiguousarray(numbers.view(np.uint8).reshape(-1, 4).T)
    return {"shape": list(values.shape), "float32": base64.b64encode(zlib.compress(planes.tobytes())).decode("ascii")}


def _unpacked(shape: tuple[int, ...], packed: str) -> np.ndarray:
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8).reshape(4, -1)
    return np.ascontiguousarray(planes.T).view("<f4").reshape(shape).astype(np.float32, copy=False)
