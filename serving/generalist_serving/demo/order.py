"""Which of two values for the page is the newer.

Answers come to the page on several ways: one after the other through Gradio's queue, beside it for what is quick, and
once more at the end of what streams. So a value may come behind a newer one; the page leaves it out.

While something streams, Gradio sends differences, and the page applies them to the very objects that it may not have
shown yet. A stream therefore gives the same outputs, whole, each time: whatever it left out of a later value would be
lost from an earlier one on a machine that is slow.
"""

from __future__ import annotations

import time
from itertools import count

_numbers = count(time.time_ns() // 1000)
"""Microseconds, so that those of a server that was started again are larger; JavaScript counts to 2**53."""


def number() -> int:
    """The ``at`` of a value: larger than that of all before it."""
    return next(_numbers)
