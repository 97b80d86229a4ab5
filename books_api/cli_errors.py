"""How the commands of `flask` fail: one line on stderr, and a status."""

import sys
from typing import Any, NoReturn

import click
from flask.cli import AppGroup
from psycopg2.errorcodes import UNDEFINED_TABLE
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from books_api.watchdog import Overdue
from books_api.web.problems import Problem

FAILED = 1
USAGE = 2


def fail(message: str, status: int = FAILED) -> NoReturn:
    """Print one line to stderr and exit."""
    click.echo(f"Error: {message}", err=True)
    sys.exit(status)


def first_line(error: Exception) -> str:
    """Return the reason of a database or Redis error, without its statement and parameters."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


class OperatorGroup(AppGroup):
    """A group whose commands say in one line what is refused, or that a server is unavailable."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Problem as error:
            fail(str(error))
        except (DBAPIError, RedisError) as error:
            if getattr(getattr(error, "orig", None), "pgcode", None) == UNDEFINED_TABLE:
                fail("the tables are missing: run flask db upgrade")
            if isinstance(getattr(error, "orig", None), Overdue):
                fail(f"{first_line(error)} A change may be done all the same: check first.")
            fail(f"nothing was changed: {first_line(error)}")
