"""Learning to write identifiers: from a question to n-grams of the text that speaks to it (after SEAL: Bevilacqua et
al. 2022), and to titles (CorpusBrain: Chen et al. 2022).

A question is read once for all of its targets: behind it they stand side by side, each seeing the question and itself.
So one row is ``padding, question, target, target, ..., padding``.
Shapes: B rows, W tokens of a row, L of its targets, V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from generalist.documents.asking import TITLE_END, Granularity, Question, chat_prompt, text_prompt
from generalist.documents.learning.material import Material, without_links
from generalist.documents.learning.pairs import LONGEST, Pair, Pairs
from generalist.documents.network import Network
from generalist.pipeline import Line
from generalist.tokens import PHRASE_CLOSE
from generalist.types import GeneralistError

if TYPE_CHECKING:
    import torch

BATCH = 16
"""Questions a step."""
LENGTH = 10
"""Tokens of an n-gram, as a search writes them."""
TARGETS = 4
"""N-grams of a question."""
_LONGEST_TITLE = 32
_GRANULARITIES: dict[Granularity, float] = {"document": 0.6, "passage": 0.15, "sentence": 0.15, "entity": 0.1}
_TITLED = 0.5
"""How often one of the n-grams of a document is its title."""
_WHOLE = 0.5
"""How often a title is asked for by a stretch of text rather than a question."""
_LEAST = 0.3
"""What an n-gram counts that shares nothing with the question, where a rare word counts about 8."""
_FROM_QUESTION = 2.0
"""How much more the first word of an n-gram counts when it is in the question: it can be copied from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Token ids."""

    prompt: tuple[int, ...]
    targets: tuple[tuple[int, ...], ...]


class Identifiers:
    """What a step of the generator learns from, and how well it does on held-out questions."""

    def __init__(self, network: Network, pairs: Pairs, batch: int = BATCH) -> None:
        self.network, self.pairs, self.batch = network, pairs, batch
        self._prompts = _Prompts(network)
        self._held = [
            make_example(np.random.default_rng([pairs.seed, k]), pair, pairs.material, self._prompts, "document")
            for k, pair in enumerate(pairs.held)
        ]

    def loss(self, step: int) -> torch.Tensor:
        """The mean negative log-probability of a target's token."""
        made = [
            make_example(rng, pair, self.pairs.material, self._prompts)
            for pair, rng in self.pairs.step(step, self.batch)
        ]
        return token_loss(self.network, made)

    def look(self) -> float:
        """The mean log-probability of a token of held-out targets; nan where nothing is held out."""
        import torch

        parts = [self._held[k : k + self.batch] for k in range(0, len(self._held), self.batch)]
        with torch.inference_mode():
            losses = [float(token_loss(self.network, part)) * len(part) for part in parts]
        return -sum(losses) / len(self._held) if losses else float("nan")


class _Prompts:
    """How the base is asked, and what it writes behind a title."""

    def __init__(self, network: Network) -> None:
        self.tokenizer = network.base.tokenizer
        self._line = None
        if network.checkpoint is None:
            self.end = int(self.tokenizer.encode(TITLE_END, add_special_tokens=False).ids[-1])
        else:
            self._line = Line.from_folder(network.checkpoint.folder, network.checkpoint.vocabulary)
            self.end = self._line.vocabulary.structure[PHRASE_CLOSE]

    def read(self, text: str, granularity: Granularity) -> tuple[int, ...]:
        question = Question(text=text, granularity=granularity)
        if self._line is None:
            return tuple(text_prompt(question, self.tokenizer))
        return chat_prompt(question, self._line).token_ids

    def words(self, text: str) -> set[int]:
        """The tokens that the words of a question have within running text."""
        return set(self.tokenizer.encode(f" {text}", add_special_tokens=False).ids)

    @lru_cache(maxsize=65_536)  # noqa: B019 - as long-lived as the run
    def begins_word(self, token: int) -> bool:
        """Whether it has the space before a word in it."""
        return str(self.tokenizer.decode([token], skip_special_tokens=False)).startswith(" ")


def make_example(
    rng: np.random.Generator,
    pair: Pair,
    material: Material,
    prompts: _Prompts,
    granularity: Granularity | None = None,
) -> Example:
    """What is asked and what is to be written, by the random numbers of ``rng``."""
    sentence = material.sentences[pair.sentence]
    title = material.title_tokens[sentence.document]
    chosen: Granularity = granularity or str(  # type: ignore[assignment]
        rng.choice(list(_GRANULARITIES), p=list(_GRANULARITIES.values()))
    )
    if chosen == "entity" and not 0 < len(title) <= _LONGEST_TITLE:
        chosen = "document"
    if chosen == "entity":
        text, title = _about_title(rng, pair, material)
        return Example(prompt=prompts.read(text, "entity"), targets=((*title, prompts.end),))
    targets = _ngrams(rng, sentence.tokens, pair.question, material, prompts)
    if chosen == "document" and title and rng.random() < _TITLED:
        targets[-1:] = [title[:LENGTH]]
    return Example(prompt=prompts.read(pair.question, chosen), targets=tuple(targets))


def _about_title(rng: np.random.Generator, pair: Pair, material: Material) -> tuple[str, tuple[int, ...]]:
    """A text and the title that it leads to: of its own document, or of one that a link in it names."""
    if material.links and rng.random() < _WHOLE:
        number, document = material.links[int(rng.integers(len(material.links)))]
        title = material.title_tokens[document]
        if 0 < len(title) <= _LONGEST_TITLE:
            return without_links(material.sentences[number].text)[:LONGEST], title
    sentence = material.sentences[pair.sentence]
    title = material.title_tokens[sentence.document]
    if rng.random() >= _WHOLE:
        return pair.question, title
    first = material.of_document[sentence.document][0]  # the lead says what a document is about
    text = material.sentences[first if rng.random() < _WHOLE else pair.sentence].text
    return without_links(text)[:LONGEST], title


def _ngrams(
    rng: np.random.Generator, tokens: Sequence[int], question: str, material: Material, prompts: _Prompts
) -> list[tuple[int, ...]]:
    """N-grams of a sentence from the beginning of a word, rather those with words of the question, and rare ones."""
    asked = prompts.words(question)
    shared = np.array([material.rarity[token] * (token in asked) for token in tokens])
    within = np.convolve(shared, np.ones(LENGTH))[LENGTH - 1 :]
    weights = (_LEAST + within / LENGTH + _FROM_QUESTION * shared) ** 2
    starts = np.array([prompts.begins_word(token) for token in tokens])
    if starts.any():  # not every language parts its words
        weights *= starts
    count = min(TARGETS, int((weights > 0).sum()))
    begins = rng.choice(len(tokens), count, replace=False, p=weights / weights.sum())
    return [tuple(tokens[begin : begin + LENGTH]) for begin in begins.tolist()]


def token_loss(network: Network, examples: Sequence[Example]) -> torch.Tensor:
    """The mean negative log-probability of the tokens of all targets."""
    import torch

    longest = network.longest
    for example in examples:
        if len(example.prompt) + max(map(len, example.targets)) > longest:
            raise GeneralistError(f"a question has {len(example.prompt)} tokens; this base reads {longest}")
    ids, seen, positions, places, wanted = _rows(examples)
    device = network.model.device
    kept = ids.shape[1] - max(len(example.prompt) for example in examples) + 1
    logits = network.model(
        input_ids=torch.from_numpy(ids).to(device),
        attention_mask=torch.from_numpy(seen).to(device),
        position_ids=torch.from_numpy(positions).to(device),
        use_cache=False,
        logits_to_keep=kept,
    ).logits
    rows, columns = torch.from_numpy(places).to(device)
    chosen = logits[rows, columns].float()
    return torch.nn.functional.cross_entropy(chosen, torch.from_numpy(wanted).to(device))


def _rows(examples: Sequence[Example]) -> tuple[np.ndarray, ...]:
    """ids int64 [B, W], who sees whom bool [B, 1, W, W], positions int64 [B, W]; of the logits from the last token of
    the prompts on, rows and columns int64 [2, N] that are asked for, and the tokens int64 [N] that are right there.
    """
    before = max(len(example.prompt) for example in examples)
    width = before + max(sum(map(len, example.targets)) for example in examples)
    ids = np.zeros((len(examples), width), np.int64)
    part = np.full((len(examples), width), -1)  # 0 a prompt, then its targets; -1 padding
    positions = np.zeros((len(examples), width), np.int64)
    places: list[tuple[int, int]] = []
    wanted: list[int] = []
    for row, example in enumerate(examples):
        length = len(example.prompt)
        begin = before - length
        ids[row, begin:before], part[row, begin:before] = example.prompt, 0
        positions[row, begin:before] = np.arange(length)
        at = before
        for number, target in enumerate(example.targets, 1):
            end = at + len(target)
            ids[row, at:end], part[row, at:end] = target, number
            positions[row, at:end] = length + np.arange(len(target))
            # The first token follows the prompt, wherever the target stands.
            places += [(row, 0), *((row, column - before + 1) for column in range(at, end - 1))]
            wanted += target
            at = end
    causal = np.tri(width, dtype=bool)
    same = part[:, :, None] == part[:, None, :]
    prompt = (part[:, None, :] == 0) & (part[:, :, None] >= 0)
    seen = ((same & (part[:, :, None] >= 0)) | prompt) & causal | np.eye(width, dtype=bool)
    return ids, seen[:, None], positions, np.array(places).T, np.array(wanted)
