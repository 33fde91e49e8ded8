from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from generalist.decoders import DECODERS, DepthCodec, MaskCodec, load_decoders
from generalist.decoders.box import BoxDecoder
from generalist.decoders.crops import from_rle
from generalist.decoders.depth import DepthDecoder, range_metres, range_value
from generalist.decoders.mask import MaskDecoder
from generalist.decoders.point import PointDecoder
from generalist.tokens import Vocabulary
from generalist.types import KINDS, DepthMap, GeneralistError, Mask, Ref

from .conftest import ellipses


def ref(*codes: int) -> Ref:
    return Ref(index=0, codes=codes)


# --- geometry ---


def test_a_box_is_the_centres_of_its_bins(vocab: Vocabulary) -> None:
    (box,) = BoxDecoder(vocab).decode([ref(0, 16, 32, 63)], (10, 10))
    assert box.xyxy == (0.5 / 64, 16.5 / 64, 32.5 / 64, 63.5 / 64)


def test_corners_in_any_order_give_the_same_box(vocab: Vocabulary) -> None:
    boxes = BoxDecoder(vocab).decode([ref(3, 4, 9, 8), ref(9, 8, 3, 4), ref(3, 8, 9, 4)], (10, 10))
    assert boxes[0] == boxes[1] == boxes[2]
    assert boxes[0].xyxy[0] < boxes[0].xyxy[2]


def test_a_point_is_x_then_y(vocab: Vocabulary) -> None:
    (point,) = PointDecoder(vocab).decode([ref(1, 62)], (10, 10))
    assert point.xy == (1.5 / 64, 62.5 / 64)


# --- masks ---


def test_a_drawn_mask_comes_back_as_it_was(vocab: Vocabulary, mask_codec: MaskCodec) -> None:
    decoder = MaskDecoder(vocab, mask_codec)
    drawn = np.zeros((96, 128), dtype=bool)
    drawn[16:80, 32:96] = ellipses(1, seed=5)[0].numpy()
    xyxy, codes = decoder.encode(drawn)
    assert len(codes) == 16 and all(isinstance(code, int) for code in codes)
    (mask,) = decoder.decode([ref(*(vocab.loc_bin(v) for v in xyxy), *codes)], drawn.shape)
    assert mask.size == (96, 128)
    assert mask.xyxy == pytest.approx(xyxy, abs=1 / 64)
    back = from_rle(mask.counts, mask.size)
    assert (back & drawn).sum() / (back | drawn).sum() > 0.9


def test_an_empty_drawn_mask_is_refused(vocab: Vocabulary, mask_codec: MaskCodec) -> None:
    with pytest.raises(GeneralistError, match="no set pixel"):
        MaskDecoder(vocab, mask_codec).encode(np.zeros((5, 5), dtype=bool))


# --- depth ---


@pytest.fixture(scope="module")
def depth(vocab: Vocabulary) -> DepthDecoder:
    return DepthDecoder(vocab, DepthCodec(vocab.sizes.depth_grid, vocab.sizes.depth_codes).eval())


def test_the_range_scale_goes_from_ten_centimetres_to_a_hundred_metres() -> None:
    assert [range_metres(v) for v in (0, 1 / 3, 1)] == pytest.approx([0.1, 1, 100])
    assert [range_value(m) for m in (0.01, 0.1, 1, 100, 500)] == pytest.approx([0, 0, 1 / 3, 1, 1])


def test_depth_fills_the_image_between_near_and_far(vocab: Vocabulary, depth: DepthDecoder) -> None:
    (found,) = depth.decode([ref(20, 50, *range(32), *range(32))], (37, 53))
    near, far = range_metres(vocab.loc_value(20)), range_metres(vocab.loc_value(50))
    assert found.values.shape == (37, 53) and found.values.dtype == np.float32 and found.unit == "metre"
    assert near * 0.999 <= found.values.min() < found.values.max() <= far * 1.001


def test_depth_is_logarithmic_between_near_and_far(vocab: Vocabulary, depth: DepthDecoder) -> None:
    codes = tuple(range(32)) * 2
    (found,) = depth.decode([ref(20, 50, *codes)], (96, 96))
    with torch.no_grad():
        u = depth.codec.decode(torch.tensor([codes]))[0].numpy()
    near, far = range_metres(vocab.loc_value(20)), range_metres(vocab.loc_value(50))
    assert np.allclose(found.values, near * (far / near) ** u, rtol=1e-4)


def test_a_range_written_backwards_is_read_forwards(depth: DepthDecoder) -> None:
    forwards, backwards = depth.decode([ref(20, 50, *[3] * 64), ref(50, 20, *[3] * 64)], (9, 9))
    assert np.array_equal(forwards.values, backwards.values)


def test_a_range_without_extent_is_a_flat_map(vocab: Vocabulary, depth: DepthDecoder) -> None:
    (flat,) = depth.decode([ref(20, 20, *range(32), *range(32))], (9, 9))
    assert np.allclose(flat.values, range_metres(vocab.loc_value(20)))


# --- all of them ---


def test_a_checkpoint_gives_a_decoder_for_every_kind(checkpoint: Path, vocab: Vocabulary) -> None:
    decoders = load_decoders(checkpoint, vocab)
    assert tuple(DECODERS) == tuple(kind for kind in KINDS if kind != "doc")  # documents need an index
    assert {kind: decoder.kind for kind, decoder in decoders.items()} == {kind: kind for kind in DECODERS}


@pytest.mark.parametrize("name", ["mask_codec.safetensors", "depth_codec.safetensors"])
def test_a_checkpoint_without_a_codec_is_refused(
    checkpoint: Path, vocab: Vocabulary, tmp_path: Path, name: str
) -> None:
    for file in checkpoint.iterdir():
        if file.name != name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(GeneralistError, match=f"{name}: no such file"):
        load_decoders(tmp_path, vocab)


@pytest.mark.parametrize("size", [(1, 1), (2, 20000), (48, 64)])
def test_any_codes_in_range_decode(checkpoint: Path, vocab: Vocabulary, size: tuple[int, int]) -> None:
    rng, sizes = random.Random(0), vocab.sizes
    blocks = {
        "box": [sizes.locs] * 4,
        "point": [sizes.locs] * 2,
        "mask": [sizes.locs] * 4 + [sizes.mask_codes] * sizes.mask_length,
        "depth": [sizes.locs] * 2 + [sizes.depth_codes] * sizes.depth_grid**2,
    }
    for kind, decoder in load_decoders(checkpoint, vocab).items():
        refs = [ref(*(rng.randrange(n) for n in blocks[kind])) for _ in range(20)]
        refs += [ref(*[0] * len(blocks[kind])), ref(*(n - 1 for n in blocks[kind]))]
        outputs = decoder.decode(refs, size)
        assert len(outputs) == len(refs)
        assert list(decoder.decode([], size)) == []
        for output in outputs:
            if isinstance(output, Mask):
                assert from_rle(output.counts, output.size).shape == size
            if isinstance(output, DepthMap):
                assert output.values.shape == size and np.isfinite(output.values).all()
                assert output.values.min() >= 0.1 and output.values.max() <= 100
