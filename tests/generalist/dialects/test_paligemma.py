"""PaliGemma: locations y before x in 1024 parts, then codes of a mask, then the label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from supervision.detection.vlm import from_paligemma
from torch import nn

from generalist.dialects import Question, get_dialect, parse
from generalist.dialects.paligemma import Paligemma
from generalist.dialects.seg_codec import SegCodec
from generalist.types import GeneralistError, Mask, VisualPrompt

from .rows import BOX, CAPTION, CHAT, DETECT, SEGMENT, SIZES, Row, check, documented, malformed

DIALECT = get_dialect("paligemma")
AT = "<loc0102><loc0205><loc0512><loc0614>"
CAT_AT = "<loc0000><loc0000><loc1023><loc1023>"
CODES = "".join(f"<seg{code:03d}>" for code in range(0, 128, 8))
PLACE, CAT_BOX = "200 50 600 250", "cat box 0 0 999 499.5"
DOG_BOX = f"dog box {PLACE}"

DOCUMENTED = [
    documented(f"{AT} dog", DOG_BOX, clean="dog"),
    documented(f"{AT} dog ; {CAT_AT} cat", f"{DOG_BOX}; {CAT_BOX}", clean="dog, cat"),
    documented(f"{AT} dog;{CAT_AT} cat", f"{DOG_BOX}; {CAT_BOX}"),
    documented(f"{AT} dog <eos>", DOG_BOX, clean="dog"),
    documented(f"{AT} dog ; {AT} dog ; {CAT_AT} cat", f"{DOG_BOX}; {DOG_BOX}; {CAT_BOX}", clean="dog, dog, cat"),
    documented(f"{AT} a dog's red, long-haired tail", f"a dog's red, long-haired tail box {PLACE}", BOX),
    documented(f"{AT} {CAT_AT} cat", f"dogs box {PLACE}; {CAT_BOX}"),
    documented(f"{AT}\n{CAT_AT}", f"dogs box {PLACE}; dogs box 0 0 999 499.5"),
    documented(AT, f"the dog box {PLACE}", BOX),
    documented("a dog on a sofa", "", CAPTION, "a dog on a sofa"),
    documented("yes", "", CHAT, "yes"),
    documented("", "", CHAT, ""),
    documented("x < 3 and <loc> is no tag", "", CHAT, "x < 3 and <loc> is no tag"),
    documented(f"{AT} Hund", f"Hund box {PLACE}", CHAT),
]

MALFORMED = [
    malformed(AT[:27], ""),  # cut off behind three locations
    malformed(f"{AT} dog ; {CAT_AT[:18]}", DOG_BOX),  # cut off behind two
    malformed("<loc0102><loc0205> dog", ""),  # a point
    malformed(f"{AT}<loc0001> dog", ""),  # five locations
    malformed(f"{AT}{CAT_AT} dog", ""),  # eight
    malformed(f"<loc0001> dog ; {CAT_AT} cat", CAT_BOX),  # one, then a whole one
    malformed("<loc0102><loc0205><loc0512><loc9999> dog", "dog box 200 50 1000 250"),  # beyond the edge
    malformed("<loc2000><loc2000><loc3000><loc3000> dog", ""),  # outside
    malformed("<loc0512><loc0614><loc0102><loc0205> dog", DOG_BOX),  # corners turned round
    malformed("<loc0102><loc0205><loc512><loc0614> dog", ""),  # three digits
    malformed("<loc0102><loc0205><loc05120><loc0614> dog", ""),  # five digits
    malformed("<loc0102><loc0205 ><loc0512><loc0614> dog", ""),  # a blank in a tag
    malformed("<loc0102><loc0205", ""),  # cut off in a tag
    malformed(f"{CODES} dog", "", clean=" dog"),  # codes without a box
    malformed(f"{AT}{CODES} dog", DOG_BOX, SEGMENT),  # a mask, and no codec
    malformed(f"{AT}{CODES[:24]} dog", DOG_BOX, SEGMENT),  # three codes
    malformed(f"{AT}{CODES}<seg001> dog", DOG_BOX, SEGMENT),  # seventeen codes
    malformed(f"{AT}{CODES[:-8]}<seg999> dog", DOG_BOX, SEGMENT),  # a code that there is not
    malformed(f"{AT[:27]}{CODES} dog", "", SEGMENT),  # codes behind three locations
    malformed(f"{AT} {'dog ' * 100}", f"{('dog ' * 50).strip()} box {PLACE}"),  # a label without end
    malformed(f"<seg001>{AT} dog", DOG_BOX),  # a code before its box
    malformed(f"; ; {AT[:9]};;{AT} dog", DOG_BOX),  # separators without units
]


@pytest.mark.parametrize("row", DOCUMENTED)
def test_documented_answers_draw_what_they_say(row: Row) -> None:
    check(row, DIALECT, issues=False)


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed_answers_draw_what_is_sound(row: Row) -> None:
    check(row, DIALECT, issues=True)


@pytest.mark.parametrize("answer", [f"{AT} dog", f"{AT} dog ; {CAT_AT} cat", f"{AT}<loc0001> dog", AT[:27]])
def test_boxes_equal_those_of_supervision(answer: str) -> None:
    expected, _, names = from_paligemma(answer, resolution_wh=SIZES.submitted)
    outputs = parse(DIALECT, answer, DETECT).outputs
    found = np.array([item.output.xyxy for item in outputs]).reshape(-1, 4)  # type: ignore[union-attr]
    assert np.allclose(found * (1000, 500, 1000, 500), expected)
    assert [item.label for item in outputs] == list(names)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (DETECT, "detect dogs"),
        (BOX, "detect the dog"),
        (SEGMENT, "segment the dog"),
        (CAPTION, "caption en"),
        (CHAT, "answer en What is in the image?"),
        (Question(text="ocr", sizes=SIZES), "ocr"),
    ],
)
def test_asks_with_its_prefixes(question: Question, words: str) -> None:
    assert DIALECT.ask(question).text == words


def test_refuses_drawings() -> None:
    prompt = VisualPrompt(kind="box", xyxy=(0.1, 0.2, 0.5, 0.6))
    with pytest.raises(GeneralistError, match="cannot be shown a box; use words alone"):
        DIALECT.ask(Question(text="What is this?", visual_prompts=(prompt,), sizes=SIZES))


# --- masks ---


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Conv2d(width, width, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.net(x)


def decoder(width: int = 8) -> nn.Sequential:
    """The published architecture, narrower."""
    layers: list[nn.Module] = [nn.Conv2d(16, width, 1), nn.ReLU(), Residual(width), Residual(width)]
    for _ in range(4):
        layers += [nn.ConvTranspose2d(width, width, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 1))


@pytest.fixture(scope="module")
def codec_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paligemma")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = decoder()
        torch.save(model.state_dict(), folder / "decoder.pt")
        table = torch.randn(128, 16)
    weights = {f"decoder.{name}": value.numpy() for name, value in model.state_dict().items()}
    np.savez(folder / "vae-oid.npz", **{"_vq_vae._embedding": table.numpy(), **weights})
    return folder


def test_the_codec_computes_what_torch_does(codec_folder: Path) -> None:
    codec = SegCodec.load(codec_folder / "vae-oid.npz")
    model = decoder()
    model.load_state_dict(torch.load(codec_folder / "decoder.pt"))
    codes = list(range(0, 128, 8))
    with np.load(codec_folder / "vae-oid.npz") as file:
        table = torch.from_numpy(file["_vq_vae._embedding"])
    with torch.no_grad():
        expected = model(table[codes].view(1, 4, 4, 16).permute(0, 3, 1, 2))[0, 0].mul(0.5).add(0.5).clamp(0, 1)
    assert np.allclose(codec.decode(codes), expected.numpy(), atol=1e-5)


def test_draws_masks_with_the_codec_of_the_folder(codec_folder: Path) -> None:
    reading = parse(get_dialect("paligemma", codec_folder), f"{AT}{CODES} dog", SEGMENT)
    (item,) = reading.outputs
    assert isinstance(item.output, Mask) and item.output.size == (500, 1000)
    assert not reading.issues


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vae-oid.npz").write_bytes(b"PK nothing")
    with pytest.raises(GeneralistError, match="not PaliGemma's mask codec"):
        Paligemma.load(tmp_path)
    np.savez(tmp_path / "vae-oid.npz", other=np.zeros(3))
    with pytest.raises(GeneralistError, match="not PaliGemma's mask codec"):
        Paligemma.load(tmp_path)
