"""A run made ready: data chosen and read, the model loaded, the adapter in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.utils import is_bf16_available

from generalist.decoders import DepthCodec, MaskCodec, depth, mask
from generalist.model import Checkpoint, load_checkpoint
from generalist.pipeline import Line, resolve_model
from generalist.tasks import TASKS
from generalist.training.batches import CodeFiller
from generalist.types import GeneralistError
from generalist_adapters import attached_head
from generalist_adapters.finetune.augment import Augmentation, mirrors
from generalist_adapters.finetune.data import Division, divide
from generalist_adapters.finetune.fit import Trainer
from generalist_adapters.finetune.head_fit import HeadTrainer, new_head
from generalist_adapters.finetune.measure import Exam
from generalist_adapters.finetune.options import AUTO, RATES, FinetuneOptions
from generalist_adapters.finetune.pictures import Picture, load
from generalist_adapters.finetune.replay import replay
from generalist_adapters.finetune.schedule import Material, Schedule
from generalist_adapters.finetune.standing import Standing
from generalist_adapters.methods import METHODS
from generalist_datasets.readers import Options

_SOFT_MASKS = 0.1
"""Temperature of the targets of mask codes, as in base training."""
_FINER = 3
"""Pictures are kept with so many times the model's pixels a side, so that cuts of them are still sharp."""
_FOR_WORDS = "lora"
_RATE = 1e-3
BY_TASK = ("mtlora",)
"""Methods with weights of their own for every task."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chosen:
    """What is learnt from, watched and measured, and by which ``method``; ``notes``: what a user should know of it, one
    line each."""

    method: str
    division: Division
    pictures: tuple[Picture, ...]
    augmentation: Augmentation
    exam: Exam
    watch: Exam
    notes: tuple[str, ...]


def choose(options: FinetuneOptions, checkpoint: Checkpoint) -> Chosen:
    """Choose and read the pictures. Raises :class:`GeneralistError` for data that cannot be used."""
    division = divide(
        options.data,
        shots=options.shots,
        seed=options.seed,
        tasks=options.tasks,
        learnable_tasks=attached_head.TASKS if options.method == attached_head.NAME else tuple(TASKS),
        format=options.format,
        options=Options(images=options.images, depth_scale=options.depth_scale),
        test_limit=options.eval_limit,
    )
    method, why = _method(options, division)
    longest = _FINER * max(checkpoint.model.config.image_hw)
    pictures = tuple(load(record, division.tasks, longest) for record in division.train)
    watched = [load(record, division.tasks, longest) for record in division.watch]
    flips = ("sideways" if mirrors((*pictures, *watched)) else "none") if options.flips == "auto" else options.flips
    name = options.data.resolve().name or str(options.data)
    return Chosen(
        method=method,
        division=division,
        pictures=pictures,
        augmentation=Augmentation(flips=flips, cuts=options.cuts),
        exam=Exam.of(name, division.test, division.tasks),
        watch=Exam.of(name, division.watch, division.tasks),
        notes=(*why, *_notes(options, division)),
    )


def _method(options: FinetuneOptions, division: Division) -> tuple[str, tuple[str, ...]]:
    """The method, and a line that says why where it was not asked for.

    A head is for boxes, masks and numbers of classes alone: it finds many things at once from a few pictures, which a
    language model that lists them one by one cannot learn. All else takes words.
    """
    if options.method != AUTO:
        return options.method, ()
    if words := [task for task in division.tasks if task not in attached_head.TASKS]:
        return _FOR_WORDS, (f"method {_FOR_WORDS}: {', '.join(words)} takes the language model",)
    told = "all that is learnt is boxes, masks and numbers of classes; --method lora also takes other words for them"
    return attached_head.NAME, (f"method {attached_head.NAME}: {told}",)


def _notes(options: FinetuneOptions, division: Division) -> list[str]:
    shots = len(division.train) + len(division.watch)
    notes = []
    if shots < options.shots:
        notes.append(f"{shots} pictures are learnt from: there are no more ({options.shots} were asked for)")
    if not division.test:
        notes.append("no picture is left to measure with: there are no figures before and after")
    if not division.watch:
        notes.append("too few pictures to keep some for early stopping: the last state is the result")
    if len(division.classes) == 1:
        notes.append("one class only: nothing teaches the model to say that something is not there")
    return notes


def attach(options: FinetuneOptions, checkpoint: Checkpoint, chosen: Chosen) -> tuple[Standing, str]:
    """Put a new adapter into the model; the trainer at its first step, and what is repeated of the base's world."""
    tasks = chosen.division.tasks
    if chosen.method == attached_head.NAME:
        head = new_head(checkpoint, chosen.pictures, tasks, options.seed)
        material = Material(pictures=chosen.pictures, classes=tuple(chosen.division.classes), tasks=tasks, replay=None)
        return HeadTrainer(head, material, _schedule(options, chosen)), "nothing, as the model itself is not changed"
    model, vocab = checkpoint.model, checkpoint.vocabulary
    attached = METHODS[chosen.method].attach(model, options.config, tasks, options.seed)
    attached.check_saveable()
    if not attached.parameters():
        raise GeneralistError(f"--method {chosen.method}: nothing is trained; choose other --targets")
    scenes, told = replay(vocab, model.config) if options.replay else (None, "nothing")
    trainer = Trainer(
        model,
        checkpoint.processor,
        attached,
        code_filler(checkpoint),
        Material(pictures=chosen.pictures, classes=tuple(chosen.division.classes), tasks=tasks, replay=scenes),
        _schedule(options, chosen),
        by_task=chosen.method in BY_TASK,
    )
    return trainer, told


def _schedule(options: FinetuneOptions, chosen: Chosen) -> Schedule:
    rate = RATES.get(chosen.method, _RATE) if options.learning_rate is None else options.learning_rate
    return Schedule(
        steps=options.steps,
        batch_size=options.batch_size,
        learning_rate=rate,
        replay=0.0 if chosen.method == attached_head.NAME else options.replay,
        seed=options.seed,
        precision="bf16" if is_bf16_available() else "no",
        augmentation=chosen.augmentation,
    )


def code_filler(checkpoint: Checkpoint) -> CodeFiller:
    """The codecs of a checkpoint, which turn masks and depth maps into targets."""
    sizes = checkpoint.vocabulary.sizes
    masks = MaskCodec.load(checkpoint.folder / mask.FILE, sizes)
    depths = DepthCodec.load(checkpoint.folder / depth.FILE, sizes)
    return CodeFiller(checkpoint.vocabulary, masks, depths, _SOFT_MASKS)


def load_base(model: str) -> tuple[Checkpoint, Line]:
    """The base model in float32, on a GPU if there is one, and its line."""
    folder: Path = resolve_model(model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    checkpoint = load_checkpoint(folder, device=device, dtype=torch.float32)
    return checkpoint, Line.from_folder(folder, checkpoint.vocabulary)
