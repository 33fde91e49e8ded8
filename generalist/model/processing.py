"""The processor: tokenizer, image processor and chat template as transformers and vLLM expect them."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerFast
from transformers.processing_utils import MultiModalData, ProcessorMixin

from generalist.model.configuration import GeneralistConfig
from generalist.model.image_processing import GeneralistImageProcessor
from generalist.tokens import ASSISTANT, BOS, EOS, IMAGE, SYSTEM, USER, Vocabulary

# A turn: role token, one image token per image, the text; the assistant's turns end. Images come first wherever
# they stand in the content, as in training.
CHAT_TEMPLATE = (
    "{{- '" + BOS + "' -}}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{{- '" + SYSTEM + "' -}}"
    "{%- elif message['role'] == 'user' -%}{{- '" + USER + "' -}}"
    "{%- elif message['role'] == 'assistant' -%}{{- '" + ASSISTANT + "' -}}"
    "{%- else -%}{{- raise_exception('role is ' ~ message['role'] ~ '; use system, user or assistant') -}}{%- endif -%}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}"
    "{%- for part in message['content'] if part['type'] in ('image', 'image_url') -%}{{- '" + IMAGE + "' -}}"
    "{%- endfor -%}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}"
    "{%- endif -%}"
    "{%- if message['role'] == 'assistant' -%}{{- '" + EOS + "' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '" + ASSISTANT + "' -}}{%- endif -%}"
)
_LOOK_FOR_IMAGES = (
    "{%- set seen = namespace(images=false, turns=[]) -%}"
    "{%- for message in messages if message['content'] is not string -%}"
    "{%- for part in message['content'] if part['type'] in ('image', 'image_url') -%}{%- set seen.images = true -%}"
    "{%- endfor -%}{%- endfor -%}"
)
_JOIN = (
    "{%- for message in messages -%}{%- set content = message['content'] -%}"
    "{%- if content is not string -%}"
    "{%- set content = content | selectattr('type', 'equalto', 'text') | map(attribute='text') | join -%}{%- endif -%}"
    "{%- set seen.turns = seen.turns + [{'role': message['role'], 'content': content}] -%}{%- endfor -%}"
    "{%- set messages = seen.turns %}"
)


class GeneralistProcessor(ProcessorMixin):
    """Text with one ``<image>`` per image, and the images -> model inputs, the image tokens repeated.

    Text is tokenized with special tokens recognised, because a chat template writes them as text. So what a
    user typed must not reach it unchecked: "<loc_0001>" would become a coordinate. ``generalist.prompt`` builds
    prompts from token ids and has no such hole; ``processor.tokenizer(text, split_special_tokens=True)``
    treats all of ``text`` as plain text.
    """

    image_token = IMAGE

    def __init__(
        self,
        image_processor: GeneralistImageProcessor,
        tokenizer: PreTrainedTokenizerFast,
        chat_template: str | None = None,
        num_image_tokens: int = 144,
    ) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)
        self.num_image_tokens = num_image_tokens
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)

    @classmethod
    def for_model(
        cls, config: GeneralistConfig, vocabulary: Vocabulary, image_processor: GeneralistImageProcessor | None = None
    ) -> GeneralistProcessor:
        """A processor that fits ``config``; the default normalisation is that of our own tower."""
        if image_processor is None:
            height, width = config.image_hw
            image_processor = GeneralistImageProcessor(size={"height": height, "width": width})
        template = chat_template(vocabulary)
        return cls(image_processor, fast_tokenizer(vocabulary), template, num_image_tokens=config.num_image_tokens)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """What one ``<image>`` of the text becomes."""
        return self.image_token * self.num_image_tokens

    def _get_num_multimodal_tokens(self, image_sizes: list[Any] | None = None, **kwargs: Any) -> MultiModalData:
        """Every image takes the same number of tokens, whatever its size."""
        count = len(image_sizes or [])
        return MultiModalData(num_image_tokens=[self.num_image_tokens] * count, num_image_patches=[1] * count)


def chat_template(vocabulary: Vocabulary) -> str:
    """Ours; for a vocabulary with a ``base``, that one's own where no message has an image, as in ``prompt.build``.

    Its contents are joined to plain strings first, since most templates read nothing else.
    """
    turns = CHAT_TEMPLATE.replace(f"'{EOS}'", "'" + vocabulary.name(vocabulary.eos) + "'")
    turns = turns.replace(f"'{BOS}'", "'" + vocabulary.name(vocabulary.structure[BOS]) + "'")
    if vocabulary.base is None:
        return turns
    theirs = f"{_JOIN}{vocabulary.base.chat_template}"
    return f"{_LOOK_FOR_IMAGES}{{%- if seen.images -%}}{turns}{{%- else -%}}{theirs}{{% endif %}}"


def fast_tokenizer(vocabulary: Vocabulary) -> PreTrainedTokenizerFast:
    """transformers' view of the vocabulary's tokenizer: a copy, same ids, padded on the left."""
    return PreTrainedTokenizerFast(
        tokenizer_object=vocabulary.tokenizer,  # copied there, so its switches do not touch the vocabulary
        bos_token=vocabulary.name(vocabulary.structure[BOS]),
        eos_token=vocabulary.name(vocabulary.eos),
        pad_token=vocabulary.name(vocabulary.pad),
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
