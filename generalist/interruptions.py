"""Long work that is asked to end: it ends between two of its steps, with its state saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The run was asked to end; its state is saved."""


@contextmanager
def interruptions() -> Iterator[Callable[[], bool]]:
    """Within, the first SIGINT or SIGTERM only makes what is yielded true; the second ends the process as ever."""
    came: list[int] = []
    kinds = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():  # Python takes signals in the main thread alone
        yield lambda: False
        return
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def note(kind: int, frame: FrameType | None) -> None:
        came.append(kind)
        signal.signal(kind, before[signal.Signals(kind)])

    for kind in kinds:
        signal.signal(kind, note)
    try:
        yield lambda: bool(came)
    finally:
        for kind in kinds:
            signal.signal(kind, before[kind])
