"""`flask doctor` and `flask maintenance`."""

import sys

import click
from flask import Flask
from flask.cli import with_appcontext

from books_api.auth import revocation, sessions
from books_api.auth.cli import group as users
from books_api.books import idempotency, search
from books_api.catalogues.cli import group as books
from books_api.commands import FAILED, OperatorGroup
from books_api.observability import checks

maintenance = OperatorGroup("maintenance", help="Keep the database small.")


@click.command()
@with_appcontext
def doctor() -> None:
    """Say, in words, what is wrong with this deployment.

    Exits with 1 when something is.
    """
    findings = checks.run(checks.ALL)
    for finding in findings:
        verdict = "ok   " if finding.ok else "WRONG"
        click.echo(f"{verdict} {finding.name}: {finding.detail} {finding.reason}".rstrip())
    if not all(finding.ok for finding in findings):
        sys.exit(FAILED)


@maintenance.command()
def prune() -> None:
    """Delete what is no longer needed. Run it daily.

    Expired sessions, revocations and idempotency keys, and the words that no book has any more.
    """
    click.echo(
        f"Deleted {sessions.prune()} sessions, {revocation.prune()} revocations,"
        f" {idempotency.prune()} idempotency keys and {search.prune_words()} unused words."
    )


def init_app(app: Flask) -> None:
    """Add the commands to `flask`."""
    for command in (users, books, maintenance, doctor):
        app.cli.add_command(command)
