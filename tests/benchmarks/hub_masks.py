"""How long a first and a second prompt on one 1024 px photograph take with SAM 2, on this machine.

    python tests/benchmarks/hub_masks.py

Weights are random: of the real architecture of sam2.1-hiera-tiny by default, or ``--tiny``. Times are those of one
call each: loading, reading the image, decoding, and what ``draw`` takes in all.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import transformers
import typer
from PIL import Image
from transformers import Sam2Config, Sam2Model, ViTImageProcessorPil

from generalist.decoders.hub import HubMasks
from generalist.types import Box

_SIDE = 1024
_TINY: dict[str, Any] = {
    "vision_config": {
        "backbone_config": {
            "hidden_size": 8,
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [8, 16, 32, 64],
            "num_attention_heads_per_stage": [1, 1, 2, 2],
            "global_attention_blocks": [3],
        },
        "backbone_channel_list": [64, 32, 16, 8],
        "fpn_hidden_size": 32,
    },
    "prompt_encoder_config": {"hidden_size": 32},
    "mask_decoder_config": {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 2, "iou_head_hidden_dim": 32},
}


def main(
    tiny: Annotated[bool, typer.Option("--tiny", help="A narrow network at the full resolution.")] = False,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
) -> None:
    """Print a table."""
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (768, _SIDE, 3), dtype=np.uint8))
    with tempfile.TemporaryDirectory() as place:
        Sam2Model(Sam2Config(**_TINY) if tiny else Sam2Config()).save_pretrained(place)
        ViTImageProcessorPil(size={"height": _SIDE, "width": _SIDE}).save_pretrained(place)
        masks = HubMasks.open(Path(place), device)
        print(f"sam2 {'tiny' if tiny else 'hiera-tiny'}, {masks.source.weights_bytes / 1e6:.0f} MB, {device}")
        boxes = [Box(xyxy=(0.05 * k, 0.1, 0.05 * k + 0.3, 0.6)) for k in range(10)]
        for what, prompts in (("first prompt", boxes[:1]), ("second prompt", boxes[1:2]), ("ten boxes", boxes)):
            before, began = masks.work, time.perf_counter()
            masks.draw(photo, prompts)
            took, work = time.perf_counter() - began, masks.work
            print(
                f"{what:<14} {took:7.3f} s: load {work.load_s - before.load_s:.3f}, "
                f"image {work.encode_s - before.encode_s:.3f}, drawing {work.draw_s - before.draw_s:.3f}; "
                f"images read {work.encoded}, reused {work.reused}"
            )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    typer.run(main)
