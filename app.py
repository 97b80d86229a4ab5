"""Development entry: starts the servers that are not configured, then the factory.

`python app.py` migrates and serves; `flask` commands share the same servers.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback while the rest is imported

import fcntl
import os
import re
import secrets
import socket
import sys
from pathlib import Path

from flask import Flask
from flask_migrate import upgrade
from werkzeug.serving import WSGIRequestHandler

from books_api import create_app as create_configured_app
from books_api.cli import is_help_wanted, make_help_app, read_env_file
from books_api.config import ConfigError, Settings

INSTANCE = Path(__file__).parent / "instance"

try:
    read_env_file(Path(__file__).with_name(".env"))
except ConfigError as unreadable:
    sys.exit(f"Error: {unreadable}")


def development_environ() -> dict[str, str]:
    """Return the environment, with embedded servers and a key for what is not in it."""
    environ = {"LOG_FORMAT": "text", **os.environ}
    given = {name.removesuffix("_FILE") for name, text in environ.items() if text}
    postgres = "DATABASE_URL" not in given
    redis = given.isdisjoint(("REDIS_URL", "REDIS_HOST"))
    if postgres or redis:
        from development.embedded import share, stop_on_signals  # of requirements-dev.txt

        stop_on_signals()
        database, store = share(INSTANCE, postgres=postgres, redis=redis)
        if database is not None:
            environ["DATABASE_URL"] = database.url
        if store is not None:
            environ["REDIS_URL"] = store.url
    if "JWT_SECRET_KEY" not in given:
        environ["JWT_SECRET_KEY"] = development_key()
    return environ


def development_key() -> str:
    """Return the signing key of this checkout, made once."""
    INSTANCE.mkdir(exist_ok=True)
    path = INSTANCE / "jwt_secret_key"
    with open(path, "a+", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # of two first starts at once one makes the key
        file.seek(0)
        key = file.read()
        if not key:
            key = secrets.token_hex(64)
            file.write(key)
        return key


def create_app() -> Flask:
    """Build the application for development."""
    if is_help_wanted():  # which starts no servers
        return make_help_app()
    try:
        return create_configured_app(Settings.from_environ(development_environ()))
    except (ConfigError, OSError, RuntimeError) as error:
        sys.exit(f"Error: {error}")


def free_port() -> int:
    """Return PORT, or exit when nothing can listen there."""
    port = os.environ.get("PORT") or "8000"
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        sys.exit(f"Error: PORT must be a number from 1 to 65535, not {port!r}.")
    if "WERKZEUG_SERVER_FD" not in os.environ:  # of FLASK_DEBUG's reloader, which listens already
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", int(port)))
            except OSError as error:
                reason = error.strerror
                sys.exit(f"Error: port {port} cannot be used ({reason}); set PORT to another.")
    return int(port)


class RequestHandler(WSGIRequestHandler):
    """Leaves the line for each request to the application."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def main() -> None:
    """Migrate, and serve on PORT until Ctrl-C or SIGTERM."""
    port = free_port()
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))  # make calls any other status an error
    app = create_app()
    with app.app_context():
        upgrade()
    print(f"Books API on http://localhost:{port}, docs on http://localhost:{port}/docs", flush=True)
    app.run(port=port, request_handler=RequestHandler)


if __name__ == "__main__":
    main()
