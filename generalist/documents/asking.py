"""How a model is asked for identifiers: the prompt says what is to be named (UGR: Chen et al. 2023).

A checkpoint of this project gets a conversation and writes words of a text behind ``<doc>``; an entity it names as the
phrase that every reply with a document begins with. A causal language model continues plain text. Whoever trains a
base for search uses these same prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from PIL.Image import Image
from tokenizers import Tokenizer

from generalist.pipeline import Line
from generalist.tokens import DOC_OPEN, PHRASE_OPEN
from generalist.types import ChatRequest, GeneralistError, Message, Prompt, VisualPrompt

Granularity = Literal["document", "passage", "sentence", "entity"]
"""What is to be found. An entity is a document that is named by its title; the others by words of their text."""

GRANULARITIES: dict[Granularity, str] = {
    "document": "Words of the document that answers this: {}",
    "passage": "Words of the passage that answers this: {}",
    "sentence": "Words of the sentence that answers this: {}",
    "entity": "{}",
}
"""How a checkpoint of this project is asked. It has learnt what the card of a thing is: entities need no more words."""

_CONTINUED: dict[Granularity, str] = {
    "document": "Question: {}\nDocument:",
    "passage": "Question: {}\nPassage:",
    "sentence": "Question: {}\nSentence:",
    "entity": 'Question: {}\nThe title of the article that answers it is "',
}
"""How a causal language model is: its text goes on behind a space, a title behind a quotation mark."""
TITLE_END = '"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is looked for: words, images, or both; ``visual_prompts`` are drawn on the last image."""

    text: str
    images: tuple[Image, ...] = ()
    visual_prompts: tuple[VisualPrompt, ...] = ()
    granularity: Granularity = "document"


def chat_prompt(question: Question, line: Line) -> Prompt:
    """The prompt of a checkpoint; :class:`GeneralistError` for a question that it cannot be asked."""
    text = GRANULARITIES[question.granularity].format(question.text)
    message = Message(role="user", text=text, images=question.images, visual_prompts=question.visual_prompts)
    prompt = line.prepare(ChatRequest(messages=(message,)))
    opened = line.vocabulary.structure[PHRASE_OPEN if question.granularity == "entity" else DOC_OPEN]
    return replace(prompt, token_ids=(*prompt.token_ids, opened), constraint=None)


def text_prompt(question: Question, tokenizer: Tokenizer) -> list[int]:
    """The prompt of a causal language model; :class:`GeneralistError` for a question about an image."""
    if question.images or question.visual_prompts:
        raise GeneralistError("the index is in the tokens of a language model, which sees no images; ask in words")
    text = _CONTINUED[question.granularity].format(question.text)
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def check_questions(questions: Sequence[Question]) -> None:
    """Raises :class:`GeneralistError` for one that says nothing."""
    for question in questions:
        if not question.text.strip():
            raise GeneralistError(f"the question is empty ({question.text[:20]!r}); say what to find")
        if question.granularity not in GRANULARITIES:
            raise GeneralistError(
                f"there is no granularity {question.granularity!r}; use one of {', '.join(GRANULARITIES)}"
            )
        try:
            question.text.encode()
        except UnicodeEncodeError as error:
            raise GeneralistError("the question is not valid Unicode: it has bytes that are not UTF-8; retype it"
                                  ) from error  # fmt: skip
