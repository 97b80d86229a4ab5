"""Pages, counts and walks of what a search finds."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import TEXT, Select, Uuid, bindparam, cast, literal_column, select

from books_api.books.models import Book
from books_api.books.search.candidates import (
    QUERY,
    RANKED,
    Found,
    Within,
    at_place,
    find_candidates,
    has,
)
from books_api.books.search.concurrency import in_a_slot, slot_or_refusal
from books_api.books.search.rank import Ranking
from books_api.books.search.words import telling
from books_api.database import Statement
from books_api.web.pagination import Sort, keyset

WALKED = 1_000  # books along the way to a page of what is common
RANK_SCALE = 1_000_000  # ranks are compared as integers, which a cursor can hold exactly
RANKING = [Book.title, Book.author, cast(Book.search, TEXT)]


class Search(NamedTuple):
    """A page of what q finds, to be run like its statement."""

    within: Within
    columns: Sequence[Any]  # the id first
    sort: Sort | None  # None is best first
    after: bool

    @slot_or_refusal()
    def rows(self, place: Any = None, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the columns, the sort key and the place of the next page.

        Raises TooManySearches.
        """
        is_ranked = self.sort is None and parameters.get("after_key", 1) > 0
        columns = [*self.columns, *RANKING] if is_ranked else [Book.id]
        most = RANKED if is_ranked else 0
        if not self.after:
            found = find_candidates(self.within, parameters, columns, most)
        else:
            found = at_place(*place)
            if is_ranked:  # and goes on being ranked, though others have added to it
                matching = _matching(self.within, tuple(columns))
                books = matching.rows(**parameters, query=found.query, most=2 * most)
                found = found._replace(books=books)
        if found is None:
            return []
        if is_ranked and found.books and (self.after or len(found.books) <= most):
            rows = ranked(found, parameters)
        else:
            found = found._replace(words=telling(found.words))  # the others would only rank
            walk = _walk(self) if found.is_common else None
            rows = walk.rows(**parameters, query=found.query) if walk else []
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
def _matching(within: Within, columns: tuple[Any, ...]) -> Statement:
    books = select(*columns).where(*within.conditions, has(QUERY)).limit(bindparam("most"))
    return in_a_slot(within.names, Statement(books))


@lru_cache
def _list(search: Search) -> Statement:
    # All that is found, before any of it is sorted: Postgres would rather walk along the sort's
    # index, and read all books when few have the words.
    key = search.sort.key if search.sort else Book.id
    columns: Any = (Book.id, key.label("key"))
    found = select(*columns).where(*search.within.conditions, has(QUERY)).cte("found")
    all_found = found.prefix_with("MATERIALIZED").c
    descending = search.sort is None or search.sort.descending
    by = Sort(all_found.key, all_found.id, descending) if search.sort else None
    page = _sorted(search._replace(sort=by), select(all_found.id), all_found)
    return _page(search, select(page.subquery().c.id))


@lru_cache
def _walk(search: Search) -> Statement:
    # What is common is found soon along the sort's index; that of words would read a long list.
    columns: Any = (Book.id, Book.search)
    books = select(*columns).where(*search.within.conditions)
    walked = _sorted(search, books).limit(literal_column(str(WALKED))).subquery()
    found = select(walked.c.id).where(has(QUERY, walked.c.search)).limit(bindparam("rows"))
    return _page(search, found)


def _page(search: Search, ids: Select[Any]) -> Statement:
    page = select(*search.columns).where(Book.id.in_(ids))
    return in_a_slot(search.within.names, Statement(_sorted(search, page)))


def _sorted(search: Search, books: Select[Any], of: Any = Book) -> Select[Any]:
    if search.sort:
        return keyset(books, search.sort, after=search.after)
    if search.after:  # newest first: ids are in order of time, which needs no other index
        books = books.where(of.id < bindparam("after_id", type_=Uuid(as_uuid=False)))
    books = books.add_columns(literal_column("0")).order_by(of.id.desc())
    return books.limit(bindparam("rows"))
