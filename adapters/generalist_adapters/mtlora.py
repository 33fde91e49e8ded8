"""MTLoRA: low-rank updates that all tasks share beside some of each task's own (Agiza et al., MTLoRA, CVPR 2024).

``h = W x + scale * (B_s A_s x + B_t A_t x)``, the second term where task t has one. For one task that is an ordinary
LoRA of rank r_s + r_t, and it is saved as such.

Where, as in the paper for hierarchical towers: shared updates in every linear layer of every block; a task's own in
the last block of each stage, in all its layers but those of queries, keys and values, so that tasks look at the same
things and make different use of them. With ``patch_merging`` (MTLoRA+) the layers between stages share an update too.

The same rule elsewhere: the depth of a plain ViT or a language model is cut into four stages (as many as it has blocks
when these are fewer); the linear patch embedding of our tower counts as a layer between stages; the projector, the last
that an image passes, gets both.
"""

from __future__ import annotations

from collections.abc import Sequence

from generalist.model import GeneralistForConditionalGeneration
from generalist_adapters.attached import Attached, check_tasks
from generalist_adapters.config import MethodConfig
from generalist_adapters.layers import Layer, linear_layers
from generalist_adapters.lora import PeftAttached, set_name


class MultiTaskLora:
    """Shared and task-specific low-rank updates."""

    name = "mtlora"
    merges = True

    def attach(
        self, model: GeneralistForConditionalGeneration, config: MethodConfig, tasks: Sequence[str], seed: int
    ) -> Attached:
        """See :class:`~generalist_adapters.methods.Method`."""
        shared, own = placement(model, config)
        sets = {"shared": (config.shared_rank, shared)}
        sets |= {set_name(task): (config.task_rank, own) for task in check_tasks(tasks)}
        return PeftAttached(model, config, tasks, seed, method=self.name, sets=sets, by_task=True)


def placement(model: GeneralistForConditionalGeneration, config: MethodConfig) -> tuple[list[str], list[str]]:
    """The layers with a shared update, and those of them in which every task has its own."""
    shared: list[str] = []
    own: list[str] = []
    for part in config.targets:
        for layer in linear_layers(model, part):
            if layer.in_block or part == "projector" or config.patch_merging:
                shared.append(layer.name)
            if part == "projector" or _is_task_specific(layer):
                own.append(layer.name)
    return shared, own


def _is_task_specific(layer: Layer) -> bool:
    return layer.in_block and layer.ends_stage and not layer.feeds_attention
