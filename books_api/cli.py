"""The commands of `flask`, and `flask maintenance`, which prunes what each part has."""

import click
from flask import Flask

from books_api.auth import revocation, sessions
from books_api.auth.cli import group as users
from books_api.books import idempotency, words
from books_api.catalogues.cli import group as books
from books_api.commands import OperatorGroup
from books_api.observability.doctor import doctor

maintenance = OperatorGroup("maintenance", help="Keep the database small.")


@maintenance.command()
def prune() -> None:
    """Delete what is no longer needed. Run it daily.

    Expired sessions, revocations and idempotency keys, and the words that no book has any more.
    """
    click.echo(
        f"Deleted {sessions.prune()} sessions, {revocation.prune()} revocations,"
        f" {idempotency.prune()} idempotency keys and {words.prune_words()} unused words."
    )


def init_app(app: Flask) -> None:
    """Add the commands to `flask`."""
    for command in (users, books, maintenance, doctor):
        app.cli.add_command(command)
