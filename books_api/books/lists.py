"""Lists of books: pages and walks. Every form of it is one statement, made once."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import sqlalchemy as sa

from books_api.books import search
from books_api.books.filters import SORTS, add_searcher, conditions, parameters_of, scope_of, within
from books_api.books.models import MEMBERS, STORED, Book
from books_api.database import Statement
from books_api.web.pagination import Page, Sort, fetch_page, keyset

RFC3339: sa.ColumnElement[str] = sa.literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'""")


def answered(column: Any) -> sa.ColumnElement[Any]:
    # The text of the answer, by Postgres: to make and to write a datetime costs ten times as much.
    if isinstance(column.type, sa.Uuid):
        return sa.cast(column, sa.TEXT).label(column.name)
    if isinstance(column.type, sa.DateTime):
        in_utc = sa.func.timezone(sa.literal_column("'UTC'"), column)
        return sa.func.to_char(in_utc, RFC3339, type_=sa.TEXT).label(column.name)
    answered: sa.ColumnElement[Any] = column
    return answered


COLUMNS = [answered(column) for column in STORED]
FEW = 1_000  # books by an author that are looked up before they are sorted
UNINDEXED = 2  # letters of an author that are too few for an index of trigrams
ITERATED = 2_000  # books of a batch


def list_books(
    *,
    limit: int,
    cursor: str | None = None,
    sort: str | None = None,
    filters: Mapping[str, Any] | None = None,
    searcher: str | None = None,
) -> Page[dict[str, Any]]:
    """Return a page of books as they are answered: best first with q, else newest first.

    A `searcher`, a user's id, has search.concurrency.AT_ONCE running. Raises InvalidCursor and
    TooManySearches.
    """
    parameters = parameters_of(filters or {})
    sort, scope = scope_of(parameters, sort)
    names = add_searcher(parameters, searcher)
    return fetch_page(
        partial(_page_statement, names, sort),
        parameters,
        make=as_answer,
        width=len(COLUMNS),
        scope=scope,
        limit=limit,
        cursor=cursor,
    )


def as_answer(row: Sequence[Any]) -> dict[str, Any]:
    """Return a row of COLUMNS, behind which there may be a sort key and more, as an answer."""
    return dict(zip(MEMBERS, row, strict=False))


def iterate_books(
    filters: Mapping[str, Any], fields: tuple[str, ...]
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the fields of all books that the filters let through, oldest first, in batches.

    A row has the id and the sort key behind the fields. No transaction stays open between the
    batches: who reads slowly holds nothing.
    """
    parameters = parameters_of(filters)
    names = frozenset(parameters)
    parameters["rows"] = ITERATED
    if "q" in names:  # once: what is added meanwhile does not change what is meant
        parameters["query"] = search.meaning(within(names), parameters)
    after = False
    while True:
        rows = _iteration(names, fields, after).rows(**parameters)
        if rows:
            yield rows
        if len(rows) < ITERATED:
            return
        parameters["after_id"], parameters["after_key"] = rows[-1][len(fields) :]
        after = True


class FewFirst(NamedTuple):
    """A page of books by an author, to be run like its statement.

    Postgres cannot tell how many authors contain a text: it may read all books along the order of
    the page for a rare one, and look up all of a common one. Here it has no choice.
    """

    few: Statement  # with the number of what is found, up to one more than FEW
    walk: Statement

    def rows(self, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the columns and the sort key."""
        if len(parameters["author"]) > UNINDEXED:
            rows = self.few.rows(**parameters)
            if not rows or rows[0][-1] <= FEW:
                return [row[:-1] for row in rows]
        return self.walk.rows(**parameters)


@lru_cache
def _page_statement(
    names: frozenset[str], sort: str, after: bool
) -> Statement | search.Search | FewFirst:
    if "q" in names:
        by = SORTS[sort] if sort else None
        return search.Search(within(names, sort), tuple(COLUMNS), by, after)
    by = SORTS[sort]
    page = keyset(sa.select(*STORED).where(*conditions(names, sort)), by, after=after)
    if not names:
        return Statement(page.with_only_columns(*COLUMNS, sa.cast(by.key, sa.TEXT)))
    if "author" not in names:
        return Statement(_written(page.subquery(), by))
    few = page.order_by(None).limit(sa.literal_column(f"{FEW} + 1")).cte("few")
    count = sa.select(sa.func.count()).select_from(few).scalar_subquery()
    # It reads the whole table for what it guesses to be more than FEW, and is not.
    counted = Statement(_written(few, by).add_columns(count))
    counted.preceded_by("SET LOCAL random_page_cost = 1")
    walk = conditions(names - {"author"} | {"common author"}, sort)
    page = keyset(sa.select(*STORED).where(*walk), by, after=after)
    walked = Statement(_written(page.subquery(), by))
    if names == {"author"}:  # it guesses that they are few, and reads and sorts the whole table
        walked.preceded_by("SET LOCAL enable_sort = off")
    return FewFirst(counted, walked)


def _written(books: sa.FromClause, by: Sort) -> sa.Select[Any]:
    # What is found may have to be sorted: only what is shown is written as an answer.
    *columns, key = books.c
    page = keyset(sa.select(*columns), Sort(key, books.c.id, by.descending), after=False)
    return page.with_only_columns(*map(answered, columns), sa.cast(key, sa.TEXT))


@lru_cache
def _iteration(names: frozenset[str], fields: tuple[str, ...], after: bool) -> Statement:
    oldest = SORTS["created_at"]
    columns = [*(column for column in COLUMNS if column.name in fields), Book.id.label("last_id")]
    books = sa.select(*columns).where(*conditions(names, query=search.QUERY))
    page = keyset(books, oldest, after=after)
    return Statement(page.with_only_columns(*columns, sa.cast(oldest.key, sa.TEXT)))
