"""What a visual head learns from: the pictures and variations that any adapter gets, with their labels as maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from generalist.heads.head import Head, Names, preprocess_of
from generalist.model import Checkpoint
from generalist_adapters.attached_head import AttachedHead
from generalist_adapters.finetune.augment import vary
from generalist_adapters.finetune.head_losses import loss_of, things_of, usual_sides
from generalist_adapters.finetune.pictures import Picture
from generalist_adapters.finetune.schedule import Material, Schedule
from generalist_adapters.finetune.standing import Standing
from generalist_datasets.record_samples import counted


class HeadTrainer(Standing):
    """A head that learns to draw. The tower is only read."""

    def __init__(self, attached: AttachedHead, material: Material, schedule: Schedule) -> None:
        super().__init__(attached, material, schedule)
        self.head = attached.head

    def descend(self) -> float:
        """The loss of this step, with its gradients in the parameters."""
        self.head.network.train()
        pictures = [self._varied(slot) for slot in range(self.schedule.batch_size)]
        pixels = self.head.preprocess([picture.image for picture in pictures]).to(self.head.pyramid.device)
        maps = self.head.network(self.head.pyramid.read(pixels), pixels)
        loss = loss_of(maps, pictures, self.head.names.boxes, self.head.names.masks)
        loss.backward()
        return float(loss.detach())

    def _varied(self, slot: int) -> Picture:
        schedule = self.schedule
        rng = np.random.default_rng([schedule.seed, self.step, slot])
        picture = self.material.pictures[self.picture(self.step * schedule.batch_size + slot)]
        return vary(rng, picture, schedule.augmentation)

    def describe(self) -> Iterator[str]:
        """Classes, and the maps that are read."""
        names = self.head.names
        for kind, classes in (("boxes", names.boxes), ("masks", names.masks)):
            yield f"classes of {kind}: {', '.join(classes) or 'none'}"
        for level in self.head.pyramid.levels:
            yield f"reads {level.name}: {level.channels} channels of {level.rows} x {level.columns} cells"
        yield f"a batch: {self.schedule.batch_size} images"


def new_head(checkpoint: Checkpoint, pictures: Sequence[Picture], tasks: Sequence[str], seed: int) -> AttachedHead:
    """A head for what is labelled in ``pictures`` and asked for in ``tasks``, before it learns."""
    head = Head.new(checkpoint.model, preprocess_of(checkpoint.processor), _names(pictures, tasks), seed)
    images = [picture.image for picture in pictures]
    head.network.standardise(head.pyramid.read(head.preprocess(images)), usual_sides(pictures))
    return AttachedHead(checkpoint.model, head, tasks, checkpoint.vocabulary.hash)


def _names(pictures: Sequence[Picture], tasks: Sequence[str]) -> Names:
    regions = [region for picture in pictures for region in picture.masks]
    boxes = sorted({region.label for picture in pictures for region in things_of(picture)})
    masks = sorted({region.label for region in regions})
    every = list(dict.fromkeys([*boxes, *masks]))
    return Names(
        boxes=tuple(boxes),
        masks=tuple(masks),
        stuff=tuple(sorted({region.label for region in regions if region.stuff})),
        # a class keeps its own name where it is the plural of another's
        said={**{counted(name).lower(): name for name in every}, **{name.lower(): name for name in every}},
        tasks=tuple(tasks),
    )
