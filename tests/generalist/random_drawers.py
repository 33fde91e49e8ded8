"""Tiny random checkpoints of models that draw masks or depth, as the hub has them; pictures are noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import DPTImageProcessorPil, SamImageProcessorPil, ViTImageProcessorPil, ZoeDepthImageProcessorPil

DECODER: dict[str, Any] = {
    "hidden_size": 32,
    "mlp_dim": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "iou_head_hidden_dim": 16,
}
TOWER: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
NECK: dict[str, Any] = {
    "neck_hidden_sizes": [8, 8, 8, 8],
    "fusion_hidden_size": 8,
    "reassemble_factors": [4, 2, 1, 0.5],
}


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def save(folder: Path, model_class: Any, config: Any, processor: Any) -> Path:
    """Write random weights of ``config``, large ones, so that different images and prompts draw different things."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_class(config)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:
                    weight.normal_(0, 0.25)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def sam(folder: Path) -> Path:
    narrow = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 32, "num_pos_feats": 16}
    vision = {**narrow, "output_channels": 32, "image_size": 64, "patch_size": 8, "window_size": 4}
    config = transformers.SamConfig(
        vision_config={**vision, "global_attn_indexes": [1]},
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "patch_size": 8, "mask_input_channels": 4},
        mask_decoder_config=DECODER,
    )
    processor = SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    return save(folder, transformers.SamModel, config, processor)


def sam2(folder: Path) -> Path:
    backbone = {
        "hidden_size": 8,
        "image_size": [128, 128],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [8, 4, 4, 4],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
    }
    config = transformers.Sam2Config(
        vision_config={
            "backbone_config": backbone,
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 128, "mask_input_channels": 4},
        mask_decoder_config=DECODER,
    )
    return save(folder, transformers.Sam2Model, config, ViTImageProcessorPil(size={"height": 128, "width": 128}))


def sam3(folder: Path) -> Path:
    backbone = {**TOWER, "num_hidden_layers": 2, "image_size": 112, "patch_size": 14, "window_size": 4}
    backbone |= {"model_type": "sam3_vit_model", "global_attn_indexes": [1], "pretrain_image_size": 56}
    config = transformers.Sam3TrackerConfig(
        vision_config={
            "model_type": "sam3_vision_model",
            "backbone_config": backbone,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 112, "patch_size": 14, "mask_input_channels": 4},
        mask_decoder_config=DECODER,
    )
    processor = ViTImageProcessorPil(size={"height": 112, "width": 112})
    return save(folder, transformers.Sam3TrackerModel, config, processor)


MEMORY: dict[str, Any] = {
    "memory_attention_hidden_size": 32,
    "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 32,
    "memory_encoder_hidden_size": 32,
    "memory_encoder_output_channels": 8,
    "mask_downsampler_embed_dim": 32,
    "memory_fuser_embed_dim": 32,
    "memory_fuser_intermediate_dim": 32,
    "memory_fuser_num_layers": 1,
}


def sam2_video(folder: Path) -> Path:
    """What the hub calls SAM 2.1: the weights of an image model, and a memory for videos."""
    image = transformers.Sam2Config.from_pretrained(sam2(folder)).to_dict()
    parts = {name: image[name] for name in ("vision_config", "prompt_encoder_config", "mask_decoder_config")}
    config = transformers.Sam2VideoConfig(**parts, **MEMORY, image_size=128)
    processor = ViTImageProcessorPil(size={"height": 128, "width": 128})
    return save(folder, transformers.Sam2VideoModel, config, processor)


def sam3_video(folder: Path) -> Path:
    """What the hub calls SAM 3: the tracker's weights under the names that they have there, without the detector's."""
    image = transformers.Sam3TrackerConfig.from_pretrained(sam3(folder)).to_dict()
    parts = {name: image[name] for name in ("vision_config", "prompt_encoder_config", "mask_decoder_config")}
    sizes: dict[str, Any] = {"image_size": 112}  # no field, but set through one
    tracker = transformers.Sam3TrackerVideoConfig(**parts, **MEMORY, **sizes)
    transformers.Sam3VideoConfig(tracker_config=tracker.to_dict()).save_pretrained(folder)
    return folder


def dinov2(**more: Any) -> Any:
    tower = {**TOWER, "image_size": 56, "patch_size": 14, "mlp_ratio": 2, "out_indices": [1, 2, 3, 4]}
    return transformers.Dinov2Config(**tower, **more)


def depth_anything(folder: Path, **more: Any) -> Path:
    config = transformers.DepthAnythingConfig(
        backbone_config=dinov2(reshape_hidden_states=False),
        reassemble_hidden_size=16,
        head_hidden_size=8,
        **NECK,
        **more,
    )
    processor = DPTImageProcessorPil(size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14)
    return save(folder, transformers.DepthAnythingForDepthEstimation, config, processor)


def metric_anything(folder: Path) -> Path:
    return depth_anything(folder, depth_estimation_type="metric", max_depth=20)


def dpt(folder: Path) -> Path:
    config = transformers.DPTConfig(**TOWER, **NECK, image_size=64, patch_size=8, backbone_out_indices=[0, 1, 2, 3])
    processor = DPTImageProcessorPil(size={"height": 64, "width": 64})
    return save(folder, transformers.DPTForDepthEstimation, config, processor)


def dpt_dinov2(folder: Path) -> Path:
    config = transformers.DPTConfig(backbone_config=dinov2(reshape_hidden_states=False), **NECK)
    processor = DPTImageProcessorPil(size={"height": 56, "width": 56})
    return save(folder, transformers.DPTForDepthEstimation, config, processor)


def zoedepth(folder: Path) -> Path:
    tower: dict[str, Any] = {**TOWER, "image_size": 64, "patch_size": 8, "out_indices": [1, 2, 3, 4]}
    places: dict[str, Any] = {"use_relative_position_bias": True, "use_absolute_position_embeddings": False}
    backbone = transformers.BeitConfig(**tower, **places, use_mask_token=False, reshape_hidden_states=False)
    config = transformers.ZoeDepthConfig(
        backbone_config=backbone,
        **NECK,
        bottleneck_features=8,
        num_relative_features=8,
        num_attractors=[2, 2, 2, 1],
        bin_embedding_dim=8,
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0}],
    )
    processor = ZoeDepthImageProcessorPil(size={"height": 64, "width": 64}, ensure_multiple_of=32)
    return save(folder, transformers.ZoeDepthForDepthEstimation, config, processor)


DRAWERS: dict[str, Callable[[Path], Path]] = {
    made.__name__: made
    for made in (sam, sam2, sam2_video, sam3, sam3_video, depth_anything, metric_anything, dpt, dpt_dinov2, zoedepth)
}
