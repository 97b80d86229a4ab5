"""Liveness and readiness, outside the API's prefix."""

from flask import Blueprint, Response, jsonify

from books_api import checks
from books_api.errors import RETRY_AFTER
from books_api.logs import logger

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def liveness() -> Response:
    """Say that the process lives."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def readiness() -> tuple[Response, int, dict[str, str]]:
    """Say whether requests can be served: 200, or 503 with what is wrong."""
    findings = checks.run(checks.READINESS)
    ready = all(finding.ok for finding in findings)
    for finding in findings:
        if not finding.ok:
            logger.warning("not ready: %s: %s %s", finding.name, finding.detail, finding.reason)
    body = jsonify(
        status="ok" if ready else "unavailable",
        checks={finding.name: {"ok": finding.ok, "detail": finding.detail} for finding in findings},
    )
    return (body, 200, {}) if ready else (body, 503, RETRY_AFTER)
