"""What goes into vLLM and what comes out of it."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from PIL import Image

from generalist.adapter_spec import one_line
from generalist.types import Constraint, GeneralistError, Generation, Likeliest, Sampling, Usage
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


def vllm_sampling(request: Request, *, streamed: bool, default_grammar: str | None, ends: Set[int]) -> Any:
    """SamplingParams; ``default_grammar`` binds a request without a constraint, a token of ``ends`` ends the reply."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling, constraint = request.sampling, request.constraint
    identifiers = None if constraint is None else constraint.identifiers
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        # vLLM takes -1 for none.
        seed=None if sampling.seed is None else sampling.seed % _SEEDS,
        max_tokens=request.budget,
        stop_token_ids=sorted(ends),
        logprobs=sampling.top_logprobs,  # besides that of the chosen token
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA if streamed else RequestOutputKind.FINAL_ONLY,
        structured_outputs=_structured_outputs(constraint, default_grammar),
        extra_args=None if identifiers is None else {ARGUMENT: identifiers},
    )


def _structured_outputs(constraint: Constraint | None, default_grammar: str | None) -> Any:
    from vllm.sampling_params import StructuredOutputsParams

    if constraint is not None and constraint.json_schema:
        return StructuredOutputsParams(json=constraint.json_schema)
    grammar = default_grammar if constraint is None else constraint.grammar
    return None if grammar is None else StructuredOutputsParams(grammar=grammar)


def refusal(error: BaseException) -> GeneralistError | None:
    """What a caller is told of an error by which vLLM refuses a request; None for any other error."""
    from vllm.exceptions import VLLMClientError

    if isinstance(error, GeneralistError):
        return error
    if isinstance(error, VLLMClientError | ValueError):
        return GeneralistError(f"vLLM refuses the request ({one_line(error)})")
    return None


def new_tokens(output: Any, ends: Set[int]) -> list[int]:
    """The tokens that a RequestOutput brings, without the end token. Raises RuntimeError for a broken model."""
    ids = list(output.outputs[0].token_ids)
    if any(map(math.isnan, token_logprobs(output))):
        raise RuntimeError("internal error: the model's logits are not finite; check its weights, or run it in float32")
    return ids[:-1] if ids and ids[-1] in ends else ids


def generation(request: Request, output: Any, ends: Set[int]) -> Generation:
    """The Generation of a finished request. Raises RuntimeError when vLLM gave it up."""
    check_finished(request, output, ends)
    ids = new_tokens(output, ends)
    return Generation(
        token_ids=tuple(ids),
        logprobs=tuple(token_logprobs(output)[: len(ids)]),
        finish_reason="stop" if len(ids) < len(output.outputs[0].token_ids) else "length",
        usage=Usage(prompt_tokens=request.prompt_tokens, completion_tokens=len(ids)),
        top_logprobs=likeliest(request, output)[: len(ids)],
    )


def check_finished(request: Request, output: Any, ends: Set[int]) -> None:
    """Raises RuntimeError when vLLM ended a request for a reason of its own."""
    reason, ids = output.outputs[0].finish_reason, output.outputs[0].token_ids
    # Identifiers that let nothing of the grammar follow end the text, which the grammar then calls an error.
    ended = request.constraint is not None and request.constraint.identifiers is not None and _last(ids) in ends
    if reason not in ("stop", "length") and not ended:
        raise RuntimeError(f"internal error: vLLM ended a request ({reason or 'no reason given'})")


def token_logprobs(output: Any) -> list[float]:
    """The log-probability of each chosen token, which vLLM tells in front of those of the likeliest."""
    found = output.outputs[0].logprobs
    return [] if found is None else [found.logprobs[start] for start in found.start_indices]


def likeliest(request: Request, output: Any) -> tuple[Likeliest, ...]:
    """The likeliest tokens of each step that the grammar allows; nothing when the request did not ask for them."""
    found = output.outputs[0].logprobs
    if found is None or not request.sampling.top_logprobs:
        return ()
    pairs = list(zip(found.token_ids, found.logprobs, strict=True))
    return tuple(
        tuple(pair for pair in pairs[start + 1 : end] if pair[1] > -math.inf)
        for start, end in zip(found.start_indices, found.end_indices, strict=True)
    )


def _last(ids: Sequence[int]) -> int | None:
    return ids[-1] if ids else None
