"""Ordering given texts by how well they answer a question, without an index of them.

By words (BM25, rarity counted among the given texts), and by how likely a causal language model finds the question
behind each text (UPR: Sachan et al. 2022, "Improving passage retrieval with zero-shot question generation"). Shapes:
R rows, T positions, V tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from generalist.documents.fusion import K, fuse
from generalist.documents.words import Words
from generalist.types import GeneralistError

if TYPE_CHECKING:
    from generalist.documents.network import Network

MODES = ("hybrid", "lexical", "generative")
READ = 20
"""Texts that the model reads, those with the most words of the question first: each takes as long as a search."""
MOST_TEXT, MOST_QUESTION = 256, 128
"""Tokens of a text that are read, its first, and that a question may have."""
_BATCH = 8
_BEFORE, _BEHIND = "Passage: ", "\nA question that this passage answers: "


class QuestionReader:
    """Says how likely a question is behind a text, by a causal language model. Not for several threads at once."""

    def __init__(self, network: Network) -> None:
        self._model, self._tokenizer = network.model, network.base.tokenizer
        self._longest = network.longest

    def read(self, question: str, texts: Sequence[str]) -> list[float]:
        """The mean natural log-probability of the question's tokens behind each text.

        Raises :class:`GeneralistError` for a question that is too long.
        """
        asked = self._ids(f" {question}")
        room = self._longest - len(asked) - len(self._ids(_BEFORE + _BEHIND))
        if len(asked) > MOST_QUESTION or room < 1:
            raise GeneralistError(
                f"the question has {len(asked)} tokens; use at most {MOST_QUESTION}, or mode 'lexical'"
            )
        before, behind = self._ids(_BEFORE), self._ids(_BEHIND)
        rows = [[*before, *self._ids(text)[: min(MOST_TEXT, room)], *behind, *asked] for text in texts]
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))  # alike long ones need little padding
        found = [0.0] * len(rows)
        for begin in range(0, len(order), _BATCH):
            batch = order[begin : begin + _BATCH]
            for row, value in zip(batch, self._likelihood([rows[row] for row in batch], len(asked)), strict=True):
                found[row] = value
        return found

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _likelihood(self, rows: Sequence[Sequence[int]], last: int) -> list[float]:
        """Mean log-probability of the ``last`` tokens of each row."""
        import torch

        width = max(map(len, rows))
        ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=self._model.device)
        lengths = torch.tensor([[len(row)] for row in rows], device=ids.device)
        mask = (torch.arange(width, device=ids.device)[None] >= width - lengths).long()  # padded on the left
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        with torch.inference_mode():
            output = self._model(
                input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=last + 1
            )
            logprobs = output.logits[:, -last - 1 : -1].float().log_softmax(-1)  # [R, last, V]
            found = logprobs.gather(-1, ids[:, -last:, None]).mean((1, 2)).cpu().numpy()
        if np.isnan(found).any():
            raise RuntimeError("internal error: the model's logits are not finite; check its weights")
        return [float(one) for one in found]


def rerank(
    question: str, texts: Sequence[str], mode: str = "lexical", reader: Callable[[], QuestionReader] | None = None
) -> list[tuple[int, float]]:
    """All of ``texts`` by their numbers, the best first, each with a score in 0-1.

    Args:
        question: what they are to answer.
        texts: at least one.
        mode: "lexical": the score is a share of the best text's BM25. "generative": the geometric mean of the
            probabilities of the question's tokens; only the :data:`READ` best by words are read, others follow with 0.
            "hybrid": both by reciprocal rank, 1 for the first of both; words alone without a ``reader``.
        reader: gives the model when it is needed.

    Raises:
        GeneralistError: a question or mode that cannot be used.
    """
    if mode not in MODES:
        raise GeneralistError(f"there is no mode {mode[:80]!r}; use one of {', '.join(MODES)}")
    if not question.strip() or not texts:
        raise GeneralistError("the question is blank, or there are no texts; give both")
    ((*found,),) = Words.of(texts).search([question], len(texts))
    by_words = {number: score for number, score in found}
    order = [*by_words, *(number for number in range(len(texts)) if number not in by_words)]
    if mode == "lexical" or (mode == "hybrid" and reader is None):
        best = max(by_words.values(), default=1.0)
        return [(number, by_words.get(number, 0.0) / best) for number in order]
    if reader is None:
        raise GeneralistError("mode 'generative' needs a causal language model, and there is none; use mode 'lexical'")
    read = order[:READ]
    likelihood = dict(zip(read, reader().read(question, [texts[number] for number in read]), strict=True))
    by_model = sorted(read, key=lambda number: -likelihood[number])
    if mode == "generative":
        scored = [(number, float(np.exp(likelihood[number]))) for number in by_model]
    else:
        scored = [(number, score * (K + 1) / 2) for number, score in fuse([list(by_words), by_model])]
    named = {number for number, _ in scored}
    return [*scored, *((number, 0.0) for number in order if number not in named)]
