"""An answer as files that other programs read: COCO json, masks, 16-bit depth, and the picture with its drawings."""

from __future__ import annotations

import base64
import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from PIL import Image

from generalist.draw import draw_overlay
from generalist.types import Grounded, Mask
from generalist.visual import ImageInfo, from_visual, mask_bitmap
from generalist_serving.formats import to_format

_LONGEST = 60
"""Bytes of a part of a name; file systems take 255 of a whole one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file: its ``name``, without folders and fit for every system, and its bytes."""

    kind: Literal["overlay", "coco", "mask", "depth"]
    name: str
    data: bytes


def download_files(
    image: Image.Image, visual: Sequence[Mapping[str, Any]], *, name: str = "", image_index: int = 0
) -> tuple[Download, ...]:
    """The files of what ``visual`` draws on ``image``, the upright picture with this ``image_index``.

    - overlay: the picture with its drawings, in the colours and with the numbers of the page;
    - coco: boxes, points and masks as a COCO data set of one image;
    - mask: for each mask a grey PNG of 0 and 255, with the mask's number and label in its name;
    - depth: each depth map as a 16-bit PNG; value / scale is the depth and 0 is unknown. The name holds the unit
      and the scale, for which the format has no place: ``street_depth_2_metre_x1000.png``.

    ``name`` is the picture's own file name, which all names begin with. Raises :class:`GeneralistError` for an entry
    that is not valid.
    """
    stem = safe_name(name.rsplit(".", 1)[0], "picture")
    here = [entry for entry in visual if entry["image"] == image_index]
    grounded = from_visual(here, [image.size] * (image_index + 1))
    return (
        _overlay(image, here, grounded, stem),
        _coco(image, here, stem, name, image_index),
        *(_mask(e, g.output, stem) for e, g in zip(here, grounded, strict=True) if isinstance(g.output, Mask)),
        *(_depth(entry, stem) for entry in here if entry["type"] == "depth"),
    )


def zip_files(files: Sequence[Download]) -> bytes:
    """All ``files`` as one zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.writestr(file.name, file.data)
    return buffer.getvalue()


def safe_name(text: str, fallback: str) -> str:
    """``text`` as part of a file name: letters and digits of any script, ``.``, ``-`` and ``_``; at most 60 bytes.

    Without separators, control signs and leading dots, so that no name leaves its folder, is hidden or reads in
    another direction than it is written. ``fallback`` where nothing is left.
    """
    kept = "".join(c if c.isalnum() or c in ".-_" else " " for c in unicodedata.normalize("NFKC", text))
    short = "_".join(kept.split()).strip("._-").encode()[:_LONGEST].decode(errors="ignore")
    return short.strip("._-") or fallback


# --- one file -------------------------------------------------------------------------------------------


def _overlay(
    image: Image.Image, visual: Sequence[Mapping[str, Any]], grounded: Sequence[Grounded], stem: str
) -> Download:
    drawn = draw_overlay(image, grounded, numbers=[entry["index"] + 1 for entry in visual])
    return Download(kind="overlay", name=f"{stem}_overlay.png", data=_png(drawn))


def _coco(image: Image.Image, visual: Sequence[Mapping[str, Any]], stem: str, name: str, image_index: int) -> Download:
    info = ImageInfo(index=image_index, width=image.width, height=image.height)
    coco = cast(dict[str, Any], to_format("coco", visual, [info]))
    # Readers look for the file that the user has, so it keeps its name; but not a path out of their folder.
    own = re.split(r"[/\\]", name)[-1]
    coco["images"][0]["file_name"] = own if own.strip(".") else "picture"
    data = json.dumps(coco, ensure_ascii=False, indent=1).encode("utf-8", "replace")
    return Download(kind="coco", name=f"{stem}_coco.json", data=data)


def _mask(entry: Mapping[str, Any], mask: Mask, stem: str) -> Download:
    name = f"{stem}_mask_{entry['index'] + 1}_{safe_name(entry['label'], 'unnamed')}.png"
    return Download(kind="mask", name=name, data=_png(Image.fromarray(mask_bitmap(mask)).convert("L")))


def _depth(entry: Mapping[str, Any], stem: str) -> Download:
    name = f"{stem}_depth_{entry['index'] + 1}_{entry['unit']}_x{entry['scale']:.10g}.png"
    return Download(kind="depth", name=name, data=base64.b64decode(entry["png16"], validate=True))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
