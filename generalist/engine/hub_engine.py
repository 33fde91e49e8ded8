"""Runs an unchanged vision-language model of transformers in this process.

Shapes: R rows, T tokens, V of the model's vocabulary.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, LogitsProcessor, LogitsProcessorList, StoppingCriteria
from transformers.generation.streamers import BaseStreamer
from xgrammar import GrammarCompiler, TokenizerInfo
from xgrammar.contrib.hf import LogitsProcessor as GrammarProcessor

from generalist.dialects import Question
from generalist.engine import not_loaded
from generalist.engine.hub_processor import HubProcessor, load_processor
from generalist.types import Constraint, GeneralistError, Generation, Likeliest, Prompt, Sampling, Usage

_ALONE = frozenset(["kosmos-2"])
"""Model types whose rows change with the padding of their neighbours: they run one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubPrompt(Prompt):
    """A prompt as ``text`` of the model's own template; ``token_ids`` are not used. ``question`` reads the answer."""

    token_ids: tuple[int, ...] = ()
    text: str = ""
    question: Question = field(default_factory=lambda: Question(text=""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A token as it was chosen, with its log-probability; ``top`` as ``Sampling.top_logprobs`` asks for it."""

    token: int
    logprob: float
    top: Likeliest = ()


class HubEngine:
    """An :class:`~generalist.engine.Engine` for :class:`HubPrompt`. Calls from several threads wait for one another.

    ``ends``: the tokens that end a reply.
    """

    def __init__(self, model: Any, processor: HubProcessor) -> None:
        self.processor = processor
        self._model = model.train(False)
        self._alone = model.config.model_type in _ALONE
        self._lock = threading.Lock()
        self.ends = _end_ids(model, processor.tokenizer)
        self._positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        added = processor.tokenizer.added_tokens_decoder
        self._special = [i for i, token in added.items() if token.special and i not in self.ends] or None
        self._compiled = lru_cache(maxsize=16)(self._compile)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        """One generation for each prompt. Rows share a batch where that cannot change them."""
        rows = [_hub(prompt) for prompt in prompts]
        groups: dict[object, list[int]] = {}
        for at, row in enumerate(rows):
            alone = self._alone or sampling.temperature > 0
            groups.setdefault(at if alone else (row.constraint, bool(row.images)), []).append(at)
        done: dict[int, Generation] = {}
        for group in groups.values():
            done.update(zip(group, self._batch([rows[at] for at in group], sampling), strict=True))
        return [done[at] for at in range(len(rows))]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[int]:
        """The token ids of ``generate([prompt], sampling)``, each as soon as it is chosen."""
        return self._tokens(self.steps(prompt, self.read(prompt), sampling))

    def read(self, prompt: Prompt) -> Any:
        """What :meth:`steps` takes beside a prompt; :class:`GeneralistError` for one that cannot be answered."""
        return self._inputs([_hub(prompt)])

    def steps(self, prompt: Prompt, inputs: Any, sampling: Sampling) -> Generator[Step, None, None]:
        """The reply to a prompt whose ``inputs`` were read, the token that ends it included.

        Closing the iterator ends the work.
        """
        return self._steps(inputs, _hub(prompt), sampling)

    def _tokens(self, steps: Generator[Step, None, None]) -> Iterator[int]:
        with closing(steps):
            for step in steps:
                if step.token in self.ends:
                    return
                yield step.token

    def _batch(self, rows: Sequence[HubPrompt], sampling: Sampling) -> list[Generation]:
        inputs = self._inputs(rows)
        scorer = _Scorer()
        sequences = self._run(inputs, rows, sampling, [scorer])
        logprobs = scorer.finish(sequences)
        counts = inputs["attention_mask"].sum(1).tolist()
        written = sequences[:, -logprobs.shape[1] :].tolist() if logprobs.shape[1] else [[] for _ in rows]
        return [self._generation(*one) for one in zip(written, logprobs.tolist(), counts, strict=True)]

    def _generation(self, ids: list[int], logprobs: list[float], prompt_tokens: int) -> Generation:
        end = next((at for at, token in enumerate(ids) if token in self.ends), None)
        length = len(ids) if end is None else end
        return Generation(
            token_ids=tuple(ids[:length]),
            logprobs=tuple(logprobs[:length]),
            finish_reason="length" if end is None else "stop",
            usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=length),
        )

    def _inputs(self, rows: Sequence[HubPrompt]) -> Any:
        inputs = self.processor.inputs([row.text for row in rows], [row.images for row in rows])
        inputs.pop("labels", None)  # PaliGemma's, for training
        longest = int(inputs["input_ids"].shape[1])
        if self._positions:
            # An encoder leaves the reply a row of its own.
            most = self._positions - (not self._model.config.is_encoder_decoder)
            if longest > most:
                raise GeneralistError(f"the prompt has {longest} tokens; use at most {most}, with smaller images")
        return inputs.to(self._model.device, self._model.dtype)

    def _run(
        self, inputs: Any, rows: Sequence[HubPrompt], sampling: Sampling, processors: list[Any], **options: Any
    ) -> Tensor:
        """Token ids int64[R, T], the prompt's first unless the model has an encoder for it."""
        constraint = rows[0].constraint
        if constraint is not None:
            processors = [GrammarProcessor([self._compiled(constraint)] * len(rows)), *processors]
        if constraint is not None and constraint.json_schema:
            # To the grammar their names are characters that may stand in a string.
            options["suppress_tokens"] = self._special
        chosen: dict[str, Any] = {"do_sample": sampling.temperature > 0, "num_beams": 1}
        if sampling.temperature > 0:
            chosen |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        with self._lock, torch.inference_mode(), torch.random.fork_rng(devices=devices):
            if sampling.seed is not None:
                torch.manual_seed(sampling.seed % 2**63)
            else:
                torch.seed()
            result: Tensor = self._model.generate(
                **inputs,
                **chosen,
                **options,
                max_new_tokens=min(sampling.max_new_tokens, self._room(inputs)),
                eos_token_id=sorted(self.ends),
                pad_token_id=self.processor.tokenizer.pad_token_id,
                logits_processor=LogitsProcessorList(processors),
            )
        return result

    def _room(self, inputs: Any) -> int:
        """How many tokens there are positions for behind the prompt."""
        if not self._positions:
            return sys.maxsize
        return int(self._positions) - (1 if self._model.config.is_encoder_decoder else inputs["input_ids"].shape[1])

    def _steps(self, inputs: Any, row: HubPrompt, sampling: Sampling) -> Generator[Step, None, None]:
        queue: SimpleQueue[Step | Exception | None] = SimpleQueue()
        stop, scorer = _Stop(), _Scorer()
        streamer = _Streamer(queue, scorer, sampling.top_logprobs)

        def work() -> None:
            try:
                self._run(inputs, [row], sampling, [scorer], streamer=streamer, stopping_criteria=[stop])
                queue.put(None)
            except Exception as error:  # told to whoever listens, in their thread
                queue.put(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            while (step := queue.get()) is not None:
                if isinstance(step, Exception):
                    raise step
                yield step
        finally:
            stop.asked = True
            thread.join()

    def _compile(self, constraint: Constraint) -> Any:
        config = self._model.config.get_text_config()
        info = TokenizerInfo.from_huggingface(self.processor.tokenizer, vocab_size=config.vocab_size)
        compiler = GrammarCompiler(info, max_threads=1, cache_enabled=False)
        if constraint.json_schema:
            return compiler.compile_json_schema(constraint.json_schema, any_whitespace=False)
        return compiler.compile_grammar(constraint.grammar)


class _Scorer(LogitsProcessor):
    """The log-probability of every token chosen, over what the grammar allows; holds one step's logits."""

    def __init__(self) -> None:
        self._last: Tensor | None = None
        self._found: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self._take(input_ids)
        self._last = scores.float().log_softmax(-1)
        return scores

    def step(self, token: int, count: int) -> Step:
        """The token that was chosen just now for the one row, beside the ``count`` likeliest."""
        assert self._last is not None
        best = self._last[0].topk(count)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        top = tuple((one, logprob) for one, logprob in pairs if logprob > -math.inf)
        return Step(token=token, logprob=float(self._last[0, token]), top=top)

    def finish(self, sequences: Tensor) -> Tensor:
        """float[R, T] of the new tokens."""
        self._take(sequences)
        return torch.stack(self._found, dim=1) if self._found else torch.zeros(len(sequences), 0)

    def _take(self, ids: Tensor) -> None:
        if self._last is not None:
            self._found.append(self._last.gather(-1, ids[:, -1:])[:, 0])
        self._last = None


class _Streamer(BaseStreamer):
    """Hands new tokens on; what comes first is the prompt."""

    def __init__(self, queue: SimpleQueue[Any], scorer: _Scorer, count: int) -> None:
        self._queue, self._scorer, self._count, self._first = queue, scorer, count, True

    def put(self, value: Tensor) -> None:
        if not self._first:
            for token in value.flatten().tolist():
                self._queue.put(self._scorer.step(token, self._count))
        self._first = False

    def end(self) -> None:
        """The thread says so itself."""


class _Stop(StoppingCriteria):
    """Ends a generation that nobody listens to any more."""

    asked = False

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        return torch.full((len(input_ids),), self.asked, dtype=torch.bool, device=input_ids.device)


def load_hub_engine(folder: Path, device: str, dtype: str | torch.dtype | None = None) -> HubEngine:
    """The model and processor of a checkpoint folder; :class:`GeneralistError` when they cannot be loaded.

    ``device`` and ``dtype`` as for :meth:`~generalist.pipeline.Generalist.from_pretrained`.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
    try:
        model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, local_files_only=True)
        model = model.to(device)
    except (OSError, ValueError, ImportError, KeyError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise GeneralistError(f"{folder}: cannot load the model ({reason})") from error
    processor = load_processor(folder, model.config.model_type)
    ends = _end_ids(model, processor.tokenizer)
    return HubEngine(model, HubProcessor(processor, ends=ends, pad_right=bool(model.config.is_encoder_decoder)))


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    given = model.generation_config.eos_token_id
    listed = given if isinstance(given, list) else [given]
    size = model.config.get_text_config().vocab_size
    return frozenset(one for one in (*listed, tokenizer.eos_token_id) if one is not None and one < size)


def _hub(prompt: Prompt) -> HubPrompt:
    if not isinstance(prompt, HubPrompt):
        raise GeneralistError("this engine runs models of the hub; give it prompts of their line")
    if prompt.adapter is not None:
        raise not_loaded(prompt.adapter, ())
    return prompt
