"""Tiny random parents of real architectures, each with its kind of tokenizer, saved as on the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

LINES = (
    "The dog is asleep (on a sofa). Where is the red mug? Segment the cat.",
    "There are 12 boxes, a point, a mask, a depth map and a doc. What is it? Who are you?",
    "- Name: the dog Unit: box Num: 2\n- Name: the cat Unit: mask Num: 10\n",
)
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA_TURNS = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else 'user' %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
NARROW = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
WIDE = {**NARROW, "num_key_value_heads": 2, "initializer_range": 0.25, "max_position_embeddings": 512}
LANGUAGES: dict[str, dict[str, Any]] = {
    "llama": {**WIDE, "tie_word_embeddings": True},
    "qwen3": {**WIDE, "head_dim": 16, "tie_word_embeddings": False},
    "gpt2": {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 256, "initializer_range": 0.25},
    "gemma": {**WIDE, "head_dim": 16},
    "gemma2": {**WIDE, "head_dim": 16},
}
TOWERS: dict[str, dict[str, Any]] = {
    "siglip_vision_model": {**NARROW, "image_size": 32, "patch_size": 16},
    "dinov2": {
        **{name: NARROW[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")},
        "mlp_ratio": 2,
        "image_size": 28,
        "patch_size": 14,
    },
    "swin": {
        "embed_dim": 16,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "window_size": 2,
        "image_size": 32,
        "patch_size": 4,
    },
}
PADDING = 9
"""Rows that the Qwen has beyond its tokens, as those of the hub have."""


def byte_level(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer


def sentencepiece(special: list[str]) -> Tokenizer:
    """As Gemma's: spaces are U+2581, unknown letters are bytes, <bos> goes in front."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    alphabet = sorted({letter for line in LINES for letter in line.replace(" ", "\u2581")} - {"\n"} | set("<>[]_"))
    names = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, special_tokens=names, show_progress=False)
    tokenizer.train_from_iterator([line.replace("\n", " ") for line in LINES], trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    bos = special.index("<bos>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", bos)])
    return tokenizer


def make_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    if kind == "gpt2":
        return PreTrainedTokenizerFast(
            tokenizer_object=byte_level(["<|endoftext|>"]), bos_token="<|endoftext|>", eos_token="<|endoftext|>"
        )
    if kind == "gemma":
        special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
        return PreTrainedTokenizerFast(
            tokenizer_object=sentencepiece(special),
            bos_token="<bos>",
            eos_token="<eos>",
            pad_token="<pad>",
            chat_template=GEMMA_TURNS,
        )
    tokenizer = byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<think>", special=False, normalized=False)])  # text that is one token
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHATML,
    )


def save_language(folder: Path, kind: str, **changes: Any) -> Path:
    """A language model with its tokenizer; its replies end in one of two ways, as those of many do."""
    tokenizer = make_tokenizer(kind)
    ends = [tokenizer.eos_token_id]
    if kind != "gpt2":
        ends.append(tokenizer.convert_tokens_to_ids("<end_of_turn>" if kind == "gemma" else "<|endoftext|>"))
    rows = len(tokenizer) + (PADDING if kind == "qwen3" else 0)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": ends, "pad_token_id": tokenizer.pad_token_id}
    config = CONFIG_MAPPING[kind](**{**LANGUAGES[kind], "vocab_size": rows, **ids, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(config)
        if rows > len(tokenizer):  # never said, as in models that have learnt
            model.lm_head.weight.data[len(tokenizer) :] = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_tower(folder: Path, kind: str, **changes: Any) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = AutoModel.from_config(CONFIG_MAPPING[kind](**{**TOWERS[kind], **changes}))
        for parameter in model.parameters():
            if parameter.ndim > 1:  # an untrained tower says the same about every image
                torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    model.save_pretrained(folder)
    content = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return folder
