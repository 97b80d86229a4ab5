"""How many searches one user may have running at once."""

from collections.abc import Collection
from functools import partial

from books_api.books.exceptions import TooManySearches
from books_api.database import Statement, translate

AT_ONCE = 4  # searches of one user: they may keep Postgres busy, a list does not
NO_SLOT = "U0429"  # the SQLSTATE of books_take_slot()
slot_or_refusal = partial(translate, NO_SLOT, TooManySearches)


def in_a_slot(names: Collection[str], statement: Statement) -> Statement:
    """Let the searcher take a slot in the transaction, and the round trip, of the statement."""
    if "searcher" in names:
        statement.preceded_by(f"SELECT books_take_slot(%(searcher)s, {AT_ONCE})")
    return statement
