"""What goes into vLLM and what comes out of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from generalist.types import Constraint, Generation, Sampling, Usage
from generalist_serving.vllm_plugin.identifiers import ARGUMENT

_SEEDS = 2**63


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """A checked prompt. ``images`` have the size of the vision tower's input; ``adapter`` is a LoRARequest or None.

    ``prompt_tokens`` counts every position of an image; the reply may have ``budget`` tokens.
    """

    token_ids: tuple[int, ...]
    images: tuple[Image.Image, ...]
    constraint: Constraint | None
    sampling: Sampling
    adapter: Any
    prompt_tokens: int
    budget: int


def vllm_prompt(request: Request) -> dict[str, Any]:
    prompt: dict[str, Any] = {"prompt_token_ids": list(request.token_ids)}
    if request.images:
        prompt["multi_modal_data"] = {"image": list(request.images)}
    return prompt


def vllm_sampling(request: Request, *, streamed: bool, default_grammar: str | None) -> Any:
    """SamplingParams; ``default_grammar`` binds a request without a constraint."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    sampling, constraint = request.sampling, request.constraint
    grammar = default_grammar if constraint is None else constraint.grammar
    identifiers = None if constraint is None else constraint.identifiers
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        # vLLM takes -1 for none.
        seed=None if sampling.seed is None else sampling.seed % _SEEDS,
        max_tokens=request.budget,
        logprobs=0,  # of the chosen token alone
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA if streamed else RequestOutputKind.FINAL_ONLY,
        structured_outputs=None if grammar is None else StructuredOutputsParams(grammar=grammar),
        extra_args=None if identifiers is None else {ARGUMENT: identifiers},
    )


def new_tokens(output: Any, eos: int) -> list[int]:
    """The tokens that a RequestOutput brings, without the end token. Raises RuntimeError for a broken model."""
    ids = list(output.outputs[0].token_ids)
    if any(map(math.isnan, _logprobs(output))):
        raise RuntimeError("internal error: the model's logits are not finite; check its weights, or run it in float32")
    return ids[:-1] if ids and ids[-1] == eos else ids


def generation(request: Request, output: Any, eos: int) -> Generation:
    """The Generation of a finished request. Raises RuntimeError when vLLM gave it up."""
    check_finished(request, output, eos)
    ids = new_tokens(output, eos)
    return Generation(
        token_ids=tuple(ids),
        logprobs=tuple(_logprobs(output)[: len(ids)]),
        finish_reason="stop" if len(ids) < len(output.outputs[0].token_ids) else "length",
        usage=Usage(prompt_tokens=request.prompt_tokens, completion_tokens=len(ids)),
    )


def check_finished(request: Request, output: Any, eos: int) -> None:
    """Raises RuntimeError when vLLM ended a request for a reason of its own."""
    reason, ids = output.outputs[0].finish_reason, output.outputs[0].token_ids
    # Identifiers that let nothing of the grammar follow end the text, which the grammar then calls an error.
    ended = request.constraint is not None and request.constraint.identifiers is not None and _last(ids) == eos
    if reason not in ("stop", "length") and not ended:
        raise RuntimeError(f"internal error: vLLM ended a request ({reason or 'no reason given'})")


def _logprobs(output: Any) -> list[float]:
    """Of the chosen tokens, vLLM being asked for no others."""
    found = output.outputs[0].logprobs
    return [] if found is None else list(found.logprobs)


def _last(ids: Sequence[int]) -> int | None:
    return ids[-1] if ids else None
