"""The Books API: a catalogue of books for many users, over HTTP."""

from pathlib import Path

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from books_api import auth, books, catalogues, cli, database, me
from books_api.auth import blocklist_lease, blocklist_refill, tokens
from books_api.config import Settings, flask_config
from books_api.extensions import api, cors, db, jwt, migrate, redis
from books_api.observability import health, logs, metrics, requests
from books_api.redis_client import make_redis_client
from books_api.standby import Standby
from books_api.version import __version__
from books_api.web import docs, errors, openapi, parsing, rate_limits

__all__ = ["PREFIX", "__version__", "create_app"]

PREFIX = "/api/v1.0.0"
EXPOSED_HEADERS = [
    *("Content-Disposition", "Deprecation", "ETag", "Idempotent-Replayed", "Link", "Location"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"),
    *("Sunset", "WWW-Authenticate", "X-Request-ID", "X-Total-Count"),
    "X-Total-Count-Estimated",
]
PREFLIGHT_SECONDS = 24 * 3600  # for which a browser may remember what it may send
MIGRATIONS = Path(__file__).parent.parent / "migrations"


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application: the one place where the parts meet. Raises ConfigError."""
    settings = settings or Settings.from_environ()
    app = Flask(__name__, static_folder=None)
    # No view or hook is a coroutine; asking each of them takes a fiftieth of a read.
    app.ensure_sync = lambda func: func  # type: ignore[method-assign]  # on this object only
    app.config.from_mapping(flask_config(settings))
    app.url_map.strict_slashes = False  # /books and /books/ both answer, no redirect
    app.url_map.merge_slashes = False

    logs.init(settings.log_format)
    requests.init_app(app)
    parsing.init_app(app)
    database.init_app(app)
    app.extensions[database.STANDBY] = Standby(app) if settings.database_read_url else None
    metrics.init_app(app)
    migrate.init_app(app, db, directory=str(MIGRATIONS))
    redis.init_app(app, make_redis_client(settings.redis_url))
    jwt.init_app(app)
    tokens.init_app(app)
    blocklist_lease.init_app(app)
    blocklist_refill.init_app(app)
    rate_limits.init_app(app)
    if settings.cors_origins:
        cors.init_app(
            app,
            origins=list(settings.cors_origins),
            expose_headers=EXPOSED_HEADERS,
            max_age=PREFLIGHT_SECONDS,
        )
    openapi.init_app(app)
    errors.init_app(app)  # after the extensions, whose own handlers it replaces
    api.register_blueprint(auth.blueprint, url_prefix=f"{PREFIX}/auth")
    api.register_blueprint(me.blueprint, url_prefix=f"{PREFIX}/auth/me")
    api.register_blueprint(books.blueprint, url_prefix=f"{PREFIX}/books")
    api.register_blueprint(catalogues.blueprint, url_prefix=f"{PREFIX}/books")
    answer_without_slash(app)
    health.init_app(app)
    docs.init_app(app)
    cli.init_app(app)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        proxied = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0)
        app.wsgi_app = proxied  # type: ignore[method-assign]  # as Flask's documentation does
    return app


def answer_without_slash(app: Flask) -> None:
    """Give every collection a rule without its slash, or other methods there are 404, not 405."""
    for rule in list(app.url_map.iter_rules()):
        if rule.rule.endswith("/"):
            app.add_url_rule(rule.rule.rstrip("/"), rule.endpoint, methods=rule.methods)
