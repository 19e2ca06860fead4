"""What the service counts, in Prometheus' text format."""

import asyncio
import logging
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = CONTENT_TYPE_LATEST
_LOG = logging.getLogger(__name__)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class ServiceMetrics:
    """Counters of one service, in a registry of their own."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        """All at zero; every class has its counter from the start."""
        self.given_up = 0
        """Requests that were cancelled, because the service stopped, before they were answered."""
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "distillscale_requests", "Requests answered.", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "distillscale_request_seconds",
            "Seconds from a request's first byte to the answer.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._decisions = Counter(
            "distillscale_decisions", "Texts decided, by class.", ["label"], registry=registry
        )
        self._batch = Histogram(
            "distillscale_batch_size", "Texts in a batch.", buckets=_SIZES, registry=registry
        )
        self._waiting = Gauge(
            "distillscale_queue", "Texts that wait for a batch.", registry=registry
        )
        for label in classes:
            self._decisions.labels(label)

    def watch_queue(self, waiting: Callable[[], float]) -> None:
        """Read the length of the queue from here whenever somebody asks."""
        self._waiting.set_function(waiting)

    def batch(self, size: int) -> None:
        """Count a batch."""
        self._batch.observe(size)

    def decided(self, label: str) -> None:
        """Count a decision."""
        self._decisions.labels(label).inc()

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def as_text(self) -> bytes:
        """All of them, in the format of `CONTENT_TYPE`."""
        return generate_latest(self._registry)


class CountRequests:
    """ASGI middleware that counts and times every request; unknown paths count as `other`.

    A request that fails is answered with 500 and one that is cancelled with 503, so that these are
    counted too and have a body like other refusals.
    """

    def __init__(self, app: ASGIApp, *, metrics: ServiceMetrics, paths: frozenset[str]) -> None:
        """Wrap an application."""
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        path = scope["path"] if scope["path"] in self._paths else "other"
        begun = False

        async def counted(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                seconds = time.perf_counter() - started
                self._metrics.answered(path, message["status"], seconds)
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except asyncio.CancelledError:  # the server's time to stop is over
            self._metrics.given_up += 1
            if begun:
                raise
            answer = JSONResponse({"error": "the service stops; ask another one."}, 503)
            await answer(scope, receive, counted)
        except Exception:
            if begun:
                raise
            _LOG.exception("a request to %s failed", path)
            said = "the service failed on this request; its log says why."
            await JSONResponse({"error": said}, 500)(scope, receive, counted)
