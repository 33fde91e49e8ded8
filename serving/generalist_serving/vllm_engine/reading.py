"""What a checkpoint says about prompts: from a Prompt to a checked Request, and to vLLM's parameters for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from generalist.constrain import compile_constraint
from generalist.engine.inputs import check_prompt
from generalist.identifiers import check_vocabulary, load_identifiers
from generalist.model.checkpoint import load_parts
from generalist.types import Constraint, Prompt, Sampling
from generalist_serving.vllm_engine.adapters import Adapters
from generalist_serving.vllm_engine.requests import Request, refusal, vllm_sampling


class Reader:
    """Reads prompts for the checkpoint in ``folder``; safe to share between threads.

    ``context``: positions of prompt and reply together, by default as many as the model has.
    """

    def __init__(self, folder: str | Path, context: int | None = None) -> None:
        parts = load_parts(folder)
        self.vocabulary = parts.vocabulary
        self.longest = int(parts.config.text_config.max_position_embeddings)
        self.context = self.longest if context is None else context
        self.image_tokens = parts.config.num_image_tokens
        self._image_processor = parts.processor.image_processor
        padded = int(parts.config.text_config.vocab_size) > parts.vocabulary.size
        self._default_grammar = default_grammar(parts.vocabulary.eos) if padded else None

    @property
    def max_prompt_tokens(self) -> int:
        """The longest prompt, every position of an image counted, that leaves room for one new token."""
        return self.context - 1

    def read(self, prompt: Prompt, sampling: Sampling, adapters: Adapters) -> Request:
        """Everything that can be wrong with a prompt is looked at here, before vLLM sees it."""
        adapter = adapters.get(prompt.adapter)
        tokens = check_prompt(prompt, self.vocabulary, self.image_tokens, self.max_prompt_tokens)
        if prompt.constraint is not None:
            self._check_constraint(prompt.constraint)
        return Request(
            token_ids=prompt.token_ids,
            # Shrunk here, in the caller's thread; vLLM's own preparation then has little to do and less to copy.
            images=tuple(map(self._image_processor.shrink, prompt.images)),
            constraint=prompt.constraint,
            sampling=sampling,
            adapter=adapter,
            prompt_tokens=tokens,
            budget=min(sampling.max_new_tokens, self.context - tokens),
        )

    def sampling_params(self, request: Request, *, streamed: bool) -> Any:
        """vLLM's SamplingParams for a request; :class:`GeneralistError` for what vLLM does not take."""
        try:
            return vllm_sampling(
                request, streamed=streamed, default_grammar=self._default_grammar, ends=self.vocabulary.ends
            )
        except Exception as error:
            if told := refusal(error):
                raise told from error
            raise

    def _check_constraint(self, constraint: Constraint) -> None:
        compile_constraint(constraint, self.vocabulary)
        if constraint.identifiers is not None:
            check_vocabulary(load_identifiers(constraint.identifiers), self.vocabulary, constraint.identifiers)


def default_grammar(eos: int) -> str:
    """Every token of the vocabulary, and nothing else: for a model with rows of logits that belong to no token."""
    return f"root ::= any*\nany ::= ExcludeToken({eos})\n"
