"""`flask maintenance prune`: what is deleted when it is needed no longer."""

from datetime import timedelta

import click
from sqlalchemy import delete, func

from books_api.auth import idempotency
from books_api.auth.models import IdempotencyKey, Revocation, Session
from books_api.books import changes
from books_api.books.models import BookChange
from books_api.books.unused_words import prune_words
from books_api.cli_errors import OperatorGroup
from books_api.database import transaction

NOW = func.now()
MARGIN = timedelta(days=1)  # a change is as old as its transaction, which may have been a long one
EXPIRED = {
    "sessions": delete(Session).where(Session.expires_at < NOW),
    "revocations": delete(Revocation).where(Revocation.expires_at < NOW),
    "idempotency keys": delete(IdempotencyKey).where(
        IdempotencyKey.created_at < NOW - idempotency.KEPT
    ),
    "changes of books": delete(BookChange).where(
        BookChange.changed_at < NOW - (changes.KEPT + MARGIN)
    ),
}

maintenance = OperatorGroup("maintenance", help="Keep the database small.")


@maintenance.command()
def prune() -> None:
    """Delete what is no longer needed. Run it daily.

    Expired sessions, revocations and idempotency keys, changes of books that no cursor needs, and
    the words that no book has any more.
    """
    deleted = []
    for name, statement in EXPIRED.items():
        with transaction(long=True) as connection:
            deleted.append(f"{connection.execute(statement).rowcount} {name}")
    click.echo(f"Deleted {', '.join(deleted)} and {prune_words()} unused words.")
