"""How many books there are: counted one by one, or estimated as Postgres plans."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import TSQUERY

from books_api.books import search
from books_api.books.filters import add_searcher, conditions, parameters_of, scope_of, within
from books_api.books.models import Book
from books_api.books.search.concurrency import in_a_slot, slot_or_refusal
from books_api.database import Statement
from books_api.web.pagination import decode_cursor

COUNTED = 10_000  # books that are counted one by one


class Count(NamedTuple):
    """How many books, and whether that is an estimate."""

    books: int
    is_estimate: bool


@slot_or_refusal()
def count_books(
    filters: Mapping[str, Any],
    searcher: str | None = None,
    *,
    exact: bool = True,
    cursor: str | None = None,
    sort: str | None = None,
) -> Count:
    """Return how many books the filters let through. Raises as list_books() does.

    Unless `exact`, more than COUNTED are estimated. With a cursor of list_books() with this sort, q
    means what it does there.
    """
    parameters = parameters_of(filters)
    scope = scope_of(parameters, sort)[1]
    names = add_searcher(parameters, searcher)
    if "q" in names:
        place = decode_cursor(cursor, scope)[2] if cursor else None
        parameters["query"] = search.meaning(within(names), parameters, place)
    [(count,)] = _count(names, exact).rows(**parameters, most=COUNTED + 1)
    if exact or count <= COUNTED:
        return Count(count, is_estimate=False)
    [([plan],)] = _plan(names).rows(**parameters)
    return Count(max(count, round(plan["Plan"]["Plan Rows"])), is_estimate=True)


@lru_cache
def _count(names: frozenset[str], exact: bool) -> Statement:
    wanted = conditions(names, query=search.QUERY)
    found: Select[Any] = select(literal_column("1")).select_from(Book).where(*wanted)
    if not exact:
        found = found.limit(bindparam("most"))
    return in_a_slot(names, Statement(select(func.count()).select_from(found.subquery())))


@lru_cache
def _plan(names: frozenset[str]) -> Statement:
    # The query itself, not in a subquery: Postgres knows how many books have its words.
    query = cast(bindparam("query"), TSQUERY)
    statement = Statement(select(Book.id).where(*conditions(names, query=query)))
    statement.text = f"EXPLAIN (FORMAT JSON) {statement.text}"
    return statement
