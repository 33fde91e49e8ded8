"""Image files that no server should read: bytes of every format, each made to hurt in one way."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image

Bytes = Callable[[], bytes]

HUGE = 60_000  # pixels a side: 3.6 gigapixels


def saved(kind: str, size: tuple[int, int] = (8, 8), mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


def frames(kind: str, count: int = 3, size: tuple[int, int] = (8, 8)) -> bytes:
    pictures = [Image.new("RGB", size, (40 * number, 0, 255 - 40 * number)) for number in range(count)]
    file = io.BytesIO()
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:])
    return file.getvalue()


# --- PNG ---


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_header(width: int, height: int, depth: int = 8, colours: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)


def png_bomb(width: int, height: int, depth: int = 8, colours: int = 2) -> bytes:
    packed = zlib.compress(bytes(10_000_000), 9)
    return png(png_header(width, height, depth, colours), *[(b"IDAT", packed)] * 3, (b"IEND", b""))


def png_text_bomb() -> bytes:
    """Text that unpacks to 50 MB, before pixels that are cut short."""
    text = b"Raw profile type exif\0\0" + zlib.compress(bytes(50_000_000), 9)
    return png(png_header(8, 8), *[(b"zTXt", text)] * 20, (b"IDAT", b"x"), (b"IEND", b""))


def png_with_text() -> bytes:
    data = saved("PNG")
    bomb = png((b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(50_000_000), 9)))[8:]
    return data[:33] + bomb * 5 + data[33:]


# --- JPEG ---


def jpeg_size(width: int, height: int) -> bytes:
    """A small JPEG that says it is larger."""
    data = bytearray(saved("JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_scans(count: int, side: int = 4000) -> bytes:
    """One small scan of 16 megapixels, again and again."""
    data = saved("JPEG", (side, side), "L", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + b"\xff\xd9"


def jpeg_exif(blob: bytes, *, whole: bool = False) -> bytes:
    data, parts = saved("JPEG"), []
    for at in range(0, len(blob), 60_000):
        body = b"Exif\0\0" + blob[at : at + 60_000]
        parts.append(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    return data[:2] + b"".join(parts) + data[2 : len(data) if whole else -200]


# --- TIFF and EXIF ---


def tiff(*entries: tuple[int, int, int, int], next_page: int = 0, data: bytes = b"", order: str = "<") -> bytes:
    packed = b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    return start + packed + struct.pack(order + "I", next_page) + data


def tiff_of(width: int, height: int, *more: tuple[int, int, int, int], data: bytes = b"", **fields: int) -> bytes:
    """A grey TIFF in one strip, with these fields replaced and these entries added."""
    values = {"bits": 8, "compression": 1, "photometric": 1, "samples": 1, "rows": height, "format": 1} | fields
    count = 10 + len(more)
    offset = 8 + 2 + 12 * count + 4
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, values["bits"]),
        (259, 3, 1, values["compression"]),
        (262, 3, 1, values["photometric"]),
        (273, 4, 1, offset),
        (277, 3, 1, values["samples"]),
        (278, 4, 1, values["rows"]),
        (279, 4, 1, max(len(data), 1)),
        (339, 3, 1, values["format"]),
        *more,
    ]
    return tiff(*entries, data=data)


def repeated_directory(entries: int = 400, size: int = 2_000_000) -> bytes:
    """A directory of EXIF whose entries all name the same two megabytes."""
    offset = 8 + 2 + 12 * entries + 4
    return tiff(*[(40_000 + number, 7, size, offset) for number in range(entries)], data=b"x" * size)


def tiff_pages(count: int = 200_000) -> bytes:
    """A picture, and pages of no entries, each before the next."""
    first = bytearray(tiff_of(4, 4, data=bytes(16)))
    start = len(first)
    struct.pack_into("<I", first, 8 + 2 + 120, start)
    pages = b"".join(struct.pack("<HI", 0, start + 6 * (number + 1)) for number in range(count))
    return bytes(first) + pages


# --- WebP, GIF, BMP ---


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(k + struct.pack("<I", len(b)) + b + b"\0" * (len(b) % 2) for k, b in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_canvas(width: int, height: int, *chunks: tuple[bytes, bytes], flags: int = 2) -> bytes:
    """A canvas with one small frame of an animation on it."""
    canvas = bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    frame = bytes(6) + (7).to_bytes(3, "little") * 2 + bytes(4) + saved("WEBP", lossless=True)[12:]
    return webp((b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", frame), *chunks)


def gif_screen(width: int, height: int) -> bytes:
    data = bytearray(saved("GIF", mode="P"))
    data[6:10] = struct.pack("<HH", width, height)
    at = data.index(b",", 13)
    data[at + 5 : at + 9] = struct.pack("<HH", width, height)
    return bytes(data)


def gif_comment(size: int = 8_000_000, block: int = 255, *, whole: bool = False) -> bytes:
    """A comment so long that adding it up block by block takes minutes; then no picture, or a ``whole`` one."""
    data = saved("GIF", mode="P")
    start = 13 + 3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 13
    return (
        data[:start]
        + b"\x21\xfe"
        + (bytes([block]) + b"x" * block) * (size // (block + 1))
        + b"\0"
        + (data[start:] if whole else b";")
    )


def bmp(width: int, height: int, compression: int = 0, bits: int = 8, data: bytes = b"") -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, 256, 0)
    palette = bytes(1024)
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + palette + data


# --- the corpus ---------------------------------------------------------------------------------------

IMAGES: dict[str, Bytes] = {
    # more pixels than are read
    "png-pixel-bomb": lambda: png_bomb(HUGE, HUGE),
    "png-above-limit": lambda: png_bomb(8000, 5001),
    "png-one-row": lambda: png_bomb(2**31 - 1, 1),
    "png-one-column": lambda: png_bomb(1, 2**31 - 1),
    "png-16-bit-bomb": lambda: png_bomb(30_000, 30_000, 16, 6),
    "png-1-bit-bomb": lambda: png_bomb(100_000, 100_000, 1, 0),
    "png-16-bit-grey": lambda: png_bomb(6000, 6000, 16, 0),
    "jpeg-pixel-bomb": lambda: jpeg_size(65_500, 65_500),
    "jpeg-above-limit": lambda: jpeg_size(8000, 5001),
    "webp-pixel-bomb": lambda: webp_canvas(16_383, 16_383),
    "webp-largest-canvas": lambda: webp_canvas(2**24, 2**24 - 1),
    "webp-above-limit": lambda: webp_canvas(8000, 5001),
    "gif-pixel-bomb": lambda: gif_screen(65_535, 65_535),
    "gif-above-limit": lambda: gif_screen(8000, 5001),
    "bmp-pixel-bomb": lambda: bmp(HUGE, HUGE),
    "bmp-above-limit": lambda: bmp(8000, 5001),
    "tiff-pixel-bomb": lambda: tiff_of(HUGE, HUGE, data=bytes(64)),
    "tiff-packed-bomb": lambda: tiff_of(20_000, 20_000, compression=8, data=zlib.compress(bytes(10_000_000))),
    "tiff-float-bomb": lambda: tiff_of(6000, 6000, compression=8, bits=32, format=3, data=zlib.compress(bytes(10**7))),
    # few pixels, much work or memory
    "png-text-bomb": png_text_bomb,
    "png-empty-chunks": lambda: png(png_header(8, 8), *[(b"IDAT", b"")] * 400_000),
    "png-profile-bomb": lambda: png(png_header(8, 8), (b"iCCP", b"p\0\0" + zlib.compress(bytes(50_000_000), 9))),
    "jpeg-scans": lambda: jpeg_scans(1000),
    "jpeg-exif-directory": lambda: jpeg_exif(repeated_directory()),
    "tiff-directory": repeated_directory,
    "tiff-directory-big-endian": lambda: tiff(*[(270, 2, 2_000_000, 200)] * 500, data=bytes(2_000_000), order=">"),
    "tiff-strips": lambda: tiff_of(8, 8, (273, 4, 3_000_000, 200), data=bytes(12_000_000)),
    "tiff-many-tags": lambda: tiff(*[(256, 4, 1, 8)] * 60_000),
    "tiff-tile": lambda: tiff_of(8, 8, (322, 4, 1, 2**20), (323, 4, 1, 2**20), (324, 4, 1, 8), (325, 4, 1, 8)),
    "tiff-samples": lambda: tiff_of(8, 8, samples=65_535, data=bytes(64)),
    "tiff-directory-beyond-end": lambda: b"II*\0" + struct.pack("<I", 2**32 - 1),
    "bigtiff-beyond-end": lambda: b"II+\0" + struct.pack("<HHQ", 8, 0, 2**63),
    "gif-comment": gif_comment,
    "gif-comment-small-blocks": lambda: gif_comment(4_000_000, 1),
    "bmp-run-length-jump": lambda: bmp(40_000_000, 1, 1, data=b"\0\2\xff\xff" * 10),
    "bmp-run-length": lambda: bmp(6000, 6000, 1, data=b"\1\0" * 1_000_000),
    "webp-exif-directory": lambda: webp_canvas(8, 8, (b"EXIF", repeated_directory()), flags=8)[:-100] + b"?",
    # cut short, or not what they say
    "empty": lambda: b"",
    "one-byte": lambda: b"\x89",
    "png-signature-only": lambda: b"\x89PNG\r\n\x1a\n",
    "png-truncated": lambda: saved("PNG", (64, 64))[:60],
    "png-no-size": lambda: png(png_header(0, 0), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")),
    "png-bad-checksum": lambda: saved("PNG").replace(b"IDAT", b"IDAT\xff", 1),
    "png-length-beyond-end": lambda: b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR" + bytes(20),
    "png-odd-depth": lambda: png(png_header(8, 8, 7, 5), (b"IDAT", zlib.compress(bytes(900))), (b"IEND", b"")),
    "jpeg-truncated": lambda: saved("JPEG", (640, 480))[:-2000],
    "jpeg-header-only": lambda: saved("JPEG")[:200],
    "jpeg-no-scan": lambda: b"\xff\xd8\xff\xe0\0\x04ab\xff\xd9",
    "jpeg-fill": lambda: b"\xff\xd8" + b"\xff" * 5_000_000,
    "jpeg-5-channels": lambda: saved("JPEG", mode="CMYK").replace(
        b"\xff\xc0\0\x14\x08\0\x08\0\x08\x04", b"\xff\xc0\0\x14\x08\0\x08\0\x08\x05"
    ),
    "jpeg-12-bit": lambda: saved("JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
    "webp-truncated": lambda: saved("WEBP", (64, 64))[:40],
    "webp-no-picture": lambda: webp((b"VP8 ", b"")),
    "webp-animation-truncated": lambda: frames("WEBP")[:60],
    "gif-truncated": lambda: saved("GIF", mode="P")[:30],
    "gif-no-frame": lambda: b"GIF89a\x08\0\x08\0\0\0\0;",
    "gif-animation-truncated": lambda: frames("GIF", size=(64, 64))[:70],
    "bmp-truncated": lambda: saved("BMP", (64, 64))[:100],
    "bmp-header-only": lambda: b"BM" + bytes(12),
    "bmp-negative-size": lambda: bmp(-8, -8),
    "tiff-truncated": lambda: tiff_of(64, 64, data=bytes(100)),
    "tiff-no-pixels": lambda: tiff((256, 4, 1, 8), (257, 4, 1, 8)),
    "tiff-cmyk-16": lambda: tiff_of(4, 4, bits=16, samples=4, photometric=5, data=bytes(10)),
    "tiff-palette-missing": lambda: tiff_of(4, 4, photometric=3, data=bytes(16)),
    "tiff-unknown-packing": lambda: tiff_of(4, 4, compression=999, data=bytes(16)),
    # other formats
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "html": lambda: b"<html><body>no</body></html>",
    "pdf": lambda: b"%PDF-1.7\n" + bytes(100),
    "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(/etc/passwd) (r) file\n",
    "zip": lambda: b"PK\x03\x04" + bytes(100),
    "gzip": lambda: b"\x1f\x8b\x08" + bytes(100),
    "ico": lambda: saved("ICO"),
    "ppm": lambda: saved("PPM"),
    "ppm-bomb": lambda: b"P6 60000 60000 255\n",
    "jpeg2000": lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
    "avif": lambda: b"\0\0\0 ftypavif" + bytes(100),
    "heic": lambda: b"\0\0\0 ftypheic" + bytes(100),
    "xpm": lambda: b"/* XPM */ static char *x[] = {",
    "mp4": lambda: b"\0\0\0 ftypisom" + bytes(100),
    "random": lambda: bytes(range(256)) * 40,
}
"""Every one of these is refused."""


ODD: dict[str, Bytes] = {
    # sound pixels beside what would hurt whoever read it
    "jpeg-exif-directory": lambda: jpeg_exif(repeated_directory(), whole=True),
    "webp-exif-directory": lambda: saved("WEBP", exif=repeated_directory()),
    "png-exif-directory": lambda: saved("PNG", exif=repeated_directory()),
    "tiff-pages": tiff_pages,
    "tiff-exif-directory": lambda: tiff_of(4, 4, (34665, 4, 1, 8), (330, 4, 1, 8), data=bytes(16)),
    "gif-comment": lambda: gif_comment(whole=True),
    "png-text": png_with_text,
    "jpeg-then-anything": lambda: saved("JPEG") + (b"\xff\xda" + bytes(18)) * 50_000,
    # colours and depths that are rare
    "jpeg-cmyk": lambda: saved("JPEG", mode="CMYK"),
    "jpeg-grey": lambda: saved("JPEG", mode="L"),
    "jpeg-progressive": lambda: saved("JPEG", (640, 480), progressive=True),
    "tiff-cmyk": lambda: saved("TIFF", mode="CMYK"),
    "tiff-16-bit": lambda: saved("TIFF", mode="I;16"),
    "tiff-float": lambda: saved("TIFF", mode="F"),
    "tiff-1-bit": lambda: saved("TIFF", mode="1"),
    "tiff-lzw": lambda: saved("TIFF", (64, 64), compression="tiff_lzw"),
    "tiff-jpeg": lambda: saved("TIFF", (64, 64), compression="jpeg"),
    "tiff-deflate": lambda: saved("TIFF", (64, 64), compression="tiff_adobe_deflate"),
    "tiff-big": lambda: saved("TIFF", big_tiff=True),
    "png-16-bit": lambda: saved("PNG", mode="I;16"),
    "png-palette": lambda: saved("PNG", mode="P"),
    "png-alpha": lambda: saved("PNG", mode="LA"),
    "png-1-bit": lambda: saved("PNG", mode="1"),
    "webp-alpha": lambda: saved("WEBP", mode="RGBA"),
    "webp-lossless": lambda: saved("WEBP", lossless=True),
    "bmp-1-bit": lambda: saved("BMP", mode="1"),
    "bmp-alpha": lambda: saved("BMP", mode="RGBA"),
    # several pictures in one
    "gif-animation": lambda: frames("GIF"),
    "webp-animation": lambda: frames("WEBP"),
    "png-animation": lambda: frames("PNG"),
    "tiff-two-pages": lambda: frames("TIFF"),
    "jpeg-two-pictures": lambda: frames("MPO"),
}
"""Odd, and read all the same, without more work than their pixels are."""
