"""The colour of a unit, the same wherever it is shown; the page's script is given this very list."""

from __future__ import annotations

from generalist.draw import COLOURS

_DARK, _LIGHT = "#000000", "#ffffff"


def colour(index: int) -> str:
    """``#rrggbb`` of the unit with this ``index``; it repeats after ``len(COLOURS)`` units."""
    return COLOURS[index % len(COLOURS)]


def ink(index: int) -> str:
    """Black or white, whichever is easier to read on :func:`colour`: their contrast is 4.58 at least, WCAG asks 4.5."""
    back = _luminance(colour(index))
    return _DARK if (back + 0.05) / 0.05 >= 1.05 / (back + 0.05) else _LIGHT


def palette() -> list[list[str]]:
    """[colour, ink] of the first ``len(COLOURS)`` units."""
    return [[colour(index), ink(index)] for index in range(len(COLOURS))]


def _luminance(hexadecimal: str) -> float:
    """WCAG's relative luminance, 0-1, of ``#rrggbb``."""
    channels = [int(hexadecimal[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
