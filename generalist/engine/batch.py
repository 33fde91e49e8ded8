"""Replies of different prompts that are written side by side, each at its own pace (Orca's iteration-level batching).

A prompt is read by itself, exactly as the engine reads a single one; its keys and values then join those of the
rows under way, and from there on every step writes one token of every row. A row leaves between two steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from generalist.engine.context import Context
from generalist.engine.inputs import Input
from generalist.engine.rows import Row
from generalist.engine.transformers_engine import TransformersEngine, new_generator, take_forced
from generalist.types import Prompt, Sampling


@dataclass(slots=True, kw_only=True, eq=False)
class Speaker:
    """A reply under way, and how its tokens are chosen."""

    row: Row
    sampling: Sampling
    generator: torch.Generator

    @property
    def is_speaking(self) -> bool:
        return self.row.finish_reason is None


@dataclass(slots=True, kw_only=True, eq=False)
class _Group:
    """Rows that one context holds, in its order."""

    context: Context
    speakers: list[Speaker] = field(default_factory=list)


class Batch:
    """The replies under way of one engine. What a reply says does not depend on the others.

    Not safe to share between threads. After an exception from :meth:`step` make a new one.
    """

    def __init__(self, engine: TransformersEngine) -> None:
        self._engine = engine
        # Those that have just joined, until the next step; for good where a model's cache takes no further rows.
        self._groups: list[_Group] = []

    def __len__(self) -> int:
        """How many replies are under way."""
        return sum(len(group.speakers) for group in self._groups)

    def join(self, prompt: Prompt, item: Input, sampling: Sampling) -> Speaker:
        """Read a prompt (``item``: what the engine's ``check`` made of it) and say its first tokens.

        Raises :class:`~generalist.types.GeneralistError` for a grammar that is not valid. An exception leaves the
        other replies as they were.
        """
        (row,) = self._engine.rows([prompt], [item], sampling)
        speaker = Speaker(row=row, sampling=sampling, generator=new_generator(sampling.seed))
        _say_forced(speaker)
        if not speaker.is_speaking:
            return speaker
        context, logits = self._engine.start([item], [row])
        self._say([speaker], logits)
        if speaker.is_speaking:
            self._groups.append(_Group(context=context, speakers=[speaker]))
        return speaker

    def leave(self, speaker: Speaker) -> None:
        """Stop a reply, if it is still under way."""
        for group in self._groups:
            if speaker in group.speakers:
                self._keep(group, [other for other in group.speakers if other is not speaker])
        self._groups = [group for group in self._groups if group.speakers]

    def step(self) -> None:
        """Let every reply say a token; one that is alone says what its grammar forces as well."""
        self._unite()
        for group in self._groups:
            if len(group.speakers) == 1:
                _say_forced(group.speakers[0])
            self._keep(group, [speaker for speaker in group.speakers if speaker.is_speaking])
            if group.speakers:
                logits = group.context.read(self._engine.ids([speaker.row.unread() for speaker in group.speakers]))
                self._say(group.speakers, logits)
                self._keep(group, [speaker for speaker in group.speakers if speaker.is_speaking])
        self._groups = [group for group in self._groups if group.speakers]

    def _unite(self) -> None:
        if len(self._groups) > 1 and all(group.context.can_join for group in self._groups):
            first, *others = self._groups
            first.context.join([group.context for group in others])
            first.speakers = [speaker for group in self._groups for speaker in group.speakers]
            self._groups = [first]

    def _keep(self, group: _Group, speakers: list[Speaker]) -> None:
        if speakers and len(speakers) < len(group.speakers):
            group.context.keep([place for place, speaker in enumerate(group.speakers) if speaker in speakers])
        group.speakers = speakers

    def _say(self, speakers: list[Speaker], logits: Tensor) -> None:
        """Choose the next token of every row from logits [R, V]."""
        alike: dict[tuple[float, float, int, int], list[int]] = {}
        for place, speaker in enumerate(speakers):
            sampling = speaker.sampling
            how = (sampling.temperature, sampling.top_p, sampling.top_k, sampling.top_logprobs)
            alike.setdefault(how, []).append(place)
        for places in alike.values():
            chosen = [speakers[place] for place in places]
            some = logits if len(chosen) == len(speakers) else logits[places]
            generators = [speaker.generator for speaker in chosen]
            tokens = self._engine.choose(some, [speaker.row for speaker in chosen], generators, chosen[0].sampling)
            for speaker, token in zip(chosen, tokens, strict=True):
                speaker.row.take(*token)


def _say_forced(speaker: Speaker) -> None:
    for _ in take_forced(speaker.row):
        pass
