"""Where to look, taught beside what to say: losses on image tokens that vanish at inference.

They are those of base training, as far as the base can still be asked for them:

* attention: a few heads of the language model look at what the next token speaks of
  (:func:`generalist.training.attention.attention_loss`);
* name: what the projector adds to an image token resembles the name of the class that it shows;
* place: an image token says where the box of its thing is, in the way that the base's tokens say it of scenes that it
  knows (a linear map, fitted on such scenes and then left alone), which is how the language model reads it.

From a few pictures these say much more than the words of the answers alone: which patch shows what, rather than which
number comes next.

Shapes: B images, n image tokens, C classes, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from generalist.model import GeneralistForConditionalGeneration
from generalist.tokens import Vocabulary
from generalist.training.attention import attention_loss, attention_queries
from generalist.training.examples import NOTHING, Batch
from generalist.training.trainee import INPUT_SCALE, RECORDED_LAYERS, take_recorded
from generalist_adapters.finetune.pictures import XYXY, Region

ATTENTION, NAME, PLACE = 0.25, 0.1, 2.0
"""Weights of the losses beside that of tokens; names are learnt in a few steps, whatever theirs is."""

_MOST_REGIONS = 62
"""What a token speaks of is kept as bits of an int64."""
_COVERED = 0.35
"""What of a patch a thing covers at least, as in the composed world."""
_SCALE = 4.0
"""Of the distances from a patch to the edges of its thing, as in base training."""
_RIDGE = 1e-2
_SAME = 0.7
"""Overlap from which the box and the mask of a class are taken for one thing."""


class Regions:
    """Numbers for the things of a picture: a box and a mask of the same thing have one."""

    def __init__(self) -> None:
        self.known: list[Region] = []

    def number(self, region: Region) -> int:
        """-1 for what comes when there are as many as can be told apart."""
        for number, other in enumerate(self.known):
            if other.label == region.label and _overlap(other.xyxy, region.xyxy) >= _SAME:
                if other.mask is None and region.mask is not None:
                    self.known[number] = region  # it says better where the thing is
                return number
        if len(self.known) == _MOST_REGIONS:
            return NOTHING
        self.known.append(region)
        return len(self.known) - 1

    def patches(self, grid: tuple[int, int]) -> np.ndarray:
        """The region that each image token shows, int64 [n]; the smallest where there are several, -1 for none."""
        shown = np.full(grid, NOTHING, np.int64)
        cover = [_cover(region, grid) for region in self.known]
        for number in sorted(range(len(cover)), key=lambda k: -float(cover[k].sum())):
            shown[cover[number] >= _COVERED] = number
        return shown.ravel()

    def boxes(self, patches: np.ndarray) -> np.ndarray:
        """The box of what each image token shows, float32 [n, 4], NaN for none."""
        known = np.array([*(region.xyxy for region in self.known), (np.nan,) * 4], np.float32)
        return known[patches]  # -1 is the last


def _cover(region: Region, grid: tuple[int, int]) -> np.ndarray:
    """How much of each patch a region covers, float [rows, columns]."""
    rows, columns = grid
    if region.mask is not None:
        mask = Image.fromarray(region.mask.astype(np.uint8) * 255)
        return np.asarray(mask.resize((columns, rows), Image.Resampling.BOX), np.float32) / 255
    x1, y1, x2, y2 = region.xyxy
    across = _shared(np.arange(columns) / columns, 1 / columns, x1, x2)
    down = _shared(np.arange(rows) / rows, 1 / rows, y1, y2)
    return (down[:, None] * across[None]).astype(np.float32)


def _shared(starts: np.ndarray, width: float, low: float, high: float) -> np.ndarray:
    """The part of each cell of a line that lies between ``low`` and ``high``."""
    return np.clip(np.minimum(starts + width, high) - np.maximum(starts, low), 0, None) / width


def _overlap(a: XYXY, b: XYXY) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / either if either > 0 else 0.0


class Looking:
    """The losses for a model; those that it is not made for are left out.

    Attention is taught where the language model has layers enough and a key for every query, and the tokens of an
    image form a square; names where the projector is one square layer, which then began as the identity.
    """

    def __init__(self, model: GeneralistForConditionalGeneration, vocab: Vocabulary, classes: Sequence[str]) -> None:
        self.model, self.vocab = model, vocab
        text, (rows, columns) = model.config.text_config, model.config.grid
        heads = getattr(text, "num_attention_heads", 0)
        self.attends = (
            rows == columns
            and getattr(text, "num_hidden_layers", 0) > max(RECORDED_LAYERS)
            and getattr(text, "num_key_value_heads", heads) == heads
            and hasattr(model.model.language_model, "layers")
        )
        projector = model.model.projector
        self.names = projector.fc2 is None and projector.merge == 1 and _is_square(projector.fc1) and bool(classes)
        both = [[*vocab.encode_text(name), *vocab.encode_text(f" {name}")] for name in classes]
        starts = np.cumsum([0, *(len(ids) for ids in both)])[:-1]
        self._place: torch.Tensor | None = None
        """[D + 1, 4], the last row a bias."""
        rows_, columns_ = (torch.arange(k, device=model.device) for k in (rows, columns))
        y, x = torch.meshgrid((rows_ + 0.5) / rows, (columns_ + 0.5) / columns, indexing="ij")
        self._centres = torch.stack([x, y, x, y], dim=-1).flatten(0, 1)  # [n, 4]
        self._tokens = torch.tensor([i for ids in both for i in ids], dtype=torch.long, device=model.device)
        self._starts = torch.tensor(starts, dtype=torch.long, device=model.device)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Within, the language model keeps the queries and keys that :meth:`loss` needs."""
        config = self.model.model.language_model.config
        before = config._attn_implementation
        if self.attends:
            config._attn_implementation = "generalist_recording"
        try:
            yield
        finally:
            config._attn_implementation = before

    @torch.no_grad()
    def fit_place(self, batches: Sequence[Batch]) -> None:
        """Fit how the base's tokens say where their things are, on scenes that it knows; before anything is trained."""
        pairs = []
        for batch in batches:
            seen = self.model.get_image_features(batch["pixel_values"]).last_hidden_state
            assert seen is not None
            pairs.append(self._placed(batch, seen))
        tokens = torch.cat([inside for inside, _ in pairs]).double()
        wanted = torch.cat([place for _, place in pairs]).double()
        if not len(tokens):
            return
        inside = torch.cat([tokens, torch.ones_like(tokens[:, :1])], dim=1)
        squares = inside.t() @ inside
        ridge = _RIDGE * squares.diagonal().mean() * torch.eye(len(squares), device=squares.device)
        self._place = torch.linalg.solve(squares + ridge, inside.t() @ wanted).float()

    def _placed(self, batch: Batch, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens [P, D] that show a thing, and where its edges are from them [P, 4]."""
        shown = batch["boxes"].isfinite().all(2)
        return tokens[shown].float(), ((batch["boxes"] - self._centres) * _SCALE)[shown]

    def asked(self, batch: Batch) -> dict[str, float]:
        """How much a batch asks of each loss."""
        queries = len(attention_queries(batch, self.vocab.sizes.depth_grid)[0]) if self.attends else 0
        return {
            "attention": float(queries),
            "name": float((batch["classes"] != NOTHING).sum()) if self.names else 0.0,
            "place": float(batch["boxes"].isfinite().sum()) if self._place is not None else 0.0,
        }

    def loss(
        self, batch: Batch, tokens: torch.Tensor, features: torch.Tensor, totals: dict[str, float]
    ) -> torch.Tensor:
        """This batch's part of all losses; ``tokens`` [B, n, D] of the tower and ``features`` [B, n, D] projected."""
        loss = torch.zeros((), device=features.device)
        if self.attends:
            loss = loss + ATTENTION * attention_loss(self, batch) / totals["attention"]
        if self.names:
            loss = loss + NAME * self._name_loss(batch, tokens, features) / totals["name"]
        if self._place is not None:
            inside, wanted = self._placed(batch, tokens)
            said = inside @ self._place[:-1] + self._place[-1]
            wrong = functional.smooth_l1_loss(said, wanted, beta=0.05, reduction="sum")
            loss = loss + PLACE * wrong / totals["place"]
        return loss

    def _name_loss(self, batch: Batch, tokens: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        shown = batch["classes"] != NOTHING
        embeddings = cast(torch.Tensor, self.model.get_input_embeddings().weight)
        names = functional.embedding_bag(self._tokens, embeddings, self._starts, mode="mean")
        # The scale at which base training compares what is added with a name.
        logits = (features[shown] - tokens[shown]).float() @ names.float().t() / INPUT_SCALE
        return functional.cross_entropy(logits, batch["classes"][shown], reduction="sum")

    def take_recorded(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """What :func:`attention_loss` asks for."""
        return take_recorded(self.model)


def _is_square(layer: torch.nn.Module) -> bool:
    return getattr(layer, "in_features", 0) == getattr(layer, "out_features", 1)
