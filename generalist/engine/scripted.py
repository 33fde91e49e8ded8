"""An engine that says what it is told: everything above the model can be tested in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from generalist.types import GeneralistError, Generation, Prompt, Sampling, Usage


class ScriptedEngine:
    """Answers prompt after prompt with ``replies`` (token ids without the end token), over and over.

    Every token gets the log-probability ``logprob`` and is told as the likeliest. ``prompts`` and ``samplings`` record
    what was asked, one entry a prompt. A reply longer than ``max_new_tokens`` is cut, as a model's would be.
    """

    def __init__(self, replies: Sequence[Sequence[int]], logprob: float = -0.1) -> None:
        if not replies:
            raise GeneralistError("a scripted engine has no replies; give it at least one list of token ids")
        self._replies = [tuple(reply) for reply in replies]
        self._logprob = logprob
        self.prompts: list[Prompt] = []
        self.samplings: list[Sampling] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        return [self._answer(prompt, sampling) for prompt in prompts]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[int]:
        return iter(self._answer(prompt, sampling).token_ids)

    def _answer(self, prompt: Prompt, sampling: Sampling) -> Generation:
        reply = self._replies[len(self.prompts) % len(self._replies)]
        self.prompts.append(prompt)
        self.samplings.append(sampling)
        ids = reply[: sampling.max_new_tokens]
        return Generation(
            token_ids=ids,
            logprobs=(self._logprob,) * len(ids),
            finish_reason="stop" if len(ids) == len(reply) else "length",
            usage=Usage(prompt_tokens=len(prompt.token_ids), completion_tokens=len(ids)),
            top_logprobs=tuple(((token, self._logprob),) for token in ids) if sampling.top_logprobs else (),
        )
