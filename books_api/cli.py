"""The commands of `flask`, what they need at their start, and those of no one domain."""

import os
import sys
from pathlib import Path

import click
from dotenv import load_dotenv
from flask import Flask
from flask.cli import with_appcontext

from books_api.auth.cli import group as users
from books_api.catalogues.cli import group as books
from books_api.cli_errors import FAILED
from books_api.config import ConfigError
from books_api.extensions import migrate
from books_api.maintenance import maintenance
from books_api.observability import doctor as checks
from books_api.version import __version__


@click.command()
@click.option("--ready", is_flag=True, help="Only what /readyz asks, as a reload does.")
@with_appcontext
def doctor(ready: bool) -> None:
    """Say, in words, what is wrong with this deployment.

    Exits with 1 when something is.
    """
    click.echo(f"ok    version: {__version__}")
    findings = checks.run(checks.READINESS if ready else checks.ALL)
    for finding in findings:
        verdict = {True: "ok   ", False: "WRONG", None: "-    "}[finding.ok]
        click.echo(f"{verdict} {finding.name}: {finding.detail} {finding.reason}".rstrip())
    if not all(finding.ok for finding in findings):
        sys.exit(FAILED)


def init_app(app: Flask) -> None:
    """Add the commands to `flask`."""
    for command in (users, books, maintenance, doctor):
        app.cli.add_command(command)


def read_env_file(path: Path) -> None:
    """Add what the file sets to the environment, unless it is there; raises ConfigError."""
    try:
        with path.open(encoding="utf-8") as file:  # given its path, a directory would pass for none
            load_dotenv(stream=file)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:  # the environment takes no NUL, either
        raise ConfigError(f"{path} is not UTF-8 text.") from None


def is_help_wanted() -> bool:
    """Return whether `flask` was called for its help, which needs no settings and no server."""
    return "FLASK_RUN_FROM_CLI" in os.environ and (len(sys.argv) == 1 or "--help" in sys.argv)


def make_help_app() -> Flask:
    """Build an application that has the commands, and can run none of them."""
    app = Flask(__name__, static_folder=None)
    migrate.init_app(app)
    init_app(app)
    return app
