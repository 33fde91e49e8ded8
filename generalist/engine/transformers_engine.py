"""Runs a checkpoint in this process, on a CPU or a GPU.

What happens to a request, in order:
1. ``InputReader.check``: Prompt -> Input, images expanded and identified.
2. ``_start``: Input -> logits of the first new token. A single prompt reads its shared part (system
   text and images) apart from its question, and the keys and values of that part are kept.
3. ``_run``: logits -> tokens, one a row and step, until every row is finished.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from xgrammar import GrammarMatcher

from generalist.constrain import compile_constraint
from generalist.engine.adapters import Adapters
from generalist.engine.attention import ReplyAttention, reply_attention
from generalist.engine.caches import LruCache
from generalist.engine.context import Context
from generalist.engine.inputs import Input, InputReader, SharedKey
from generalist.engine.rows import Allowed, Row
from generalist.engine.sampling import choose, keep_only, likeliest, mask_logits
from generalist.heads.head import preprocess_of
from generalist.identifiers import Automaton, check_vocabulary, load_identifiers
from generalist.model import GeneralistForConditionalGeneration, GeneralistProcessor
from generalist.tokens import Vocabulary
from generalist.types import ChatRequest, Generation, Given, Likeliest, Prompt, Sampling, Seen, Usage


class TransformersEngine:
    """An :class:`~generalist.engine.Engine` over a transformers model, with its device and dtype.

    ``feature_cache_images``: of how many images the features are kept. ``prefix_cache``: for how many
    prompt beginnings (text and images) the keys and values are kept, for single prompts. 0 keeps none.
    Neither changes a reply. What is kept belongs to the weights: after training them on, make a new engine.
    """

    def __init__(
        self,
        model: GeneralistForConditionalGeneration,
        processor: GeneralistProcessor,
        vocabulary: Vocabulary,
        *,
        feature_cache_images: int = 64,
        prefix_cache: int = 8,
    ) -> None:
        self._model = model
        self._model.train(False)
        self._vocabulary = vocabulary
        self._adapters = Adapters(model, vocabulary.hash, preprocess_of(processor))
        self._reader = InputReader(
            model, processor, vocabulary, self._adapters, feature_cache_images=feature_cache_images
        )
        self._prefixes: LruCache[SharedKey, Context] = LruCache(prefix_cache)

    @property
    def max_prompt_tokens(self) -> int:
        """The longest prompt, every position of an image counted, that leaves room for one new token."""
        return int(self._model.config.text_config.max_position_embeddings) - 1

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        """One generation for each prompt, all in one batch.

        With a seed, every row draws from a generator of its own with that seed.
        """
        inputs = [self.check(prompt) for prompt in prompts]
        rows = self.rows(prompts, inputs, sampling)
        for _ in self._run(inputs, rows, sampling):
            pass
        return [_generation(item, row) for item, row in zip(inputs, rows, strict=True)]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[int]:
        """The token ids of ``generate([prompt], sampling)``, each as soon as it is chosen."""
        inputs = [self.check(prompt)]
        return self._run(inputs, self.rows([prompt], inputs, sampling), sampling)

    def attention(self, prompt: Prompt, reply: Sequence[int]) -> ReplyAttention:
        """Where the model looks as it writes ``reply``, which :meth:`generate` gave, to a prompt with images.

        May be called from any thread; others wait for the one pass that it takes. Raises
        :class:`~generalist.types.GeneralistError` for a prompt that cannot be run or has no image.
        """
        item = self.check(prompt)
        return reply_attention(self._model, self._adapters, item, self._reader.features([item]), reply)

    # --- adapters ---

    @property
    def adapters(self) -> Mapping[str, Path]:
        """The folders of the adapters that are loaded, by the names that ``Prompt.adapter`` may have."""
        return {name: adapter.folder for name, adapter in self._adapters.loaded.items()}

    def load_adapter(self, name: str, folder: str | Path) -> None:
        """Load a LoRA adapter in PEFT's format, or a visual head.

        A name that is loaded already stands for the new one from now on; requests that have begun keep the adapter that
        they began with. May be called from any thread. Raises :class:`~generalist.types.GeneralistError` for a folder
        that is neither plain LoRA of this model's linear layers nor a head for its tower.
        """
        self._adapters.load(name, folder)

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; requests under way with it are finished. Raises ``UnknownAdapter``."""
        self._adapters.unload(name)

    def look(self, request: ChatRequest) -> Seen | None:
        """What the request's adapter answers by itself, if it is a visual head; None for what the model answers.

        May be called from any thread. Raises ``UnknownAdapter``.
        """
        return self._adapters.look(request)

    # --- the steps, for whoever runs them in another order (``batch``) ---

    def check(self, prompt: Prompt) -> Input:
        """A prompt made ready, its images resized; :class:`GeneralistError` when it cannot be run."""
        return self._reader.check(prompt, self.max_prompt_tokens)

    def rows(self, prompts: Sequence[Prompt], inputs: Sequence[Input], sampling: Sampling) -> list[Row]:
        """The replies before their first tokens; :class:`GeneralistError` for a grammar that is not valid."""
        allowed = Allowed(len(prompts), self._vocabulary.size)
        rows: list[Row] = []
        for prompt, item in zip(prompts, inputs, strict=True):
            if prompt.given is not None:
                rows.append(self._given_row(prompt.given, len(rows), allowed, sampling))
                continue
            matcher = None
            if prompt.constraint is not None:
                matcher = GrammarMatcher(compile_constraint(prompt.constraint, self._vocabulary))
            budget = min(sampling.max_new_tokens, self.max_prompt_tokens + 1 - len(item.ids))
            identifiers = self._identifiers(prompt)
            row = Row(
                len(rows),
                allowed,
                matcher,
                eos=self._vocabulary.eos,
                ends=self._vocabulary.ends,
                budget=budget,
                identifiers=identifiers,
                keeps_top=sampling.top_logprobs > 0,
            )
            rows.append(row)
        return rows

    def _given_row(self, given: Given, slot: int, allowed: Allowed, sampling: Sampling) -> Row:
        """A row that says what is given; that costs nothing, so that nothing limits its length."""
        script = list(zip(given.token_ids, given.logprobs, strict=True))
        eos, top = self._vocabulary.eos, sampling.top_logprobs > 0
        return Row(slot, allowed, None, eos=eos, budget=len(script) + 1, keeps_top=top, script=script)

    def _identifiers(self, prompt: Prompt) -> Automaton | None:
        if prompt.constraint is None or prompt.constraint.identifiers is None:
            return None
        path = prompt.constraint.identifiers
        check_vocabulary(trie := load_identifiers(path), self._vocabulary, path)
        return trie

    def _run(self, inputs: Sequence[Input], rows: Sequence[Row], sampling: Sampling) -> Iterator[int]:
        """Let every row speak until it is finished; yields each token of whichever row as it is taken."""
        generators = [new_generator(sampling.seed) for _ in rows]
        context: Context | None = None
        active = list(rows)
        while True:
            for row in rows:
                # What the grammar forces needs no logits: the model reads the whole run at once.
                if len(rows) == 1 or row.has_script:
                    yield from take_forced(row)
            going = [row for row in active if row.finish_reason is None]
            if not going:
                return
            if context is None:
                # Not all rows: a grammar may forbid even the first token.
                context, logits = self.start([inputs[row.slot] for row in going], going)
            else:
                if len(going) < len(active):
                    context.keep([place for place, row in enumerate(active) if row.finish_reason is None])
                logits = context.read(self.ids([row.unread() for row in going]))
            active = going
            chosen = self.choose(logits, active, [generators[row.slot] for row in active], sampling)
            for row, choice in zip(active, chosen, strict=True):
                if row.take(*choice):
                    yield choice[0]

    @torch.inference_mode()
    def start(self, inputs: Sequence[Input], rows: Sequence[Row]) -> tuple[Context, Tensor]:
        """Read the prompts: the context, and logits [R, V] of the first new tokens."""
        if len(rows) > 1:
            return self._start_batch(inputs)
        (item,), (row,) = inputs, rows
        if item.shared:
            context = self._shared_context(item)
            return context, context.read(self.ids([[*item.rest, *row.unread()]]))
        context = self._new_context(inputs)
        return context, context.read(self.ids([[*item.ids, *row.unread()]]), self._reader.features(inputs))

    def _shared_context(self, item: Input) -> Context:
        """A context that has read the shared part of a prompt."""
        # Whether it was kept or not, this part is read apart from the rest: the same operations on
        # the same shapes, hence the same reply to the last bit.
        context = self._prefixes.get(item.shared_key)
        if context is None:
            context = self._new_context([item])
            context.read(self.ids([item.ids[: item.shared]]), self._reader.features([item]))
            self._prefixes.put(item.shared_key, context)
        return context.fork()

    def _new_context(self, inputs: Sequence[Input]) -> Context:
        return Context(self._model, self._adapters, [item.adapter for item in inputs])

    def _start_batch(self, inputs: Sequence[Input]) -> tuple[Context, Tensor]:
        width = max(len(item.ids) for item in inputs)
        padding = [width - len(item.ids) for item in inputs]
        pad = self._vocabulary.pad
        ids = self.ids([[pad] * left + list(item.ids) for left, item in zip(padding, inputs, strict=True)])
        mask: Tensor | None = None
        if any(padding):
            mask = self.ids([[0] * left + [1] * (width - left) for left in padding])
        context = self._new_context(inputs)
        return context, context.read(ids, self._reader.features(inputs), mask)

    def ids(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """int64[R, T] on the model's device."""
        return torch.tensor(rows, dtype=torch.int64, device=self._model.device)

    @torch.inference_mode()
    def choose(
        self, logits: Tensor, rows: Sequence[Row], generators: Sequence[torch.Generator], sampling: Sampling
    ) -> list[tuple[int, float, Likeliest | None]]:
        """The next token of every row, its log-probability and the likeliest ones if asked for; from logits [R, V]."""
        allowed = torch.stack([row.allowed for row in rows])
        masked = mask_logits(logits, allowed, self._vocabulary.size)
        draws: list[float] = []
        if sampling.temperature > 0:
            # A forced token takes no draw, so that skipping its step does not shift the next ones.
            draws = [
                0.0 if row.forced is not None else _draw(generator)
                for row, generator in zip(rows, generators, strict=True)
            ]
        found = list(zip(*choose(masked, sampling, draws, self._among(masked, rows)), strict=True))
        # A text that identifiers end where the grammar does not is the one case of -inf.
        impossible = (None if row.candidates is None else -math.inf for row in rows)
        if not all(math.isfinite(lp) or lp == ended for ended, (_, lp) in zip(impossible, found, strict=True)):
            raise RuntimeError(
                f"internal error: the model's logits are not finite (device {logits.device}, dtype "
                f"{self._model.dtype}); check its weights, or run it in float32"
            )
        count = sampling.top_logprobs
        top: Sequence[Likeliest | None] = likeliest(masked, count) if count else [None] * len(rows)
        return [(token, logprob, best) for (token, logprob), best in zip(found, top, strict=True)]

    def _among(self, logits: Tensor, rows: Sequence[Row]) -> Tensor | None:
        """``logits`` [R, V] with -inf where identifiers allow no token; None when there are none."""
        if all(row.candidates is None for row in rows):
            return None
        among = logits.clone()
        for place, row in enumerate(rows):
            if row.candidates is not None:
                ids = torch.tensor(row.candidates, dtype=torch.int64, device=logits.device)
                keep_only(among[place], ids, self._vocabulary.eos)
        return among


def take_forced(row: Row) -> Iterator[int]:
    """Say what the grammar forces or a script has, up to a choice or the end."""
    while row.finish_reason is None and (due := row.due) is not None:
        if row.take(*due):
            yield due[0]


def new_generator(seed: int | None) -> torch.Generator:
    """The source of a row's draws; a new one every time without a seed."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed % 2**63)
    return generator


def _draw(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _generation(item: Input, row: Row) -> Generation:
    assert row.finish_reason is not None
    return Generation(
        token_ids=tuple(row.ids),
        logprobs=tuple(row.logprobs),
        finish_reason=row.finish_reason,
        usage=Usage(prompt_tokens=len(item.ids), completion_tokens=len(row.ids)),
        top_logprobs=tuple(row.top),
    )
