"""What an adapter of the language model learns from: the base's losses on the tokens of answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from generalist.model import GeneralistForConditionalGeneration, GeneralistProcessor
from generalist.tokens import Vocabulary
from generalist.training.batches import CodeFiller
from generalist.training.examples import Batch, block_causal_mask
from generalist.training.losses import token_loss
from generalist_adapters.finetune.augment import NOTHING, vary
from generalist_adapters.finetune.looking import Looking
from generalist_adapters.finetune.packing import PicturePacker, Row, collate
from generalist_adapters.finetune.questions import ask
from generalist_adapters.finetune.replay import Replay
from generalist_adapters.finetune.schedule import Material, Schedule
from generalist_adapters.finetune.standing import Standing
from generalist_adapters.methods import Attached

_SIGMA = 1.5
"""Spread of location targets in bins, as at the end of base training."""
_AT_ONCE = 4
"""Rows that are read together; a step adds up the gradients of several such batches."""
_SCENES = 48
"""From which it is learnt how the base says where things are."""
_SHOWN_PICTURES = 2
_LONGEST = 240
"""Letters of an answer that are shown."""


class Trainer(Standing):
    """A model with an adapter in it that learns to write."""

    def __init__(
        self,
        model: GeneralistForConditionalGeneration,
        processor: GeneralistProcessor,
        attached: Attached,
        filler: CodeFiller,
        material: Material,
        schedule: Schedule,
        *,
        by_task: bool = False,
    ) -> None:
        super().__init__(attached, material, schedule)
        self.model, self.processor = model, processor
        self.vocab: Vocabulary = filler.vocab
        self.filler = filler.to(model.device).requires_grad_(False).eval()
        self.by_task = by_task
        self.packer = PicturePacker(self.vocab, model.config.grid, material.classes)
        self.looking = Looking(model, self.vocab, material.classes)
        if material.replay is not None and material.pictures:
            self.looking.fit_place(self._known_scenes(material.replay))

    def _known_scenes(self, make: Replay) -> list[Batch]:
        """Scenes of the base's world, whatever is trained."""
        self.model.train(False)
        rows = [make(np.random.default_rng([self.schedule.seed, _SCENES, k]), None) for k in range(_SCENES)]
        return [self._batch(rows[start : start + _AT_ONCE]) for start in range(0, _SCENES, _AT_ONCE)]

    def _batch(self, rows: Sequence[Row]) -> Batch:
        batch = collate(rows, self.vocab, self.processor)
        return {name: values.to(self.model.device) for name, values in batch.items()}

    # --- one step ---

    def rows(self, step: int, task: str | None = None) -> list[Row]:
        """What a step learns from: pictures of the user's, in a new order every time round, and scenes."""
        schedule, material = self.schedule, self.material
        tasks = material.tasks if task is None else (task,)
        scenes = schedule.replayed if material.replay is not None else 0
        rows = []
        for slot in range(schedule.batch_size):
            rng = np.random.default_rng([schedule.seed, step, slot])
            if slot < scenes:
                assert material.replay is not None
                rows.append(material.replay(rng, None if task is None else tasks))
                continue
            picture = material.pictures[self.picture(step * (schedule.batch_size - scenes) + slot - scenes)]
            questions = ask(rng, vary(rng, picture, schedule.augmentation), material.classes, tasks)
            rows.append(self.packer.pack(picture, questions))
        return rows

    def batches(self, step: int) -> list[Batch]:
        """The rows of a step, sorted by length, a few at a time: less padding, and less memory."""
        task = self._task(step)
        self.attached.set_task(task)
        rows = sorted(self.rows(step, task), key=len)
        return [self._batch(rows[start : start + _AT_ONCE]) for start in range(0, len(rows), _AT_ONCE)]

    def _task(self, step: int) -> str | None:
        """Where tasks have weights of their own a step is one task's; each has its turn."""
        return self.material.tasks[step % len(self.material.tasks)] if self.by_task else None

    def loss(self, batch: Batch, totals: dict[str, float]) -> torch.Tensor:
        """A batch's part of the mean loss of answers' tokens, weighted by their kind, and of where to look.

        ``totals``: how much all batches of the step ask; see :meth:`totals`.
        """
        targets = self.filler(batch)
        precision = torch.bfloat16 if self.schedule.precision == "bf16" else torch.float32
        with torch.autocast(self.model.device.type, precision, enabled=precision != torch.float32):
            seen = self.model.get_image_features(batch["pixel_values"])
            assert seen.last_hidden_state is not None and seen.pooler_output is not None
            with self.looking.recording():
                states = self.model.model(
                    input_ids=batch["ids"],
                    image_features=seen.pooler_output,
                    attention_mask=block_causal_mask(batch["segments"]),
                    position_ids=batch["positions"],
                    use_cache=False,
                ).last_hidden_state
            following = torch.cat([batch["weights"][:, 1:], torch.zeros_like(batch["weights"][:, :1])], dim=1)
            selected = following.flatten().nonzero()[:, 0]
            logits = self.model.lm_head(states.flatten(0, 1)[selected])
        said = {"selected": selected, "logits": logits}
        token, _ = token_loss(said, batch, self.vocab, targets, _SIGMA)
        return token / totals["token"] + self.looking.loss(batch, seen.last_hidden_state, seen.pooler_output, totals)

    def totals(self, batches: Sequence[Batch]) -> dict[str, float]:
        """How much all batches of a step ask of each loss."""
        asked = [{"token": float(batch["weights"][:, 1:].sum()), **self.looking.asked(batch)} for batch in batches]
        return {name: max(sum(one[name] for one in asked), 1e-6) for name in asked[0]}

    def descend(self) -> float:
        """The loss of this step, with its gradients in the parameters."""
        self.model.train()
        batches = self.batches(self.step)
        totals, value = self.totals(batches), 0.0
        for batch in batches:
            loss = self.loss(batch, totals)
            loss.backward()
            value += float(loss.detach())
        return value

    def describe(self) -> Iterator[str]:
        """Questions and answers about a few pictures, and the first batch."""
        for number, picture in enumerate(self.material.pictures[:_SHOWN_PICTURES]):
            rng = np.random.default_rng([self.schedule.seed, number])
            yield f"picture {picture.id}, {picture.image.width}x{picture.image.height} pixels:"
            for asked in ask(rng, vary(rng, picture, NOTHING), self.material.classes, self.material.tasks):
                said = asked.answer_text
                yield f"  [{asked.task}] {asked.text} -> {said if len(said) <= _LONGEST else said[:_LONGEST] + '...'}"
        rows = self.rows(0)
        yield f"a batch: {len(rows)} images, {self.schedule.replayed} of them repeated; tokens a row: " + (
            ", ".join(str(len(row)) for row in rows)
        )
