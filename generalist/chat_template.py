"""A conversation without images in a language model's own chat template, as token ids.

The ids are those that the model's own tokenizer gives for the whole rendered text, so that its answers are its own.
What a user typed never becomes a special token: its name is taken out before the template is rendered, and comes
back in text tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from generalist.tokens import TextBase, Vocabulary
from generalist.types import GeneralistError, Message

PLAIN = (
    "{%- for message in messages -%}"
    "{{ message['content'] }}{% if message['role'] == 'assistant' %}{{ eos_token }}{% elif not loop.last %}{{ '\\n' }}"
    "{% endif %}{%- endfor -%}"
)
"""For a model that has no template: the texts as they are, so that one question is just itself."""

_MARK = "\U0010fffd"  # the last private-use character, around the number of what was taken out
_MARKED = re.compile(f"{_MARK}([0-9]+){_MARK}")


def chat_ids(messages: Sequence[Message], vocab: Vocabulary) -> list[int]:
    """Token ids of ``messages`` and of the beginning of the answer, in the template of ``vocab.base``.

    Raises :class:`GeneralistError` for a conversation that the template refuses, and for text that is not Unicode.
    """
    assert vocab.base is not None
    tokenizer = vocab.base_tokenizer
    special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    names = re.compile("|".join(re.escape(name) for name in sorted([*special, _MARK], key=len, reverse=True)))
    taken_out: list[list[int]] = []

    def take_out(name: re.Match[str]) -> str:
        taken_out.append(vocab.encode_text(name[0]))
        return f"{_MARK}{len(taken_out) - 1}{_MARK}"

    turns = []
    for message in messages:
        vocab.check_text(message.text)
        turns.append({"role": message.role, "content": names.sub(take_out, message.text)})
    pieces = _MARKED.split(render(vocab.base, turns))  # text and numbers by turns
    ids: list[int] = []
    for index, piece in enumerate(pieces):
        ids += taken_out[int(piece)] if index % 2 else tokenizer.encode(piece, add_special_tokens=False).ids
    return ids


def render(base: TextBase, turns: Sequence[Mapping[str, str]], *, is_asking: bool = True) -> str:
    """The text of ``turns`` ("role", "content"); ``is_asking``: with the beginning of the answer.

    Raises :class:`GeneralistError` for what the template refuses or cannot do.
    """
    try:
        return _compiled(base.chat_template).render(
            messages=list(turns), tools=None, documents=None, add_generation_prompt=is_asking, **base.variables
        )
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GeneralistError(f"the model's chat template refuses this conversation ({reason}); change it") from error


@lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    """As transformers compiles chat templates, so that the text is the same to the last space."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.globals.update(raise_exception=_refuse, strftime_now=lambda form: datetime.now().strftime(form))
    return environment.from_string(template)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
