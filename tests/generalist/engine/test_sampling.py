import math
from collections import Counter

import pytest
import torch

from generalist.engine.rows import Allowed
from generalist.engine.sampling import choose, keep_only, mask_logits
from generalist.types import Sampling

LOGITS = torch.tensor([[0.0, math.log(2), -math.inf, math.log(4), math.log(3)]])  # 0.1, 0.2, never, 0.4, 0.3
LAST = 1 - 2**-24  # the largest draw there is


def drawn(sampling: Sampling, draws: int = 2000) -> dict[int, float]:
    ids, _ = choose(LOGITS.repeat(draws, 1), sampling, [(i + 0.5) / draws for i in range(draws)])
    return {token: round(count / draws, 2) for token, count in sorted(Counter(ids).items())}


@pytest.mark.parametrize("size", [31, 32, 33, 70])
def test_a_mask_touches_its_own_row_only(size: int) -> None:
    logits = torch.zeros(
        3, size + 5, dtype=torch.bfloat16
    )  # a model's embedding may have more rows than the vocabulary
    allowed = Allowed(3, size)
    allowed.bits[1] = 0
    masked = mask_logits(logits, allowed.bits, size)
    assert [int(row.isfinite().sum()) for row in masked] == [size, 0, size]
    assert masked[2, :size].isfinite().all()
    assert masked.dtype == torch.float32


def test_greedy_takes_the_best() -> None:
    ids, logprobs = choose(LOGITS, Sampling(), [])
    assert ids == [3]
    assert logprobs == pytest.approx([math.log(0.4)])


def test_draws_follow_the_probabilities() -> None:
    assert drawn(Sampling(temperature=1)) == {0: 0.1, 1: 0.2, 3: 0.4, 4: 0.3}


def test_temperature_sharpens() -> None:
    assert drawn(Sampling(temperature=0.5)) == {0: 0.03, 1: 0.13, 3: 0.53, 4: 0.3}
    assert drawn(Sampling(temperature=1e-30)) == {3: 1.0}


def test_top_k_keeps_the_k_best() -> None:
    assert drawn(Sampling(temperature=1, top_k=2)) == {3: 0.57, 4: 0.43}
    assert drawn(Sampling(temperature=1, top_k=100)) == drawn(Sampling(temperature=1))


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.01, {3: 1.0}), (0.39, {3: 1.0}), (0.5, {3: 0.57, 4: 0.43}), (0.75, {1: 0.22, 3: 0.44, 4: 0.33})],
)
def test_top_p_keeps_the_fewest_that_reach_it(top_p: float, kept: dict[int, float]) -> None:
    assert drawn(Sampling(temperature=1, top_p=top_p)) == kept


def test_top_p_counts_within_top_k() -> None:
    assert drawn(Sampling(temperature=1, top_k=2, top_p=0.56)) == {3: 1.0}


@pytest.mark.parametrize("sampling", [Sampling(temperature=1), Sampling(temperature=9, top_p=0.999), Sampling()])
def test_what_is_not_allowed_is_never_chosen(sampling: Sampling) -> None:
    only = torch.full((2, 50), -math.inf)
    only[:, 20] = -7.0
    ids, logprobs = choose(only, sampling, [0.0, LAST])
    assert (ids, logprobs) == ([20, 20], [0.0, 0.0])


def test_the_log_probability_is_the_models_whatever_the_sampling() -> None:
    ids, logprobs = choose(LOGITS, Sampling(temperature=3, top_k=2, top_p=0.9), [LAST])
    assert ids == [4]
    assert logprobs == pytest.approx([math.log(0.3)])


def test_keep_only() -> None:
    inf = math.inf
    for logits, ids, expected in (
        ([1.0, 2.0, 3.0, 4.0], [1, 3], [-inf, 2.0, -inf, 4.0]),
        ([1.0, -inf, 3.0, 4.0], [0, 1], [1.0, -inf, -inf, -inf]),
        ([1.0, -inf, 3.0, -inf], [1, 3], [-inf, -inf, 0.0, -inf]),  # both forbid everything: the end
        ([1.0, 2.0, 3.0, 4.0], [], [-inf, -inf, 0.0, -inf]),
    ):
        row = torch.tensor(logits)
        keep_only(row, torch.tensor(ids, dtype=torch.int64), end=2)
        assert row.tolist() == expected


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_not_to_be_chosen_still_counts(temperature: float) -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0]])
    among = torch.tensor([[-math.inf, 1.0, -math.inf]])
    (token,), (logprob,) = choose(logits, Sampling(temperature=temperature), [0.5], among)
    assert token == 1
    assert logprob == pytest.approx(float(logits.log_softmax(-1)[0, 1]))
