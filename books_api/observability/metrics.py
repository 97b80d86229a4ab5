"""What Prometheus reads at /metrics, which the proxy does not serve.

Under gunicorn each worker keeps its values in files (PROMETHEUS_MULTIPROC_DIR, which
deploy/gunicorn.conf.py sets), and whichever worker is asked answers for all.
"""

import os

from flask import Blueprint, Flask, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import event

from books_api.extensions import db
from books_api.version import __version__

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
LOGINS_FAILED = Counter("books_api_logins_failed", "Logins refused.")
SESSIONS_ENDED = Counter("books_api_sessions_ended", "Sessions ended, expiry apart.", ("reason",))

# An Info of the library's does not work with several processes.
VERSION = Gauge(
    "books_api_build_info",
    "1, with the version that serves.",
    ("version",),
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


@blueprint.get("/metrics")
def metrics() -> Response:
    """Answer in Prometheus's text format."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # the library's own variable, no setting
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it has no types
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def init_app(app: Flask) -> None:
    """Serve the metrics, and watch the application's pool."""
    app.register_blueprint(blueprint)
    VERSION.labels(__version__).set(1)
    with app.app_context():
        engine = db.engine

    # The pool is asked each time: counting events would drift with connections that failed.
    def count_out(*_: object) -> None:
        CONNECTIONS.set(engine.pool.checkedout())  # type: ignore[attr-defined]  # a QueuePool

    def count_in(*_: object) -> None:
        # This one is on its way back.
        CONNECTIONS.set(engine.pool.checkedout() - 1)  # type: ignore[attr-defined]  # a QueuePool

    event.listen(engine, "checkout", count_out)
    event.listen(engine, "checkin", count_in)
