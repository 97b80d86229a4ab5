"""Pages, counts and walks of what a search finds."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import TEXT, Select, bindparam, cast, literal_column, select

from books_api.books.models import Book
from books_api.books.search.candidates import (
    QUERY,
    RANKED,
    WALKED,
    Found,
    Within,
    at_place,
    find_candidates,
    has,
    look_up,
)
from books_api.books.search.concurrency import in_a_slot, slot_or_refusal
from books_api.books.search.rank import Ranking
from books_api.books.search.words import telling
from books_api.database import Statement
from books_api.web.pagination import Sort, keyset

RANK_SCALE = 1_000_000  # ranks are compared as integers, which a cursor can hold exactly
NEWEST = Sort(Book.created_at, Book.id, descending=True)
RANKING = [Book.title, Book.author, cast(Book.search, TEXT)]


class Search(NamedTuple):
    """A page of what q finds, to be run like its statement."""

    within: Within
    columns: Sequence[Any]  # the id first
    sort: Sort | None  # None is best first
    after: bool

    @property
    def order(self) -> Sort:
        """Return by what those are sorted that are too many to be ranked."""
        return self.sort or NEWEST

    @slot_or_refusal()
    def rows(self, place: Any = None, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the columns, the sort key and the place of the next page.

        Raises TooManySearches.
        """
        is_ranked = self.sort is None and isinstance(parameters.get("after_key", 0), int)
        columns = [*self.columns, *RANKING] if is_ranked else [Book.id]
        if not self.after:
            found = find_candidates(self.within, parameters, columns, RANKED)
        else:
            found = at_place(*place)
            if is_ranked:  # and goes on being ranked, though others have added to it
                limits = {"most": 2 * RANKED, "few": 2 * RANKED}
                found = look_up(found, self.within, parameters | limits, columns)
        if found is None:
            return []
        if is_ranked and not found.is_many:
            rows = ranked(found, parameters)
        else:
            found = found._replace(words=telling(found.words))  # the others would only rank
            rows = _walk(self).rows(**parameters, query=found.query) if found.is_many else []
            if len(rows) < parameters["rows"]:
                rows = _list(self).rows(**parameters, query=found.query)
        return [(*row, found.place) for row in rows]


def ranked(found: Found, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the books, best first, with their ranks: as many as a page has."""
    ranking, rows = Ranking(parameters["q"], found.words), []
    for *row, title, author, search in found.books:
        score = round(ranking.rank(title, author, search) * RANK_SCALE) + 1
        rows.append((-score, row[0], row))
    if "after_key" in parameters:
        here = (-parameters["after_key"], parameters["after_id"])
        rows = [row for row in rows if row[:2] > here]
    rows.sort(key=lambda row: row[:2])  # of equals the oldest first: what comes displaces none
    return [(*row, -score) for score, _, row in rows[: parameters["rows"]]]


def meaning(within: Within, parameters: dict[str, Any], place: Any = None) -> str | None:
    """Return the tsquery that q means, in a place what it did there; None when it finds nothing."""
    found = at_place(*place) if place else find_candidates(within, parameters, [Book.id])
    return found.query if found else None


@lru_cache
def _list(search: Search) -> Statement:
    # All that is found, before any of it is sorted: Postgres would rather walk along the sort's
    # index, and read all books when few have the words.
    columns: Any = (Book.id, search.order.key.label("key"))
    found = select(*columns).where(*search.within.conditions, has(QUERY)).cte("found")
    books = found.prefix_with("MATERIALIZED").c
    by = Sort(books.key, books.id, search.order.descending)
    page = keyset(select(books.id), by, after=search.after)
    return _page(search, select(page.subquery().c.id))


@lru_cache
def _walk(search: Search) -> Statement:
    # What is common is found soon along the sort's index; that of words would read a long list.
    columns: Any = (Book.id, Book.search)
    books = keyset(
        select(*columns).where(*search.within.conditions), search.order, after=search.after
    )
    walked = books.limit(literal_column(str(WALKED))).subquery().c
    found = select(walked.id).where(has(QUERY, walked.search)).limit(bindparam("rows"))
    return _page(search, found)


def _page(search: Search, ids: Select[Any]) -> Statement:
    books = select(*search.columns).where(Book.id.in_(ids))
    page = keyset(books, search.order, after=False)
    return in_a_slot(search.within.names, Statement(page))
