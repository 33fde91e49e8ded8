"""The ``data.yaml`` of a YOLO data set: which pictures, which classes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from generalist_datasets.readers.fields import show
from generalist_datasets.readers.lines import read_head
from generalist_datasets.readers.pairs import read_text
from generalist_datasets.records import Problems, Where

YAML_SUFFIXES = frozenset([".yaml", ".yml"])

_SPLITS = ("train", "val", "test")
_MOST_BYTES = 1 << 18  # 10,000 classes; a parser in Python needs seconds for more
_MOST_KEYPOINTS = 10_000
_CLASSES_KEY = re.compile(r"^(names|nc)\s*:", re.MULTILINE)
_SPLIT_KEY = re.compile(r"^(path|train|val|test)\s*:", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataYaml:
    """``splits``: folders or lists of pictures by split, as written. ``folders``: what they may be relative to.

    ``names`` by class number. ``keypoints`` = (how many, values of each: 2 or 3), None where a line has none.
    ``skip_unlabelled``: a picture without a label file is no part of the set (otherwise it shows nothing).
    """

    file: Path
    folders: tuple[Path, ...]
    splits: Mapping[str, tuple[str, ...]]
    names: Mapping[int, str] = field(default_factory=dict)
    keypoints: tuple[int, int] | None = None
    skip_unlabelled: bool = False


class _PlainLoader(yaml.BaseLoader):
    """Text, lists and mappings only, so that a class called "no" stays that; no aliases, which can multiply."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read; write the value out")
        return super().compose_node(parent, index)


def looks_like_data_yaml(file: Path) -> bool:
    """Whether a file names classes and pictures in the way of ``data.yaml``; never raises."""
    if file.suffix.lower() not in YAML_SUFFIXES:
        return False
    head = read_head(file, _MOST_BYTES)
    return bool(_CLASSES_KEY.search(head) and _SPLIT_KEY.search(head))


def read_data_yaml(file: Path, problems: Problems) -> DataYaml | None:
    """None, and an error, for a file that cannot be used."""
    text = read_text(file, problems, _MOST_BYTES)
    if text is None:
        return None
    where = Where(file=file)
    try:
        loaded = yaml.load(text, Loader=_PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problems.error("not valid YAML", where, " ".join(str(error).split())[:200] or type(error).__name__)
        return None
    if not isinstance(loaded, dict):
        problems.error("wrong type", where, "use a mapping with train, val and names")
        return None
    beside = file.parent
    root = loaded.get("path")
    # Written for another machine, `path` may lead nowhere; what it holds is then looked for beside the file.
    folders = (beside / root, beside) if isinstance(root, str) and "\0" not in root else (beside,)
    names = _names(loaded.get("names"), where, problems)
    written = loaded.get("nc")
    if names and written is not None and written != str(len(names)):
        problems.warn("wrong number of classes", where, f"nc is {show(written)}, and {len(names)} names are listed")
    return DataYaml(
        file=file,
        folders=tuple(f for f in folders if os.path.isdir(f)),
        splits={split: _entries(loaded[split], split, where, problems) for split in _SPLITS if split in loaded},
        names=names,
        keypoints=_keypoints(loaded.get("kpt_shape"), where, problems),
        skip_unlabelled=str(loaded.get("skip_if_label_file_missing")).lower() == "true",
    )


def _entries(value: object, split: str, where: Where, problems: Problems) -> tuple[str, ...]:
    """The folders or lists of one split; an empty value means that there is none."""
    listed = value if isinstance(value, list) else [value]
    for entry in listed:
        if not isinstance(entry, str):
            problems.error("wrong type", where, f"{split} holds {show(entry)}; use a folder, or a list of folders")
    return tuple(e for e in listed if isinstance(e, str) and e not in ("", "null", "~"))


def _names(value: object, where: Where, problems: Problems) -> dict[int, str]:
    if value is None:
        return {}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if pairs is None:
        problems.error("wrong type", where, f"names is {show(value)}; use a list, or a mapping from number to name")
        return {}
    names = {}
    for number, name in pairs:
        words = " ".join(name.split()) if isinstance(name, str) else ""
        if not words or not re.fullmatch(r"\s*[0-9]{1,9}\s*", str(number)):
            problems.error("wrong type", where, f"names has {show(number)}: {show(name)}; use number: name")
            continue
        names[int(number)] = words
        problems.declare(words, where)
    return names


def _keypoints(value: object, where: Where, problems: Problems) -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) and v.isdecimal() for v in value):
        count, values = int(value[0][:9]), int(value[1][:9])
        if 0 < count <= _MOST_KEYPOINTS and values in (2, 3):
            return count, values
    problems.error("wrong type", where, f"kpt_shape is {show(value)}; use [number of keypoints, 2 or 3]")
    return None
