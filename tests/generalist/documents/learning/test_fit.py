"""The loop: the best state is kept, an interrupted run goes on to the same weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from generalist.documents.bases import load_base
from generalist.documents.learning.fit import PATIENCE, Fit, Schedule, seconds_a_step
from generalist.documents.network import Network, load_network, trained, with_update
from generalist.interruptions import Interrupted
from generalist.types import GeneralistError


class Pull:
    """Draws every weight to the number of the step; held-out questions go as ``qualities`` say."""

    def __init__(self, network: Network, qualities: list[float] | None = None, factor: float = 1.0) -> None:
        self.network, self.qualities, self.factor = network, list(qualities or []), factor

    def loss(self, step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(step)
        targets = ((one - torch.rand(one.shape, generator=generator)) ** 2 for one in trained(self.network).values())
        return self.factor * sum((target.mean() for target in targets), torch.zeros(()))

    def look(self) -> float:
        return self.qualities.pop(0) if self.qualities else math.nan


@pytest.fixture
def network(llama: Path) -> Network:
    return with_update(load_network(load_base(llama), "cpu"), rank=2, seed=0)


def weights(network: Network) -> list[torch.Tensor]:
    return [one.detach().clone() for one in trained(network).values()]


def test_an_interrupted_run_ends_in_the_same_weights(llama: Path, tmp_path: Path) -> None:
    ends = []
    for when in (None, 3, 11):
        network = with_update(load_network(load_base(llama), "cpu"), rank=2, seed=0)
        state = tmp_path / f"{when}.pt"
        if when is not None:
            first = Fit(network, Pull(network), Schedule(steps=20, learning_rate=0.01))
            with pytest.raises(Interrupted, match=f"after step {when} of 20"):
                first.run(state, interrupted=lambda fit=first, when=when: fit.step == when)  # type: ignore[misc]
            network = with_update(load_network(load_base(llama), "cpu"), rank=2, seed=9)  # whatever it begins with
        fit = Fit(network, Pull(network), Schedule(steps=20, learning_rate=0.01))
        fit.run(state)
        assert fit.step == 20
        ends.append(weights(network))
    for end in ends[1:]:
        assert all(torch.equal(a, b) for a, b in zip(ends[0], end, strict=True))


def test_the_best_state_is_kept(network: Network, tmp_path: Path) -> None:
    fit = Fit(network, Pull(network, [0.1, 0.9, 0.5, 0.4]), Schedule(steps=4, learning_rate=0.1))
    states = []
    fit.run(tmp_path / "state.pt", notice=lambda step, loss: states.append(weights(network)))
    assert all(torch.equal(a, b) for a, b in zip(weights(network), states[1], strict=True))


def test_it_ends_early_in_the_second_half(network: Network, tmp_path: Path) -> None:
    fit = Fit(network, Pull(network, [0.9, *[0.1] * 30]), Schedule(steps=20, learning_rate=0.01))
    fit.run(tmp_path / "state.pt")
    assert fit.step == max(11, 1 + PATIENCE)


def test_the_rate_rises_and_falls() -> None:
    schedule = Schedule(steps=100, learning_rate=1.0)
    rates = [schedule.rate(step) for step in range(100)]
    assert max(rates) == pytest.approx(1.0) and rates.index(max(rates)) < 10
    assert rates[0] < 0.3 and rates[-1] < 0.2 and min(rates) > 0
    assert Schedule(steps=1, learning_rate=1.0).rate(0) == 1.0


def test_what_is_not_finite_is_said(network: Network, tmp_path: Path) -> None:
    fit = Fit(network, Pull(network, factor=math.inf), Schedule(steps=2, learning_rate=0.01))
    before = weights(network)
    with pytest.raises(GeneralistError, match=r"step 0 is not finite .* use a lower --learning-rate"):
        fit.run(tmp_path / "state.pt")
    assert all(torch.equal(a, b) for a, b in zip(weights(network), before, strict=True))


def test_a_broken_state_is_said(network: Network, tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    state.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(GeneralistError, match=r"cannot go on from this state; remove .* to begin anew"):
        Fit(network, Pull(network), Schedule(steps=2, learning_rate=0.01)).run(state)


def test_timing_learns_nothing(network: Network) -> None:
    before = weights(network)
    assert seconds_a_step(network, Pull(network)) > 0
    assert all(torch.equal(a, b) for a, b in zip(weights(network), before, strict=True))
    assert all(one.grad is None for one in trained(network).values())
