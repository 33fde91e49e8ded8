"""A training run in a folder: its recipe, state and log, and at the end the checkpoint."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import shutil
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from generalist.decoders import depth, mask
from generalist.interruptions import Interrupted, interruptions
from generalist.model import GeneralistForConditionalGeneration, GeneralistProcessor, save_checkpoint
from generalist.training.agvm import RateFactors
from generalist.training.averaging import WeightAverage
from generalist.training.batches import CodeFiller, SceneBatches, upcoming
from generalist.training.logs import Log
from generalist.training.packing import Packer
from generalist.training.recipe import Recipe
from generalist.training.start import Beginning
from generalist.training.step import Learner
from generalist.training.trainee import Trainee, folded_state, with_all_refs
from generalist.types import GeneralistError
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.layout import Menu

CHECKPOINT = "checkpoint"
RECIPE = "recipe.json"
_LONGEST = 320
"""Positions behind the image; a few scenes with very long answers would cost as much as all the others."""
_SPREADS = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU, DistributedType.FSDP)


_C_LIBRARY = ctypes.CDLL(None) if os.name == "posix" else None
_TRIM_EVERY = 10
"""Steps."""


def claim_folder(folder: Path, recipe: Recipe) -> None:
    """Make the folder of a run; raises :class:`GeneralistError` when it cannot be made or is another recipe's."""
    path, content = folder / RECIPE, dataclasses.asdict(recipe)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = _read_recipe(path) if path.exists() else content
        if before == content:
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            return
    except OSError as error:
        raise GeneralistError(f"--out {folder}: cannot write there ({error.strerror}); name another folder") from error
    names = [k for k in dict.fromkeys([*content, *before]) if before.get(k) != content.get(k)]
    changed = ", ".join(f"{k} {before.get(k)} -> {content.get(k)}" for k in names)
    raise GeneralistError(f"{folder} holds a run with another recipe ({changed}); use another --out")


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise GeneralistError(f"{path} is no recipe of a run; use another --out")
    return content


class Run:
    """A training run. Every process makes one; what is written and shown comes from the first."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        beginning: Beginning,
        *,
        assets: Assets,
        menu: Menu,
        workers: int = 0,
    ) -> None:
        self.folder, self.recipe, self.workers = folder, recipe, workers
        self.beginning = beginning
        self.accelerator = _accelerator(recipe)
        torch.manual_seed(recipe.seed)
        vocab, model = beginning.vocab, beginning.model
        names = [concept.name for concept in assets.concepts]
        both = [[*vocab.encode_text(name), *vocab.encode_text(f" {name}")] for name in names]
        trainee = Trainee(model, vocab, both, trained=beginning.trained)
        self.config = model.config
        packer = Packer(vocab, model.config.grid[0], longest=model.config.num_image_tokens + _LONGEST)
        self.scenes = SceneBatches(recipe, assets, menu, packer, model.config.image_hw[0])
        shapes = {shape for _, shape in menu.pairs}
        self.taught = [c.name for k, c in enumerate(assets.concepts) if k in menu.concepts or c.name in shapes]
        filler = CodeFiller(vocab, beginning.masks, beginning.depths, recipe.soft_masks)
        self.learner = Learner(self.accelerator, recipe, trainee, filler)
        self.step = 0

    # --- state ---

    def resume(self) -> None:
        """Go on from the last saved state, if there is one."""
        state, old = self.folder / "state", self.folder / "state.old"
        if self.accelerator.is_main_process and not state.exists() and old.exists():
            old.rename(state)  # a crash between the two renames of save_state
        self.accelerator.wait_for_everyone()
        if not state.exists():
            return
        self.accelerator.load_state(str(state))
        rest = torch.load(self._rest(state), map_location="cpu", weights_only=True)
        self.step = rest["step"]
        for name, part in self._parts().items():
            part.load_state_dict(rest[name])

    def save_state(self) -> None:
        """Write beside, then rename: a crash leaves the last state whole."""
        beside, state, old = (self.folder / name for name in ("state.new", "state", "state.old"))
        if self.accelerator.is_main_process:
            shutil.rmtree(beside, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(beside))
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        torch.save({"step": self.step, **parts}, self._rest(beside))
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        shutil.rmtree(old, ignore_errors=True)
        if state.exists():
            state.rename(old)
        beside.rename(state)
        shutil.rmtree(old, ignore_errors=True)

    def _parts(self) -> dict[str, WeightAverage | RateFactors]:
        """What has a state beside the model and its optimizer."""
        parts = {"average": self.learner.average, "factors": self.learner.factors}
        return {name: part for name, part in parts.items() if part is not None}

    def _rest(self, state: Path) -> Path:
        """Averages are those of a process's own shards, so every process has a file."""
        return state / f"rest_{self.accelerator.process_index}.pt"

    # --- training ---

    def train(self, minutes_between_states: float = 5.0) -> None:
        """To the end of the recipe, from wherever the run stands.

        Raises :class:`Interrupted`, with the state saved, behind the step in which SIGINT or SIGTERM comes, and
        :class:`GeneralistError` when a loss is not finite.
        """
        with ExitStack() as stack:
            log = stack.enter_context(Log(self.folder, self.recipe, self.step)) if self._is_first() else None
            interrupted = stack.enter_context(interruptions())
            saved = time.monotonic()
            batches = upcoming(self.scenes, self.accelerator.process_index, self.step, self.workers)
            for batch in batches:
                is_time = time.monotonic() - saved > 60 * minutes_between_states
                report = self.learner.learn(self.step, batch, (interrupted(), is_time))
                self.step += 1
                if log is not None:
                    log.add(self.step, report)
                if self.step % _TRIM_EVERY == 0:
                    give_memory_back()
                ends, saves = report.wishes  # the processes agree: each saves its part
                if saves or ends:
                    self.save_state()
                    saved = time.monotonic()
                if ends:
                    raise Interrupted(f"interrupted after step {self.step} of {self.recipe.steps}; the state is saved")
        self.save_state()

    def _is_first(self) -> bool:
        return bool(self.accelerator.is_main_process)

    # --- the result ---

    def export(self) -> Path:
        """After training: write the plain model, in bfloat16, with processor, vocabulary, codecs and taught names.

        Every process takes part; the first writes. Returns the checkpoint's folder, which appears when it is whole.
        """
        folder, beside = self.folder / CHECKPOINT, self.folder / f"{CHECKPOINT}.new"
        average = self.learner.average
        with average.in_place() if average is not None else nullcontext():
            state = self.accelerator.get_state_dict(self.learner.trainee)
            vocab = self.beginning.vocab
            folded = with_all_refs(folded_state(state, vocab), vocab) if self._is_first() else {}
        if not self._is_first():
            return folder
        model = GeneralistForConditionalGeneration(self.config)
        model.load_state_dict(folded)
        processor = GeneralistProcessor.for_model(self.config, self.beginning.vocab)
        shutil.rmtree(beside, ignore_errors=True)
        save_checkpoint(beside, model, processor, self.beginning.vocab, dtype=torch.bfloat16)
        self.beginning.masks.save(beside / mask.FILE)
        self.beginning.depths.save(beside / depth.FILE)
        (beside / "names.txt").write_text("".join(f"{name}\n" for name in self.taught), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
        return folder


def _accelerator(recipe: Recipe) -> Accelerator:
    try:
        accelerator = Accelerator(mixed_precision=recipe.precision)
    except ValueError as error:
        raise GeneralistError(f"--precision {recipe.precision}: {error}; use --precision no") from error
    spread = accelerator.distributed_type
    if spread not in _SPREADS or (spread == DistributedType.FSDP and not accelerator.is_fsdp2):
        raise GeneralistError(
            f"accelerate is configured for {spread.value}; train on one process, with DDP, or with FSDP of version 2"
        )
    if spread == DistributedType.FSDP and recipe.agvm and recipe.accumulate == 1:
        raise GeneralistError("--agvm under FSDP compares the halves of each process's batches; add --accumulate 2")
    return accelerator


def give_memory_back() -> None:
    """Let glibc return freed memory to the system.

    The sizes of a step's tensors vary, and those below 32 MB come from a heap that otherwise only grows: on a CPU by
    some megabytes a step, to twice of what is in use.
    """
    trim = getattr(_C_LIBRARY, "malloc_trim", None)
    if trim is not None:
        trim(0)
