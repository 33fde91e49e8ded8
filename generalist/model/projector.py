"""From the vision tower's tokens to the language model's: merge neighbours, then one or two linear layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from generalist.model.configuration import GeneralistConfig, vision_grid, vision_width

Linear = Callable[[int, int], nn.Module]


class Projector(nn.Module):
    """[B, rows * columns, vision width] -> [B, num_image_tokens, text width].

    ``linear`` makes a linear layer with bias from its widths, so that an inference engine can use its own.
    """

    def __init__(self, config: GeneralistConfig, linear: Linear = nn.Linear) -> None:
        super().__init__()
        self.merge = config.projector_merge
        self.grid = vision_grid(config.vision_config)
        width_in = vision_width(config.vision_config) * self.merge**2
        width_out = config.text_config.hidden_size
        hidden = config.projector_hidden
        self.fc1 = linear(width_in, width_out if hidden is None else hidden)
        self.fc2 = None if hidden is None else linear(hidden, width_out)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.merge > 1:
            tokens = merge_neighbours(tokens, self.grid, self.merge)
        tokens = self.fc1(tokens)
        return tokens if self.fc2 is None else self.fc2(functional.gelu(tokens))


def merge_neighbours(tokens: torch.Tensor, grid: tuple[int, int], merge: int) -> torch.Tensor:
    """[B, R*C, D] -> [B, R/m * C/m, m*m*D]: each m x m square becomes one token, row-major inside too."""
    batch, _, width = tokens.shape
    rows, columns = grid[0] // merge, grid[1] // merge
    squares = tokens.view(batch, rows, merge, columns, merge, width).transpose(2, 3)  # [B, R/m, C/m, m, m, D]
    return squares.reshape(batch, rows * columns, merge * merge * width)
