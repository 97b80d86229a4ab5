"""How Alembic reaches the application's database."""

import time
from math import inf

from alembic import context
from alembic.util import CommandError
from flask import current_app
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from books_api.cli_errors import first_line
from books_api.database import driver
from books_api.extensions import db

# A migration that waits for a lock stops every request behind it: better to fail and be run
# again. What it does once it has the lock may take its time.
TIMEOUTS = "SET lock_timeout = '5s'; SET statement_timeout = 0"

# Processes that start at the same time migrate one after the other, however long it takes. The lock
# is a transaction's of its own: CREATE INDEX CONCURRENTLY commits. Nobody waits in a statement for
# it: such an index waits for the end of every statement.
AWAKE = text("SET LOCAL idle_in_transaction_session_timeout = 0")
ONE_AT_A_TIME = text("SELECT pg_try_advisory_xact_lock(hashtextextended('migrations', 0))")


def is_declared(item, name, type_, reflected, compare_to) -> bool:
    """Leave alone the indexes that only migrations make: on expressions, GIN."""
    return not (type_ == "index" and reflected and compare_to is None)


def skip_empty_revision(migration_context, revision, directives):
    """Write no revision when models and schema agree."""
    if getattr(context.config.cmd_opts, "autogenerate", False):
        directives[:] = [d for d in directives if not d.upgrade_ops.is_empty()]


def run_migrations() -> None:
    """Run in one transaction, so that a failed migration leaves nothing half done."""
    with db.engine.connect() as turn:
        turn.detach()  # the pool may have one connection only
        turn.execute(AWAKE)
        while not turn.scalar(ONE_AT_A_TIME):
            time.sleep(0.1)
        migrate()


def migrate() -> None:
    with db.engine.connect() as connection:
        connection.execute(text(TIMEOUTS))
        driver(connection).seconds = inf
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            include_object=is_declared,
            process_revision_directives=skip_empty_revision,
            **current_app.extensions["migrate"].configure_args,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.invalidate()  # the time-outs above are not for requests


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=db.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    try:
        run_migrations()
    except DBAPIError as error:  # Flask-Migrate says an error of this class in one line
        raise CommandError(first_line(error)) from None
