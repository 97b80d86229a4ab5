"""Liveness and readiness, outside the API's prefix."""

import math
import threading
import time
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app, jsonify, request

from books_api.observability import doctor
from books_api.observability.doctor import Check, Finding
from books_api.observability.logs import logger
from books_api.version import __version__
from books_api.web.problems import RETRY_AFTER

TIMEOUT = 1.0  # seconds that a check has
FRESH = 1.0  # seconds for which its finding is good
LOOPBACK = ("127.0.0.1", "::1")

blueprint = Blueprint("health", __name__)


class Prober:
    """Makes a check in a thread of its own, never twice at once, at most once in FRESH seconds.

    Whoever asks meanwhile shares the finding, so that any number of probes takes one connection
    of the pool, and none waits longer than TIMEOUT: not for the pool, nor for a server that
    holds the connection and says nothing.
    """

    def __init__(self, app: Flask, check: Check) -> None:
        self.app = app
        self.check = check
        self.lock = threading.Lock()
        self.begun = -math.inf
        self.made = threading.Event()
        self.made.set()
        self.silence = Finding(doctor.name_of(check), False, f"No answer in {TIMEOUT:g} s.")
        self.finding = self.silence

    def begin(self) -> None:
        """Begin to make the check, unless it is being made or was just made."""
        with self.lock:
            if self.made.is_set() and time.monotonic() - self.begun >= FRESH:
                self.begun = time.monotonic()
                self.made.clear()
                try:
                    threading.Thread(target=self._make, daemon=True).start()
                except RuntimeError:  # no thread can be had now
                    self.finding = self.silence
                    self.made.set()

    def _make(self) -> None:
        finding = self.silence
        try:
            with self.app.app_context():
                (finding,) = doctor.run([self.check])
        finally:
            self.finding = finding
            self.made.set()

    def wait(self) -> Finding:
        """Return the finding, or that there is none in time."""
        if self.made.wait(max(0, self.begun + TIMEOUT - time.monotonic())):
            return self.finding
        return self.silence


def asked_from_here() -> bool:
    """Return whether the request came from this machine, and not through a proxy on it."""
    return "X-Forwarded-For" not in request.headers and request.remote_addr in LOOPBACK


@blueprint.get("/healthz")
def liveness() -> Response:
    """Say that the process lives, and to this machine its version."""
    return jsonify(status="ok", **{"version": __version__} if asked_from_here() else {})


@blueprint.get("/readyz")
def readiness() -> tuple[Response, int, dict[str, str]]:
    """Say whether requests can be served: 200, or 503 with what is wrong."""
    probers: list[Prober] = current_app.extensions["readiness"]
    for prober in probers:
        prober.begin()
    findings = [prober.wait() for prober in probers]
    ready = all(finding.ok for finding in findings)
    for finding in findings:
        if not finding.ok:
            logger.warning("not ready: %s: %s %s", finding.name, finding.detail, finding.reason)
    details = asked_from_here()
    body = jsonify(
        status="ok" if ready else "unavailable",
        checks={
            finding.name: {"ok": finding.ok} | ({"detail": finding.detail} if details else {})
            for finding in findings
        },
    )
    return (body, 200, {}) if ready else (body, 503, RETRY_AFTER)


def init_app(app: Flask) -> None:
    """Answer probes."""
    app.register_blueprint(blueprint)
    app.extensions["readiness"] = [Prober(app, check) for check in doctor.READINESS]
    # Now: an upgrade replaces the files while the old code still serves. The name of a migration
    # begins with its revision.
    versions = Path(app.extensions["migrate"].directory, "versions")
    app.extensions["schema"] = max(path.name for path in versions.glob("*.py")).partition("_")[0]
