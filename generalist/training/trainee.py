"""The model as it is trained: shared embeddings, and helpers that are folded away or dropped at the end.

* Location tokens are embedded through Fourier features of their coordinate, so neighbouring bins start
  alike and learn together.
* The output layer is a linear map in front of the (shared) token embeddings.
* Each image token gets the name of what it shows added (*injection*): a linear map that is taught to
  match the embedding of the concept's name.
* Auxiliary losses on image tokens (name, box, outline, mask codes, attributes, depth) and on the attention of a few
  heads (look at the thing that you are about to draw) make localisation learnable in minutes.

:func:`folded_state` folds the first three into plain weights of
``GeneralistForConditionalGeneration`` and drops the rest; inference knows nothing of them.

Shapes: B images, L positions, n image tokens, K things an image, D width, V vocabulary, C concepts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from generalist.model import GeneralistForConditionalGeneration
from generalist.model.image_processing import LITE0_MEAN, LITE0_STD
from generalist.tokens import Vocabulary
from generalist.training.attention import attention_loss
from generalist.training.examples import Batch, block_causal_mask
from generalist.training.image_arrays import ATTRIBUTE_SIZES, SHAPE_SIDE
from generalist.training.losses import LOSS_WEIGHTS, named, patch_losses, token_loss
from generalist_datasets.world.scene import MAX_THINGS

RECORDED_LAYERS = (1, 2)
RECORDED_HEADS = 2
INJECTION = 4.0
INPUT_SCALE = 4.0
_FREQUENCIES = 16
_LAST_REFS = 3


def _recording_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, *args: Any, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Scaled dot-product attention that leaves the queries and keys of a few heads on the module."""
    if module.layer_idx in RECORDED_LAYERS:
        module.recorded = (query[:, :RECORDED_HEADS], key[:, :RECORDED_HEADS])
    return sdpa_attention_forward(module, query, key, *args, **kwargs)


ALL_ATTENTION_FUNCTIONS.register("generalist_recording", _recording_attention)


class Trainee(nn.Module):
    """Wraps a model for training. Everything that is trained is used in :meth:`forward`, whatever a batch holds, so
    that wrappers for several processes (DDP, FSDP) see every gradient.

    ``concept_tokens``: token ids of every concept's name. ``trained``: the model's weights are those of an
    earlier training and are gone on from; otherwise they get the start that suits learning from nothing.
    """

    loc_waves: torch.Tensor
    name_tokens: torch.Tensor
    name_starts: torch.Tensor

    def __init__(
        self,
        model: GeneralistForConditionalGeneration,
        vocab: Vocabulary,
        concept_tokens: Sequence[Sequence[int]],
        *,
        trained: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.vocab = vocab
        self._no_split_modules = model._no_split_modules  # what FSDP wraps by itself
        width = model.config.text_config.hidden_size
        model.model.language_model.config._attn_implementation = "generalist_recording"
        frozen = (model.model.vision_tower.stem.features, model.get_input_embeddings(), model.lm_head)
        for module in frozen:
            module.requires_grad_(False)
        self.token_embedding = nn.Parameter(torch.randn(vocab.size, width) * 0.02)
        self.loc_projection = nn.Linear(2 * _FREQUENCIES, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.name_head = nn.Linear(width, width)
        self.background = nn.Parameter(torch.zeros(width))
        self.box_head = nn.Linear(width, 4 * width)
        self.offset_head = nn.Linear(width, 4)
        self.mask_head = nn.Linear(width, vocab.sizes.mask_length * width)
        self.shape_head = nn.Linear(width, SHAPE_SIDE**2)
        self.depth_head = nn.Linear(width, 2)  # within the scene's range, and in metres
        self.attribute_head = nn.Linear(width, sum(ATTRIBUTE_SIZES))
        self.register_buffer("loc_waves", _waves((torch.arange(len(vocab.loc)) + 0.5) / len(vocab.loc)))
        lengths = torch.tensor([0, *(len(ids) for ids in concept_tokens)])
        self.register_buffer("name_tokens", torch.tensor([i for ids in concept_tokens for i in ids]))
        self.register_buffer("name_starts", lengths.cumsum(0)[:-1].clone())
        if trained:
            self._unfold()
        else:
            self._initialise()

    @torch.no_grad()
    def _unfold(self) -> None:
        """The inverse of :func:`folded_state`, as far as one plain weight tells what it was folded from."""
        projector = self.model.model.projector.fc1
        embeddings = self.model.model.language_model.embed_tokens.weight.float() / INPUT_SCALE
        self.token_embedding.copy_(embeddings)
        nn.init.zeros_(self.loc_projection.weight)  # its part is in the embeddings already
        head = self.model.lm_head.weight.float()
        self.output.weight.copy_(torch.linalg.lstsq(embeddings, head).solution)
        # The projector began as the identity, so most of the rest is what names have taught it.
        rest = projector.weight - torch.eye(len(projector.weight))
        self.name_head.weight.copy_(rest / INJECTION)
        self.name_head.bias.copy_(projector.bias / INJECTION)
        nn.init.eye_(projector.weight)
        nn.init.zeros_(projector.bias)

    @torch.no_grad()
    def _initialise(self) -> None:
        nn.init.normal_(self.loc_projection.weight, std=0.05)
        projector = self.model.model.projector.fc1
        nn.init.eye_(projector.weight)
        nn.init.zeros_(projector.bias)
        for layer in self.model.model.language_model.layers:
            # Queries that start equal to keys look for what is like them: names find named patches.
            layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)
            nn.init.normal_(layer.self_attn.o_proj.weight, std=0.01)
            nn.init.normal_(layer.mlp.down_proj.weight, std=0.01)

    def embeddings(self) -> torch.Tensor:
        """[V, D], location tokens with their Fourier part."""
        waves = self.loc_projection(self.loc_waves).to(self.token_embedding.dtype)
        return _with_waves(self.token_embedding, waves, self.vocab.loc)

    def forward(
        self, batch: Batch, mask_targets: torch.Tensor, sigma: float, totals: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Read a batch and judge what is made of it.

        ``mask_targets`` [B, K, mask_length, mask_codes]; ``sigma`` of locations in bins; ``totals`` [losses] how much
        all batches of the step ask (:func:`~generalist.training.losses.loss_totals`). Returns ``loss``, this batch's
        part of what is minimised; ``losses`` [losses], its parts, and ``tallies`` [2, T], both without gradients.
        """
        outputs = self.predict(batch)
        token, by_token = token_loss(outputs, batch, self.vocab, mask_targets, sigma)
        patch, by_patch = patch_losses(self, outputs, batch, mask_targets, sigma)
        sums = {"token": token, **patch, "attention": attention_loss(self, batch, batch["boxes"])}
        losses = {name: sums[name].float() / total for name, total in named(totals).items()}
        return {
            "loss": torch.stack([weight * losses[name] for name, weight in LOSS_WEIGHTS.items()]).sum(),
            "losses": torch.stack([losses[name].detach() for name in LOSS_WEIGHTS]),
            "tallies": torch.cat([by_token, by_patch], dim=1),
        }

    def predict(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Returns ``patches`` [B, n, D], ``embeddings`` [V, D], ``selected`` (flat indices of the positions
        whose next token counts) and their ``logits`` [selected, V].
        """
        pixels = normalise(batch["image"])
        tower = self.model.model.vision_tower
        with torch.no_grad():
            features = tower.stem.extract(pixels)
        patches = tower.encode(tower.stem.embed(features))
        embeddings = self.embeddings()
        ids = batch["ids"]
        read = patches[: len(ids)]  # behind them are images that nothing is asked about
        images = self.model.model.projector(read) + INJECTION * self.name_head(read)
        inputs = functional.embedding(ids, embeddings) * INPUT_SCALE
        is_image = (ids == self.vocab.image).unsqueeze(-1)
        inputs = inputs.masked_scatter(is_image, images.to(inputs.dtype))
        states = self.model.model.language_model(
            inputs_embeds=inputs,
            attention_mask=block_causal_mask(batch["segments"]),
            position_ids=batch["positions"],
            use_cache=False,
        ).last_hidden_state
        following = torch.cat([batch["weights"][:, 1:], torch.zeros_like(batch["weights"][:, :1])], dim=1)
        selected = following.flatten().nonzero()[:, 0]
        logits = self.output(states.flatten(0, 1)[selected]) @ embeddings.t().to(states.dtype)
        return {"patches": patches, "embeddings": embeddings, "selected": selected, "logits": logits}

    def take_recorded(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """See :func:`take_recorded`."""
        return take_recorded(self.model)

    def name_targets(self, embeddings: torch.Tensor) -> torch.Tensor:
        """[1 + C, D], what the name head should give: the background, then the mean of every concept's tokens."""
        names = functional.embedding_bag(self.name_tokens, embeddings, self.name_starts, mode="mean")
        return torch.cat([self.background[None], names]) * INJECTION


def take_recorded(model: GeneralistForConditionalGeneration) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Queries and keys [B, heads, L, head width] of the recorded layers, from the last forward.

    They are taken off the layers, which would keep the whole graph of a step alive until the next one.
    """
    layers = model.model.language_model.layers
    taken = [layers[k].self_attn.recorded for k in RECORDED_LAYERS]
    for k in RECORDED_LAYERS:
        del layers[k].self_attn.recorded
    return taken


@torch.no_grad()
def folded_state(state: Mapping[str, torch.Tensor], vocab: Vocabulary) -> dict[str, torch.Tensor]:
    """From the whole state of a :class:`Trainee`, that of a plain model that computes the same."""
    folded = {name.removeprefix("model."): v.clone() for name, v in state.items() if name.startswith("model.")}
    waves = state["loc_waves"] @ state["loc_projection.weight"].t()
    embeddings = _with_waves(state["token_embedding"], waves, vocab.loc)
    folded["model.language_model.embed_tokens.weight"] = embeddings * INPUT_SCALE
    folded["lm_head.weight"] = embeddings @ state["output.weight"]
    folded["model.projector.fc1.weight"] += INJECTION * state["name_head.weight"]
    folded["model.projector.fc1.bias"] += INJECTION * state["name_head.bias"]
    return folded


@torch.no_grad()
def with_all_refs(folded: Mapping[str, torch.Tensor], vocab: Vocabulary) -> dict[str, torch.Tensor]:
    """A folded state in which every number of a list can be read and written.

    Scenes hold ``MAX_THINGS`` things, so the numbers behind are never written in training, only pushed away from what
    is: they get the mean of the last few that are.
    """
    filled = dict(folded)
    first = vocab.ref.start + MAX_THINGS
    for name in ("model.language_model.embed_tokens.weight", "lm_head.weight"):
        filled[name] = folded[name].clone()
        filled[name][first : vocab.ref.stop] = folded[name][first - _LAST_REFS : first].mean(0)
    return filled


def normalise(image: torch.Tensor) -> torch.Tensor:
    """uint8 [B, S, S, 3] -> float [B, 3, S, S], as the image processor does."""
    mean, std = (torch.tensor(v) for v in (LITE0_MEAN, LITE0_STD))
    pixels = image.permute(0, 3, 1, 2).float() / 255
    return (pixels - mean.to(pixels)[:, None, None]) / std.to(pixels)[:, None, None]


def _with_waves(table: torch.Tensor, waves: torch.Tensor, loc: range) -> torch.Tensor:
    return torch.cat([table[: loc.start], table[loc.start : loc.stop] + waves, table[loc.stop :]])


def _waves(values: torch.Tensor) -> torch.Tensor:
    """[...] in 0-1 -> [..., 2 * frequencies]: sines and cosines, one octave or less apart."""
    frequencies = torch.pi * 2 ** torch.linspace(0, 7, _FREQUENCIES)
    angles = values[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
