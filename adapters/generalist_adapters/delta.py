"""Delta m: how much better or worse many tasks are than each alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from generalist.types import GeneralistError


def delta_m(figures: Mapping[str, float], alone: Mapping[str, float], lower_is_better: Collection[str] = ()) -> float:
    """Mean over tasks of the relative change against a model of the task alone, in per cent, better above 0.

    The measure of Maninis et al. 2019 ("Attentive Single-Tasking of Multiple Tasks") that MTLoRA reports (Agiza et al.
    2024): a task's change counts with a minus where lower is better.

    Args:
        figures: one figure a task.
        alone: the same figures of the single-task models; none of them 0.
        lower_is_better: the tasks whose figure is an error.

    Raises:
        GeneralistError: the tasks differ, there are none, or a figure cannot be compared.
    """
    if not figures or figures.keys() != alone.keys():
        raise GeneralistError(f"figures are of {sorted(figures)}, single-task figures of {sorted(alone)}; use the same")
    if unknown := set(lower_is_better) - figures.keys():
        raise GeneralistError(f"lower_is_better names {sorted(unknown)}; use {', '.join(sorted(figures))}")
    changes = []
    for task, value in figures.items():
        reference = alone[task]
        if not (math.isfinite(value) and math.isfinite(reference)) or reference == 0:
            raise GeneralistError(f"{task}: {value} cannot be compared with {reference}; use finite figures, none 0")
        change = (value - reference) / reference
        changes.append(-change if task in lower_is_better else change)
    return 100 * math.fsum(changes) / len(changes)
