"""Rates by gradient noise."""

from __future__ import annotations

import pytest
import torch

from generalist.training.agvm import RateFactors, gradient_variance, rate_factors


def halves(noise: float, size: int = 4000) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What two halves of a batch give a module: one direction, and noise of its own on each."""
    generator = torch.Generator().manual_seed(int(noise * 100))
    truth = torch.randn(size, generator=generator)
    both = [truth + noise * torch.randn(size, generator=generator) for _ in range(2)]
    first, second = ([half[: size // 4].view(10, -1), half[size // 4 :]] for half in both)
    return first, second


def test_variance_is_how_far_two_halves_disagree() -> None:
    assert gradient_variance(*halves(0.0)) == pytest.approx(0, abs=1e-6)
    for noise in (0.5, 1.0, 3.0):  # the cosine of two noisy copies is 1 / (1 + noise ** 2)
        assert gradient_variance(*halves(noise)) == pytest.approx(1 - 1 / (1 + noise**2), abs=0.03)
    first, _ = halves(1.0)
    assert gradient_variance(first, [-part for part in first]) == pytest.approx(2)
    assert gradient_variance(first, [3 * part for part in first]) == pytest.approx(0, abs=1e-6)
    assert gradient_variance([torch.zeros(3)], [torch.ones(3)]) == 1


def test_the_noisier_module_gets_the_lower_rate() -> None:
    factors = rate_factors({"vision": 0.4, "heads": 0.6, "language": 0.1})
    assert factors == {
        "vision": pytest.approx(1),
        "heads": pytest.approx((0.4 / 0.6) ** 0.5, rel=1e-4),
        "language": pytest.approx(2, rel=1e-4),
    }


def test_factors_are_bounded() -> None:
    factors = rate_factors({"vision": 0.1, "still": 0.0, "wild": 2.0})
    assert factors["still"] == pytest.approx(10**0.5) and factors["wild"] == pytest.approx(0.5**0.5)


def test_factors_follow_slowly_and_are_kept() -> None:
    rates = RateFactors(["vision", "heads"])
    (calm, calm_too), (noisy, noisy_too) = halves(0.5), halves(0.7)
    first, second = {"vision": calm, "heads": noisy}, {"vision": calm_too, "heads": noisy_too}
    wanted = (gradient_variance(calm, calm_too) / gradient_variance(noisy, noisy_too)) ** 0.5
    rates.update(first, second)
    assert rates.factors == {"vision": pytest.approx(1), "heads": pytest.approx(0.97 + 0.03 * wanted, rel=1e-4)}
    again = RateFactors(["vision", "heads"])
    again.load_state_dict(rates.state_dict())
    for _ in range(200):
        again.update(first, second)
    assert again.factors["heads"] == pytest.approx(wanted, rel=0.01)
    assert rates.factors["heads"] > 0.95
