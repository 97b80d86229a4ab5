"""What Prometheus reads at /metrics, which the proxy does not serve.

Under gunicorn each worker keeps its values in files (PROMETHEUS_MULTIPROC_DIR, which
deploy/gunicorn.conf.py sets), and whichever worker is asked answers for all.
"""

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter

from flask import Blueprint, Flask, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    Summary,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import QueuePool, event
from sqlalchemy.pool import PoolProxiedConnection

from books_api.extensions import db
from books_api.version import __version__

NOTABLE_WAIT = 0.001  # seconds

# Its _count is the number of requests.
SECONDS = Histogram(
    "books_api_request_duration_seconds",
    "Time from the request to the headers of its answer.",
    ("method", "route", "status"),
    buckets=(0.005, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10),
)
CONNECTIONS = Gauge(
    "books_api_database_connections_in_use",
    "Connections to Postgres that are out of the pool.",
    multiprocess_mode="livesum",
)
POOL_SIZE = Gauge(
    "books_api_database_pool_size",
    "Connections to Postgres that the pools may have.",
    multiprocess_mode="livesum",
)
POOL_WAITS = Summary(
    "books_api_database_pool_wait_seconds",
    f"Waits of more than {NOTABLE_WAIT:g} s for a connection, new ones among them.",
)
IN_FLIGHT = Gauge(
    "books_api_requests_in_flight",
    "Requests that have not been answered yet.",
    multiprocess_mode="livesum",
)
REDIS_ASKED = Counter("books_api_redis_round_trips", "Questions of requests to Redis.", ("for",))
REDIS_FALLBACKS = Counter(
    "books_api_redis_fallbacks",
    "Questions that Redis could not answer: Postgres or, for limits, a process's memory did.",
    ("for",),
)
REFILLS = Counter("books_api_revocation_refills", "Fills of Redis with what is revoked.")
LIMITED = Counter("books_api_rate_limited", "Requests over a limit.", ("limit",))
LATE_READS = Counter(
    "books_api_late_reads",
    "Statements that a standby may answer, by the server that did.",
    ("server",),
)
IMPORT_RECORDS = Counter("books_api_import_records", "Records of imports over HTTP.", ("outcome",))
LOGINS_FAILED = Counter("books_api_logins_failed", "Logins refused.")
SESSIONS_ENDED = Counter("books_api_sessions_ended", "Sessions ended, expiry apart.", ("reason",))
# From 0 on: Prometheus sees no rise in a first sample.
SESSIONS_ENDED.labels("refresh_token_reused")

# An Info of the library's does not work with several processes.
VERSION = Gauge(
    "books_api_build_info",
    "1, with the version that serves, and its Python.",
    ("version", "python"),
    multiprocess_mode="livemax",
)

blueprint = Blueprint("metrics", __name__)
# labels() takes a lock and makes a tuple of texts each time. What is remembered is bounded by
# the routes, their methods and the statuses.
_of_requests: dict[tuple[str, str, int], Histogram] = {}


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count an answer; route and method must not be the client's own words."""
    key = (method, route, status)
    durations = _of_requests.get(key)
    if durations is None:
        durations = _of_requests[key] = SECONDS.labels(*key)
    durations.observe(seconds)


class WatchedPool(QueuePool):
    """A pool that counts the waits for its connections."""

    __module__ = QueuePool.__module__  # which names its logger

    def connect(self) -> PoolProxiedConnection:
        begun = perf_counter()
        try:
            return super().connect()
        finally:
            if (seconds := perf_counter() - begun) > NOTABLE_WAIT:
                POOL_WAITS.observe(seconds)


class WorkersCollector(Collector):
    """The library's metrics of a process, of all workers of this gunicorn together."""

    TOGETHER: Mapping[str, Callable[[Iterable[float]], float]] = {
        "cpu_seconds": sum,
        "open_fds": sum,
        "resident_memory_bytes": sum,
        "start_time_seconds": max,  # the newest one's
    }

    def collect(self) -> Iterator[Metric]:
        master = os.getppid()
        pids = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        yield GaugeMetricFamily("books_api_workers", "Processes that serve.", len(pids))
        workers = [ProcessCollector("books_api", partial(int, pid), registry=None) for pid in pids]
        for metrics in zip(*(worker.collect() for worker in workers), strict=False):
            first = metrics[0]
            together = self.TOGETHER.get(first.name.removeprefix("books_api_process_"))
            if together:
                value = together(metric.samples[0].value for metric in metrics)
                first.samples[0] = first.samples[0]._replace(value=value)
                yield first


@blueprint.get("/metrics")
def metrics() -> Response:
    """Answer in Prometheus's text format."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # the library's own variable, no setting
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it has no types
        registry.register(WorkersCollector())
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def init_app(app: Flask) -> None:
    """Serve the metrics, and watch the application's pool."""
    app.register_blueprint(blueprint)
    VERSION.labels(__version__, platform.python_version()).set(1)
    with app.app_context():
        engine = db.engine
    POOL_SIZE.set(engine.pool.size())  # type: ignore[attr-defined]  # a QueuePool

    # The pool is asked each time: counting events would drift with connections that failed.
    def count_out(*_: object) -> None:
        CONNECTIONS.set(engine.pool.checkedout())  # type: ignore[attr-defined]  # a QueuePool

    def count_in(*_: object) -> None:
        # This one is on its way back.
        CONNECTIONS.set(engine.pool.checkedout() - 1)  # type: ignore[attr-defined]  # a QueuePool

    event.listen(engine, "checkout", count_out)
    event.listen(engine, "checkin", count_in)
