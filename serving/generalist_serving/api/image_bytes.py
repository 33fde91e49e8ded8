"""Image files cut down to their pixels before a decoder sees them.

Decoders trust what a file says of itself. A directory of EXIF may name the same two megabytes thousands of
times, a JPEG of a few kilobytes may hold ten thousand scans of every pixel, a comment of a GIF takes quadratic
time, a chain of TIFF pages is followed to its end: all within the limits on bytes and pixels. So every file is
walked here once, what a picture does not need is left out, and of EXIF only the orientation stays.

Formats: JFIF and ITU-T T.81 (JPEG), PNG 3, WebP container (RFC 9649), GIF89a, BMP, TIFF 6 and BigTIFF.
"""

from __future__ import annotations

import re
import struct
import zlib

from generalist.types import GeneralistError

_MAX_PARTS = 200_000  # chunks, segments or blocks of one file: a GIF of 40 megapixels has 160,000 at most
_MAX_SCANS = 32  # of a progressive JPEG, which has about ten
_ORIENTATION = 0x0112


def pixels_only(data: bytes) -> tuple[str, bytes]:
    """Pillow's name of the file's format, and the file without all that is not needed to show it upright.

    Raises :class:`GeneralistError` for other formats and for files that no decoder should see. A file that
    ends too early stays so: the decoder says it better.
    """
    for begins, name, cut in _FORMATS:
        if begins.match(data):
            try:
                return name, cut(data)
            except (struct.error, IndexError, OverflowError) as error:
                raise _damaged(name) from error
    raise GeneralistError("the image is not a readable one; use PNG, JPEG, WebP, GIF, BMP or TIFF")


def _damaged(name: str) -> GeneralistError:
    return GeneralistError(f"the image is truncated or damaged ({name}); send a whole file")


def _too_many(what: str) -> GeneralistError:
    return GeneralistError(f"the image has too many {what}; save it anew with an ordinary program")


# --- JPEG: segments up to the end of the image -------------------------------------------------------

_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")  # neither an escaped byte, nor fill, nor a restart


def _jpeg(data: bytes) -> bytes:
    if data.count(b"\xff") > len(data) // 8 + 4096:  # no picture has so many, and each is looked at
        raise _damaged("JPEG")
    parts, at, scans, exif = [b"\xff\xd8"], 2, 0, False
    for _ in range(_MAX_PARTS):
        found = _MARKER.search(data, at)
        if scans:
            parts.append(data[at : found.start() if found else len(data)])
        if found is None:
            return b"".join(parts)
        marker, at = found[1][0], found.end()
        if marker == 0xD9:
            return b"".join([*parts, b"\xff\xd9"])
        if marker in (0x01, 0xD8):  # the two other markers without a length
            continue
        (length,) = struct.unpack_from(">H", data, at)
        body, at = data[at + 2 : at + length], at + length
        scans += marker == 0xDA
        if scans > _MAX_SCANS:
            raise _too_many("scans")
        if marker == 0xE1 and body.startswith(b"Exif\0\0") and not exif:
            exif, body = True, b"Exif\0\0" + _small_exif(body[6:])
        elif marker == 0xFE or (0xE0 < marker <= 0xEF and marker != 0xEE):  # Adobe's 0xEE tells the colours
            continue
        parts.append(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body)
    raise _too_many("segments")


# --- PNG: chunks -------------------------------------------------------------------------------------


def _png(data: bytes) -> bytes:
    parts, at = [data[:8]], 8
    for _ in range(_MAX_PARTS):
        if at + 8 > len(data):
            return b"".join(parts)
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind == b"eXIf":
            body = kind + _small_exif(data[at + 8 : end - 4])
            parts.append(struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)))
        elif kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            parts.append(data[at:end])
        if kind == b"IEND":
            return b"".join(parts)
        at = end
    raise _too_many("chunks")


# --- WebP: chunks of RIFF ----------------------------------------------------------------------------


def _webp(data: bytes) -> bytes:
    parts: list[bytes] = []
    at, exif = 12, False
    for _ in range(_MAX_PARTS):
        if at + 8 > len(data):
            body = b"WEBP" + b"".join(parts)
            return b"RIFF" + struct.pack("<I", len(body)) + body
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if kind == b"EXIF" and not exif:
            blob, exif = data[at + 8 : end], True
            small = _small_exif(blob.removeprefix(b"Exif\0\0"))
            parts.append(kind + struct.pack("<I", len(small)) + small)
        elif kind in (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"):
            parts.append(data[at:end])
        at = end
    raise _too_many("chunks")


# --- GIF: the first frame ----------------------------------------------------------------------------


def _gif(data: bytes) -> bytes:
    at = 13 + _gif_table(data[10])
    parts, control = [data[:at]], b""
    for _ in range(_MAX_PARTS):
        start, kind = at, data[at]
        if kind == 0x2C:
            at = _gif_blocks(data, at + 11 + _gif_table(data[at + 9]))
            return b"".join([*parts, control, data[start:at], b";"])
        if kind != 0x21:
            raise _damaged("GIF")
        at = _gif_blocks(data, at + 2)
        if data[start + 1] == 0xF9:
            control = data[start:at]
    raise _too_many("blocks")


def _gif_table(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_blocks(data: bytes, at: int) -> int:
    """Where the blocks that begin here end; the end of the file when that comes first."""
    for _ in range(_MAX_PARTS):
        if at >= len(data):
            return len(data)
        if data[at] == 0:
            return at + 1
        at += 1 + data[at]
    raise _too_many("blocks")


# --- BMP ---------------------------------------------------------------------------------------------


def _bmp(data: bytes) -> bytes:
    header, compression = struct.unpack_from("<I", data, 14)[0], struct.unpack_from("<I", data, 30)[0]
    # One jump of run-length coding may skip 255 rows, which a decoder fills at once however long they are.
    if header > 12 and compression not in (0, 3, 6):
        raise GeneralistError("the image is a compressed BMP; save it as PNG")
    return data


# --- TIFF: the first directory, without what is not needed -------------------------------------------

_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TIFF_TILE = (322, 323)  # its width and its height
_MAX_TILE = 1 << 26  # pixels, which a decoder takes memory for before it reads them
_TIFF_KEPT = frozenset(
    [
        *(254, *range(256, 260), 262, 266, 274, 277, 284, 292, 293, 317, 320, 338, 339),  # what its pixels are
        *(273, 278, 279, *range(322, 326)),  # where they lie
        *(347, *range(512, 522), *range(529, 533)),  # JPEG in TIFF, and YCbCr
    ],
)


def _tiff(data: bytes) -> bytes:
    """Writes a shorter directory, without a next page, in the place of the first: offsets stay as they are."""
    order, big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    offset, number = struct.Struct(order + ("Q" if big else "I")), struct.Struct(order + ("Q" if big else "H"))
    entry, length = struct.Struct(order + ("HHQ" if big else "HHI")), 20 if big else 12
    (begin,) = offset.unpack_from(data, 8 if big else 4)
    (count,) = number.unpack_from(data, begin)
    if count > 512:
        raise _too_many("tags")
    kept, size, values, tile = [], 0, 0, 1
    for at in range(begin + number.size, begin + number.size + length * count, length):
        tag, kind, many = entry.unpack_from(data, at)
        if tag not in _TIFF_KEPT:
            continue
        kept.append(data[at : at + length])
        size += many * _TIFF_SIZES.get(kind, 1)
        values += many if kind not in (1, 2, 7) else 0
        if tag in _TIFF_TILE:
            tile *= struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + entry.size)[0]
    if size > len(data) or values > _MAX_PARTS or tile > _MAX_TILE:
        raise _damaged("TIFF")
    directory = number.pack(len(kept)) + b"".join(kept) + offset.pack(0)
    return data[:begin] + directory + data[begin + len(directory) :]


# --- EXIF --------------------------------------------------------------------------------------------


def _small_exif(blob: bytes) -> bytes:
    """A block of EXIF that tells the orientation that ``blob`` tells, and nothing else."""
    return struct.pack("<4sIHHHIHHI", b"II*\0", 8, 1, _ORIENTATION, 3, 1, _orientation(blob), 0, 0)


def _orientation(blob: bytes) -> int:
    """1 to 8; 1 for EXIF that says nothing or is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(blob[:2], "<")
    try:
        (begin,) = struct.unpack_from(order + "I", blob, 4)
        (count,) = struct.unpack_from(order + "H", blob, begin)
        for at in range(begin + 2, begin + 2 + 12 * min(count, 512), 12):
            tag, kind, many, value = struct.unpack_from(order + "HHIH", blob, at)
            if (tag, kind, many) == (_ORIENTATION, 3, 1) and 1 <= value <= 8:
                return int(value)
    except struct.error:
        pass
    return 1


_FORMATS = (
    (re.compile(rb"\xff\xd8\xff"), "JPEG", _jpeg),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG", _png),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WEBP", _webp),
    (re.compile(rb"GIF8[79]a"), "GIF", _gif),
    (re.compile(rb"BM"), "BMP", _bmp),
    (re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+"), "TIFF", _tiff),
)
