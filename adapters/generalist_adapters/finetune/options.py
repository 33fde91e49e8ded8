"""What a fine-tuning run is asked for, checked before anything is read; and the recipe that decides its outcome."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from generalist.adapter_spec import check_name
from generalist.pipeline import resolve_model
from generalist.tasks import get_task
from generalist.types import GeneralistError
from generalist_adapters import attached_head
from generalist_adapters.config import PARTS, MethodConfig
from generalist_adapters.finetune.augment import Flips
from generalist_adapters.methods import METHODS

RECIPE = "recipe.json"

AUTO = "auto"
KNOWN = (AUTO, *METHODS, attached_head.NAME)
"""What ``method`` may be; auto: what suits the labels."""
RATES = {"lora": 2e-3, "mtlora": 2e-3, "side": 2e-3, "full": 5e-4, attached_head.NAME: 2e-3}
"""The highest learning rate of a method, where none is asked for."""
_NOT_IN_RECIPE = frozenset({"out", "dry_run", "licence"})
"""What decides nothing of the outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneOptions:
    """Everything that ``generalist finetune`` may be told; each field is an option of the program.

    ``tasks`` empty: all that the labels can teach and the method can learn. ``minutes`` decides ``steps`` by the speed
    of the first few. ``learning_rate`` None: what suits the method. ``flips`` "auto": mirrored, unless labels speak of
    left and right. ``replay``: the share of composed scenes in what is learnt. ``eval_limit``: held-out pictures at
    most.
    """

    data: Path
    out: Path
    model: str = "nano"
    method: str = AUTO
    shots: int = 16
    tasks: tuple[str, ...] = ()
    name: str = ""
    steps: int = 300
    minutes: float | None = None
    batch_size: int = 8
    learning_rate: float | None = None
    rank: int = 16
    task_rank: int = 4
    scale: float = 2.0
    dropout: float = 0.0
    targets: tuple[str, ...] = tuple(PARTS)
    replay: float = 0.25
    flips: Flips | Literal["auto"] = "auto"
    cuts: bool = True
    seed: int = 0
    eval_limit: int = 64
    baseline: bool = True
    format: str | None = None
    images: Path | None = None
    depth_scale: float | None = None
    licence: str = ""
    dry_run: bool = False

    @property
    def config(self) -> MethodConfig:
        """The options of the method."""
        return MethodConfig(
            rank=self.rank, shared_rank=self.rank, task_rank=self.task_rank, scale=self.scale, dropout=self.dropout,
            targets=self.targets,
        )  # fmt: skip

    @property
    def adapter_name(self) -> str:
        """What requests call the adapter: ``name``, or the name of the folder."""
        return self.name or self.out.resolve().name


def check(options: FinetuneOptions) -> None:
    """Raises :class:`GeneralistError` for what makes no sense; names the options of the program."""
    resolve_model(options.model)
    check_name(options.adapter_name)
    for task in options.tasks:
        get_task(task)
    if options.method not in KNOWN:
        raise GeneralistError(f"--method is {options.method!r}; use one of {', '.join(KNOWN)}")
    strange = [task for task in options.tasks if task not in attached_head.TASKS]
    if options.method == attached_head.NAME and strange:
        raise GeneralistError(
            f"--tasks holds {strange[0]!r}, which a head cannot learn; use {', '.join(attached_head.TASKS)}, "
            "or --method lora"
        )
    if options.flips not in (*get_args(Flips), "auto"):
        raise GeneralistError(f"--flips is {options.flips!r}; use auto, {', '.join(get_args(Flips))}")
    whole = {"--shots": (options.shots, 1), "--steps": (options.steps, 1), "--batch-size": (options.batch_size, 1),
             "--seed": (options.seed, 0), "--eval-limit": (options.eval_limit, 0)}  # fmt: skip
    for option, (number, least) in whole.items():
        if number < least:
            raise GeneralistError(f"{option} is {number}; use {least} or more")
    if not 0 <= options.replay < 1 or round(options.replay * options.batch_size) >= options.batch_size:
        raise GeneralistError(f"--replay is {options.replay}; use 0 or more, and leave room for a picture in a batch")
    for option, value in (("--minutes", options.minutes), ("--learning-rate", options.learning_rate)):
        if value is not None and not 0 < value < math.inf:
            raise GeneralistError(f"{option} is {value}; use a number above 0")
    _ = options.config  # checks itself


# --- the folders of a run ---------------------------------------------------------------------------------


def work_folder(out: Path) -> Path:
    """Where a run keeps what it is not done with: beside ``out``, hidden."""
    return out.parent / f".{out.name}.unfinished"


def recipe_of(options: FinetuneOptions) -> dict[str, Any]:
    """What decides the outcome of a run, fit for JSON."""
    content = {name: value for name, value in asdict(options).items() if name not in _NOT_IN_RECIPE}
    return {**content, "data": str(options.data), "images": None if options.images is None else str(options.images),
            "tasks": list(options.tasks), "targets": list(options.targets)}  # fmt: skip


def is_done(options: FinetuneOptions) -> bool:
    """Whether ``--out`` holds the result of these options. Raises :class:`GeneralistError` for something else there."""
    out = options.out
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not (out / RECIPE).is_file():
        raise GeneralistError(f"--out {out} is there already and holds no adapter of this program; name a new folder")
    _refuse_another(out / RECIPE, recipe_of(options), out)
    return True


def claim(options: FinetuneOptions) -> Path:
    """The work folder of a run, new or gone on with; :class:`GeneralistError` when it is another recipe's."""
    folder, recipe = work_folder(options.out), recipe_of(options)
    path = folder / RECIPE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _refuse_another(path, recipe, folder)
        else:
            path.write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise GeneralistError(f"--out {options.out}: cannot write there ({error.strerror}); name another") from error
    return folder


def _refuse_another(path: Path, recipe: dict[str, Any], folder: Path) -> None:
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    if not isinstance(before, dict):
        raise GeneralistError(f"{path} is no recipe of a run; use another --out, or remove {folder}")
    changed = [name for name in dict.fromkeys([*recipe, *before]) if recipe.get(name) != before.get(name)]
    if changed:
        said = ", ".join(f"{name} {before.get(name)} -> {recipe.get(name)}" for name in changed)
        raise GeneralistError(f"{folder} is of another recipe ({said}); use another --out, or remove it")
