"""Documents of the server's indexes, found by words, by a picture or by a region of one, with what speaks for them."""

from __future__ import annotations
