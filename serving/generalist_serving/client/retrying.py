"""When to try again, and after how long: kept apart from the sending, which is sync or async."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

LONGEST_WAIT = 60.0
"""Seconds; a server that asks for more is not asked again."""
_FIRST_WAIT = 0.5
_BUSY = (429, 503)


def wait_before_retry(outcome: httpx.Response | httpx.RequestError, attempt: int, retries: int) -> float | None:
    """Seconds to wait before the next attempt; None when ``outcome`` is final. ``attempt`` counts from 0.

    What is tried again: 429 and 503, after the seconds or at the time of ``Retry-After``, and connections that
    failed, after 0.5 s, 1 s, 2 s, ... A server that takes too long to answer is not: it may still be at work.
    """
    if attempt >= retries:
        return None
    backoff: float = _FIRST_WAIT * 2**attempt * random.uniform(0.75, 1.25)  # so that clients do not come in step
    if isinstance(outcome, httpx.Response):
        if outcome.status_code not in _BUSY:
            return None
        asked = _retry_after(outcome.headers.get("retry-after", ""))
        wait = backoff if asked is None else asked
        return wait if wait <= LONGEST_WAIT else None
    may_be_at_work = isinstance(outcome, httpx.ReadTimeout | httpx.WriteTimeout)
    retryable = isinstance(outcome, httpx.NetworkError | httpx.TimeoutException | httpx.RemoteProtocolError)
    return backoff if retryable and not may_be_at_work else None


def _retry_after(value: str) -> float | None:
    """Seconds of a ``Retry-After`` header, which has a number or a date; None when it has neither."""
    try:
        return max(float(int(value)), 0.0)
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    now = datetime.now(UTC)
    return max((at - (now if at.tzinfo else now.replace(tzinfo=None))).total_seconds(), 0.0)
