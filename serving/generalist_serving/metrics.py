"""What the server counts, for Prometheus to fetch from ``/metrics``.

The registry is our own: whoever else counts in this process (vLLM does) is not disturbed.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from generalist.types import KINDS
from generalist_serving.backend import Backend
from generalist_serving.events import Outcome

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)

_REASONS = {
    400: "wrong",
    401: "key",
    403: "forbidden",
    404: "unknown",
    405: "method",
    408: "slow",
    413: "large",
    415: "media_type",
    429: "rate",
    499: "client_left",
    500: "failed",
    503: "busy",
}
"""Reasons of refusals by HTTP status; any other is "other"."""


class Metrics:
    """Counts replies and refusals; asks the backend how many requests wait and are answered."""

    def __init__(self, backend: Backend) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_Queue(backend))
        self._replies = Counter("generalist_replies", "Replies by how they end.", ("task", "ended"), registry=registry)
        self._seconds = Histogram(
            "generalist_reply_seconds",
            "From a request to the end of its reply.",
            ("task",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._first = Histogram(
            "generalist_first_token_seconds", "From a request to its first token.", buckets=_SECONDS, registry=registry
        )
        self._tokens = Counter("generalist_tokens", "Tokens read and written.", ("of",), registry=registry)
        self._units = Counter("generalist_units", "Drawn things by kind.", ("kind",), registry=registry)
        self._issues = Counter("generalist_parse_issues", "Places where replies left the grammar.", registry=registry)
        self._refusals = Counter(
            "generalist_refusals", "Requests answered with an error, by reason.", ("reason",), registry=registry
        )
        # Named from the start, so that a rate can be taken of what has not happened yet.
        for kind in KINDS:
            self._units.labels(kind)
        for reason in (*_REASONS.values(), "other"):
            self._refusals.labels(reason)

    def observe(self, outcome: Outcome) -> None:
        """Count a reply; the service's observer."""
        self._replies.labels(outcome.task, outcome.ended).inc()
        self._seconds.labels(outcome.task).observe(outcome.seconds)
        if outcome.first_token_s is not None:
            self._first.observe(outcome.first_token_s)
        self._tokens.labels("prompt").inc(outcome.usage.prompt_tokens)
        self._tokens.labels("completion").inc(outcome.usage.completion_tokens)
        for kind, count in outcome.units.items():
            self._units.labels(kind).inc(count)
        self._issues.inc(outcome.issues)

    def refused(self, status: int) -> None:
        """Count a response with an error."""
        self._refusals.labels(_REASONS.get(status, "other")).inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)


class CountRefusals:
    """Middleware: counts the responses with a status of 400 or more, whoever made them."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                self._metrics.refused(message["status"])
            await send(message)

        await self.app(scope, receive, counted if scope["type"] == "http" else send)


class _Queue(Collector):
    """How many requests wait and are answered at the moment of asking."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def collect(self) -> Iterator[GaugeMetricFamily]:
        waiting, running = self._backend.waiting, self._backend.running
        yield GaugeMetricFamily("generalist_requests_waiting", "Requests that wait for their turn.", value=waiting)
        yield GaugeMetricFamily("generalist_requests_running", "Requests that are being answered.", value=running)
