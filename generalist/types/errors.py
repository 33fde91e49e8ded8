"""Mistakes of a caller's."""

from __future__ import annotations


class GeneralistError(ValueError):
    """A mistake of the caller's: one line that names the thing, shows its value, says what to do.

    The CLI prints it and exits with status 2; the server answers HTTP 4xx.
    """
