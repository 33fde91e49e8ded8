"""Tiny random checkpoints of real architectures, as the hub has them: configuration, weights, processor.

Weights are large, so that different prompts and images get clearly different answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NARROW: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def tokenizer(special: Sequence[str], words: Sequence[str] = (), **marks: str) -> PreTrainedTokenizerFast:
    """One token a byte, ``special`` ones, and ``words`` that are ordinary but whole."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={sign: k for k, sign in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    made.add_tokens([AddedToken(word, normalized=False) for word in words])
    return PreTrainedTokenizerFast(tokenizer_object=made, **marks)


def save(folder: Path, model: type, config: Any, *parts: Any) -> Path:
    """Write random weights of ``config`` and the parts of the processor."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = model(config)
        with torch.no_grad():
            for weight in built.parameters():
                if weight.ndim > 1:
                    weight.normal_(0, 0.25)
    # The defaults name tokens of the real vocabulary.
    marks = {name: getattr(config.get_text_config(), name, None) for name in ("eos_token_id", "pad_token_id")}
    built.generation_config = transformers.GenerationConfig(**marks)
    if config.is_encoder_decoder:
        built.generation_config.decoder_start_token_id = config.decoder_start_token_id
    built.save_pretrained(folder)
    for part in parts:
        part.save_pretrained(folder)
    return folder


def qwen(folder: Path, version: str) -> Path:
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    names += ["<|image_pad|>", "<|video_pad|>"]
    text = tokenizer(names, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    text.chat_template = CHATML
    ids = dict(zip(names, text.convert_tokens_to_ids(names), strict=True))
    vision: dict[str, Any] = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2}
    if version == "2_5":
        vision |= {"out_hidden_size": 32, "fullatt_block_indexes": [1]}
    else:
        vision |= {"out_hidden_size": 32, "deepstack_visual_indexes": [0], "num_position_embeddings": 64}
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    config_class = getattr(transformers, f"Qwen{version}_VLConfig" if version == "2_5" else "Qwen3VLConfig")
    model_class = "Qwen2_5_VLForConditionalGeneration" if version == "2_5" else "Qwen3VLForConditionalGeneration"
    narrow = {**NARROW, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": len(text), "rope_parameters": rope}
    config = config_class(
        text_config={**narrow, "max_position_embeddings": 2048, "bos_token_id": None,
                     "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]},
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    side = 14 if version == "2_5" else 16
    images = Qwen2VLImageProcessorPil(min_pixels=4 * (2 * side) ** 2, max_pixels=16 * (2 * side) ** 2, patch_size=side)
    return save(folder, getattr(transformers, model_class), config, text, images)


def paligemma(folder: Path) -> Path:
    words = [f"<loc{k:04d}>" for k in range(1024)] + [f"<seg{k:03d}>" for k in range(128)]
    text = tokenizer(
        ["<pad>", "<eos>", "<bos>", "<image>"], words, eos_token="<eos>", bos_token="<bos>", pad_token="<pad>"
    )
    image, pad, eos, bos = text.convert_tokens_to_ids(["<image>", "<pad>", "<eos>", "<bos>"])
    config = transformers.PaliGemmaConfig(
        text_config={**NARROW, "model_type": "gemma", "num_key_value_heads": 1, "head_dim": 8, "vocab_size": len(text),
                     "num_image_tokens": 4, "pad_token_id": pad, "bos_token_id": bos, "eos_token_id": eos},
        vision_config={**NARROW, "model_type": "siglip_vision_model", "image_size": 32, "patch_size": 16,
                       "projection_dim": 32, "num_image_tokens": 4, "vision_use_head": False},
        projection_dim=32, image_token_index=image, pad_token_id=pad, eos_token_id=eos, bos_token_id=bos,
    )  # fmt: skip
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    images = SiglipImageProcessorPil(size={"height": 32, "width": 32}, image_seq_length=4)
    return save(folder, transformers.PaliGemmaForConditionalGeneration, config, text, images)


def florence2(folder: Path) -> Path:
    words = [f"<loc_{k}>" for k in range(1000)]
    names = ["<s>", "</s>", "<pad>", "<image>", *words]
    text = tokenizer(names, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    text.add_special_tokens({"additional_special_tokens": ["<image>"]})
    text.image_token = "<image>"
    text.init_kwargs["image_token"] = "<image>"
    bos, eos, pad, image = text.convert_tokens_to_ids(["<s>", "</s>", "<pad>", "<image>"])
    config = transformers.Florence2Config(
        text_config={"model_type": "bart", "d_model": 32, "encoder_layers": 1, "decoder_layers": 1,
                     "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64,
                     "decoder_ffn_dim": 64, "vocab_size": len(text), "max_position_embeddings": 512,
                     "bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad, "decoder_start_token_id": eos,
                     "forced_bos_token_id": bos, "forced_eos_token_id": eos},
        vision_config={"depths": [1, 1], "embed_dim": [16, 32], "num_heads": [2, 2], "num_groups": [2, 2],
                       "patch_size": [7, 3], "patch_stride": [4, 2], "patch_padding": [3, 1],
                       "patch_prenorm": [False, True], "window_size": 4, "projection_dim": 32,
                       "max_position_embeddings": 8, "drop_path_rate": 0.0},
        image_token_id=image, bos_token_id=bos, eos_token_id=eos, pad_token_id=pad, decoder_start_token_id=eos,
        is_encoder_decoder=True,
    )  # fmt: skip
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    size = {"height": 32, "width": 32}
    images = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False, image_seq_length=17)
    return save(folder, transformers.Florence2ForConditionalGeneration, config, text, images)


def kosmos2(folder: Path) -> Path:
    names = ["<s>", "<pad>", "</s>", "<unk>"]
    words = [f"<patch_index_{k:04d}>" for k in range(1024)]
    words += ["</doc>", "<image>", "</image>", "</chunk>", "</line>", "<phrase>", "</phrase>", "<object>", "</object>"]
    words += ["</delimiter_of_multi_objects/>", "<grounding>"]
    text = tokenizer(names, words, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    bos, pad, eos = text.convert_tokens_to_ids(["<s>", "<pad>", "</s>"])
    config = transformers.Kosmos2Config(
        text_config={"vocab_size": len(text), "embed_dim": 32, "layers": 2, "ffn_dim": 64, "attention_heads": 4,
                     "max_position_embeddings": 512, "pad_token_id": pad, "bos_token_id": bos, "eos_token_id": eos},
        vision_config={**NARROW, "image_size": 32, "patch_size": 16},
        latent_query_num=64, pad_token_id=pad, bos_token_id=bos, eos_token_id=eos,
    )  # fmt: skip
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    size = {"height": 32, "width": 32}
    whole = transformers.Kosmos2Processor(CLIPImageProcessorPil(size=size, crop_size=size), text)
    return save(folder, transformers.Kosmos2ForConditionalGeneration, config, whole)


ARCHITECTURES: dict[str, Callable[[Path], Path]] = {
    "qwen2_5_vl": lambda folder: qwen(folder, "2_5"),
    "qwen3_vl": lambda folder: qwen(folder, "3"),
    "paligemma": paligemma,
    "florence2": florence2,
    "kosmos2": kosmos2,
}
"""By the name of the dialect."""
