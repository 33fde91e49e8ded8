"""An adapter inside a model: what is trained, and how it comes out again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict
from weakref import WeakSet

import torch
from torch import nn

from generalist.engine.transformers_engine import TransformersEngine
from generalist.model import GeneralistForConditionalGeneration
from generalist.tasks import TASKS, get_task
from generalist.types import GeneralistError
from generalist_adapters.config import PARTS, MethodConfig

_ADAPTED: WeakSet[GeneralistForConditionalGeneration] = WeakSet()


class SpecFields(TypedDict):
    """What only the caller knows of an adapter: its name, the base model's, the hash of the base's vocabulary."""

    name: str
    base: str
    vocab_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How many parameters a part of the model has, the adapter's included, and how many of them are trained."""

    part: str
    trained: int
    total: int


class Attached(ABC):
    """An adapter that a method has put into ``model``.

    While it is attached, ``model`` computes with it. ``tasks``: those it was made for; :meth:`set_task` chooses
    among them where they differ.
    """

    def __init__(self, model: GeneralistForConditionalGeneration, config: MethodConfig, tasks: Sequence[str]) -> None:
        if model in _ADAPTED:
            raise GeneralistError("the model has an adapter already; detach or merge it first")
        self.model, self.config, self.tasks = model, config, check_tasks(tasks)
        self.task: str | None = None
        self._required = {name: p.requires_grad for name, p in model.named_parameters()}
        model.requires_grad_(False)
        _ADAPTED.add(model)

    @abstractmethod
    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by name, and nothing else."""

    def report(self) -> list[Row]:
        """Trained and all parameters of every part, a last row ``all`` for their sums."""
        trained = {id(parameter) for parameter in self.parameters().values()}
        counts: dict[str, list[int]] = {part: [0, 0] for part in (*PARTS, "head")}
        everything = {id(p): (name, p) for name, p in [*self.model.named_parameters(), *self.parameters().items()]}
        for name, parameter in everything.values():
            count = counts.setdefault(_part_of(name), [0, 0])
            count[0] += parameter.numel() * (id(parameter) in trained)
            count[1] += parameter.numel()
        rows = [Row(part=part, trained=count[0], total=count[1]) for part, count in counts.items()]
        return [*rows, Row(part="all", trained=sum(r.trained for r in rows), total=sum(r.total for r in rows))]

    def set_task(self, task: str | None) -> None:
        """Let the part of ``task`` act; None: only what all tasks share."""
        if task is not None and task not in self.tasks:
            raise GeneralistError(f"task is {task!r}; this adapter was made for {', '.join(self.tasks)}")
        self.task = task

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Copies of what is trained, on the CPU."""
        return {name: p.detach().to("cpu", copy=True) for name, p in self.parameters().items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state_dict` gave. Raises :class:`GeneralistError` when names or shapes differ."""
        own = self.parameters()
        shapes = {name: tuple(p.shape) for name, p in own.items()}
        if shapes != {name: tuple(t.shape) for name, t in state.items()}:
            wrong = sorted(set(shapes) ^ set(state)) or [n for n in shapes if shapes[n] != tuple(state[n].shape)]
            raise GeneralistError(
                f"the state does not fit this adapter ({len(wrong)} tensors, {wrong[0]} first); "
                "use one of the same method, options and tasks"
            )
        for name, parameter in own.items():
            parameter.copy_(state[name])

    def check_saveable(self) -> None:  # noqa: B027 - most can always be saved
        """Raises :class:`GeneralistError` when :meth:`save` would: ask before a long training."""

    @abstractmethod
    def save(self, folder: str | Path, spec_fields: SpecFields) -> list[Path]:
        """Write the adapter, beside and then renamed; the folders written, one for each adapter that can be served."""

    def serve_in(self, engine: TransformersEngine) -> str | None:
        """Let an engine over :attr:`model` answer as this adapter does; the name that requests give it, None where the
        model itself does."""
        return None

    @abstractmethod
    def detach(self) -> None:
        """Take the adapter out; the model is bit-identical to the one it was put into."""

    @abstractmethod
    def merge(self) -> GeneralistForConditionalGeneration:
        """Write the update of the task that is set into the model's own weights, in place, and end the attachment."""

    def _end(self) -> None:
        """What every detaching and merging ends with."""
        _ADAPTED.discard(self.model)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(self._required.get(name, True))


def check_tasks(tasks: Sequence[str]) -> tuple[str, ...]:
    """``tasks`` as they were given. Raises :class:`GeneralistError` for none, a repeated or an unknown one."""
    if isinstance(tasks, str) or not tasks or len(set(tasks)) < len(tasks):
        raise GeneralistError(f"tasks are {tasks!r}; name at least one of {', '.join(TASKS)}, each once")
    return tuple(get_task(task).name for task in tasks)


def _part_of(name: str) -> str:
    found = next((part for part, prefix in PARTS.items() if name.startswith(f"{prefix}.")), None)
    return found or name.split(".", maxsplit=1)[0].replace("lm_head", "head")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draws of torch inside depend on ``seed`` alone, and leave those outside as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
