"""Which parameters learn how: modules with rates of their own, and two optimizers that act as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

# Beginnings of the names of a Trainee's parameters; the first that fits counts.
_MODULES: dict[str, tuple[str, ...]] = {
    "vision": ("model.model.vision_tower.",),
    "projector": ("model.model.projector.", "name_head."),
    "language": ("model.model.language_model.",),
    "embeddings": ("token_embedding", "loc_projection.", "output."),
    "heads": ("",),
}
MODULES = tuple(_MODULES)
_BLOCKS = ("model.model.vision_tower.blocks.", "model.model.language_model.layers.")


def module_of(name: str) -> str:
    """The module of a parameter of :class:`~generalist.training.trainee.Trainee`, by its name."""
    return next(module for module, beginnings in _MODULES.items() if name.startswith(beginnings))


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for the matrices of the transformer blocks, AdamW for everything else.

    One optimizer to the outside, as wrappers for several processes expect. Each group of parameters has the
    ``module`` of its parameters.
    """

    def __init__(self, named_parameters: Iterable[tuple[str, torch.nn.Parameter]], rate: float) -> None:
        trained = [(name, p) for name, p in named_parameters if p.requires_grad]
        matrices = [(name, p) for name, p in trained if p.ndim == 2 and name.startswith(_BLOCKS)]
        others = [(name, p) for name, p in trained if not (p.ndim == 2 and name.startswith(_BLOCKS))]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(_groups(matrices), lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(_groups(others), lr=rate, betas=(0.9, 0.98), weight_decay=0.02),
        ]
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = closure() if closure is not None else None
        self._share()
        for part in self.parts:
            part.step()
        return loss

    def _share(self) -> None:
        """The parts work on the groups and the state of the whole, which loading and wrapping replace."""
        first = len(self.parts[0].param_groups)
        self.parts[0].param_groups, self.parts[1].param_groups = self.param_groups[:first], self.param_groups[first:]
        for part in self.parts:
            part.state = self.state


def _groups(parameters: Iterable[tuple[str, torch.nn.Parameter]]) -> list[dict[str, Any]]:
    by_module: dict[str, list[torch.nn.Parameter]] = {}
    for name, parameter in parameters:
        by_module.setdefault(module_of(name), []).append(parameter)
    return [{"params": group, "module": module} for module, group in by_module.items()]
