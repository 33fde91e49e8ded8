"""Averages of weights."""

from __future__ import annotations

import torch

from generalist.training.averaging import WeightAverage


def test_an_average_follows_and_can_stand_in() -> None:
    weights = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2, 2))]
    average = WeightAverage(weights, decay=0.8)
    for value in range(1, 41):
        for weight in weights:
            weight.data.fill_(float(value))
        average.update()
    expected = 0.0
    for n, value in enumerate(range(1, 41)):
        decay = min(0.8, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    assert 30 < expected < 40
    with average.in_place():
        torch.testing.assert_close(weights[1].detach(), torch.full((2, 2), expected))
    assert all((weight == 40).all() for weight in weights)
    other = WeightAverage(weights, decay=0.8)
    other.load_state_dict(average.state_dict())
    average.update()
    other.update()
    assert all(torch.equal(a, b) for a, b in zip(average.averages, other.averages, strict=True))
