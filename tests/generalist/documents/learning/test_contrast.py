"""What the encoder learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from generalist.documents import Collection
from generalist.documents.bases import load_base
from generalist.documents.learning import contrast as module
from generalist.documents.learning.contrast import Contrast
from generalist.documents.learning.fit import Fit, Schedule
from generalist.documents.learning.material import Material
from generalist.documents.learning.pairs import Pair, Pairs
from generalist.documents.network import load_network, with_update
from generalist.documents.words import Words


@pytest.fixture
def contrast(llama: Path, notes: Collection, material: Material) -> Contrast:
    part = notes.index.manifest.words
    assert part is not None
    network = with_update(load_network(load_base(llama), "cpu"), rank=8, seed=0)
    return Contrast(network, Pairs(material, 0), Words.open(notes.index.folder / part.folder), batch=4)


def test_others_share_words_and_are_others(contrast: Contrast, material: Material) -> None:
    rng = np.random.default_rng(0)
    number = material.of_document[0][0]
    found = {contrast._hard(Pair(question="a fox in Lima", sentence=number), 0, rng) for _ in range(40)}
    assert found == {1}  # of the hen, who came to Lima
    assert contrast._hard(Pair(question="unicorn", sentence=number), 0, rng) is None


def test_the_sentence_itself_is_read_half_of_the_time(contrast: Contrast, material: Material) -> None:
    number = material.of_document[3][0]
    year, title = "1903", "The cow"
    tokenizer = contrast.network.base.tokenizer
    rows = [contrast._stretch(Pair(question="", sentence=number), np.random.default_rng(k)) for k in range(100)]
    read = [tokenizer.decode(row) for row in rows]
    assert 25 < sum(year in one for one in read) < 75
    assert all(one.startswith(title) for one in read)
    assert all(len(row) <= module.STRETCH[1] + module.STRETCH[0] for row in rows)


def test_the_same_document_twice_is_no_negative(contrast: Contrast, monkeypatch: pytest.MonkeyPatch) -> None:
    same = [(Pair(question="the fox", sentence=0), np.random.default_rng(0)) for _ in range(3)]
    monkeypatch.setattr(contrast, "_hard", lambda *arguments: None)
    with torch.inference_mode():
        assert float(contrast._loss(same)) == pytest.approx(0, abs=1e-6)


def test_it_is_learnt(contrast: Contrast, tmp_path: Path) -> None:
    losses: list[float] = []
    fit = Fit(contrast.network, contrast, Schedule(steps=50, learning_rate=1e-2))
    fit.run(tmp_path / "state.pt", notice=lambda step, loss: losses.append(loss))
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])
