"""What the server counts, for Prometheus to fetch from ``/metrics``.

The registry is our own: whoever else counts in this process (vLLM does) is not disturbed, and can be told of too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from generalist.types import KINDS
from generalist_serving.backend import Backend
from generalist_serving.events import Outcome
from generalist_serving.indexes import Indexes, Searched

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
    """Counts replies, searches and refusals; asks the backend and the indexes how many requests wait and are answered.

    ``others``: registries of others in this process, which tell of the process as well.
    """

    def __init__(
        self, backend: Backend, others: Sequence[CollectorRegistry] = (), *, indexes: Indexes | None = None
    ) -> None:
        registry = CollectorRegistry()
        self._registries = (registry, *others)
        if not others:
            ProcessCollector(registry=registry)
        registry.register(_Queue("requests", backend))
        if indexes is not None:
            registry.register(_Queue("searches", indexes))
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
        self._searches = Counter(
            "generalist_searches", "Searches by how they end.", ("index", "mode", "ended"), registry=registry
        )
        self._search_seconds = Histogram(
            "generalist_search_seconds", "From a search's request to its hits.", ("mode",), buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
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

    def searched(self, outcome: Searched) -> None:
        """Count a search; the indexes' observer."""
        self._searches.labels(outcome.index, outcome.mode, outcome.ended).inc()
        self._search_seconds.labels(outcome.mode).observe(outcome.seconds)

    def refused(self, status: int) -> None:
        """Count a response with an error."""
        self._refusals.labels(_REASONS.get(status, "other")).inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return b"".join(map(generate_latest, self._registries))


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
    """How many requests or searches wait and are answered at the moment of asking."""

    def __init__(self, what: str, queue: Backend | Indexes) -> None:
        self._what = what
        self._queue = queue

    def collect(self) -> Iterator[GaugeMetricFamily]:
        name, what = f"generalist_{self._what}", self._what.capitalize()
        yield GaugeMetricFamily(f"{name}_waiting", f"{what} that wait for their turn.", value=self._queue.waiting)
        yield GaugeMetricFamily(f"{name}_running", f"{what} that are being answered.", value=self._queue.running)
