"""Which books may be what was meant."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from books_api.books.models import Book
from books_api.books.search.concurrency import in_a_slot
from books_api.books.search.typos import with_typos
from books_api.books.search.words import (
    COMMON,
    NEWEST,
    SAMPLE,
    Meaning,
    Word,
    reading,
    sample,
    telling,
    understand,
)
from books_api.database import Statement

RANKED = 600
WALKED = 5_000  # books from the newest on, or along a sort, before the index of words is asked
# Books by the statistics. Where many more than are ranked have the words, the index is better left
# alone: it would read its whole list.
_BOOKS: sa.ColumnElement[float] = sa.literal_column(
    "(SELECT reltuples FROM pg_class WHERE oid = 'books'::regclass)"
)

# In a subquery, whose result Postgres does not know when it plans: it takes the index for the
# commonest of words, too.
QUERY = sa.select(sa.cast(sa.bindparam("query"), TSQUERY)).scalar_subquery()


@dataclass(frozen=True, slots=True)
class Within:
    """The books that filters let through. Equal by the filters' names."""

    names: frozenset[str]
    conditions: Sequence[sa.ColumnElement[bool]] = field(compare=False)


class Found(NamedTuple):
    """What was meant: that of which there are books."""

    words: Sequence[Word]
    required: int  # of the telling words: so many a book must have
    is_many: bool = False  # more than are ranked
    books: Sequence[Sequence[Any]] = ()  # all, unless they are many

    @property
    def query(self) -> str:
        """Return the tsquery of the books."""
        return tsquery(telling(self.words), self.required)

    @property
    def place(self) -> list[Any]:
        """Return it without the books, for a cursor."""
        words = [
            (word.typed, word.books, word.is_last, [tuple(each) for each in word.meanings])
            for word in self.words
        ]
        return [words, self.required, self.is_many]


def at_place(words: Sequence[Any], required: int, is_many: bool) -> Found:
    """Return what a place stands for."""
    meant = [
        Word(typed, books, is_last, [Meaning(*each) for each in meanings])
        for typed, books, is_last, meanings in words
    ]
    return Found(meant, required, is_many)


def find_candidates(
    within: Within, parameters: dict[str, Any], columns: Sequence[Any], few: int = 0
) -> Found | None:
    """Return the nearest meaning that books have, with the books if they are `few` at most."""
    rows = _reading(within).rows(**parameters)
    is_whole = bool(rows) and rows[0][-1]
    limits = {"most": few + 1, "few": few}
    for words, required in meant(understand(rows), parameters.get("user_uid")):
        found = Found(words, required)
        found = look_up(found, within, parameters | limits, columns, is_whole=is_whole)
        if found.is_many or found.books:
            return found
    return None


def look_up(
    found: Found,
    within: Within,
    parameters: dict[str, Any],
    columns: Sequence[Any],
    *,
    is_whole: bool = False,
) -> Found:
    """Return what is found with its books if they are at most :few, of :most that are looked for.

    The index has the words of all books. What is common among those that the filters let through is
    looked for by reading these one by one, and so is anything if the sample had them all.
    """
    parameters = {**parameters, "query": found.query}
    rows: list[tuple[Any, ...]] = [(None,)]
    if within.conditions and (is_whole or telling(found.words)[0].books >= COMMON):
        rows = _by_walk(within, tuple(columns)).rows(**parameters)
    if rows and rows[0][0] is None:
        rows = _by_index(within, tuple(columns)).rows(**parameters)
    count = rows[0][0] if rows else 0
    is_many = count > parameters["few"]
    books = [] if is_many or not count else [row[1:] for row in rows]
    return found._replace(is_many=is_many, books=books)


def meant(words: Sequence[Word], owner: str | None = None) -> Iterator[tuple[Sequence[Word], int]]:
    """Yield the words with their meanings, and how many of the telling ones a book must have."""
    count = len(telling(words))
    if count:
        yield words, count
        others = with_typos(words, owner)
        for fewer in range(count if others != words else count - 1, 0, -1):
            yield others, fewer


def tsquery(words: Sequence[Word], count: int) -> str:
    """Return the tsquery of what has any `count` of the words."""
    each = {word.typed: f"({' | '.join(map(_phrase, word.meanings))})" for word in words}
    return " | ".join(" & ".join(combination) for combination in combinations(each.values(), count))


def _phrase(meaning: Meaning) -> str:
    # Words are letters and digits: nothing in them is syntax.
    phrase = " <-> ".join(f"'{lexeme}'" for lexeme in meaning.lexemes)
    return f"({phrase}:*)" if meaning.is_unfinished else f"({phrase})"


@lru_cache
def _reading(within: Within) -> Statement:
    of_owner = "user_uid" in within.names
    return in_a_slot(within.names, reading(within.conditions, of_owner=of_owner))


@lru_cache
def _by_walk(within: Within, columns: tuple[Any, ...]) -> Statement:
    # There is no count if it ended before the books did.
    end: sa.ColumnElement[int] = sa.literal_column(str(WALKED))
    place = sa.func.row_number().over(order_by=NEWEST).label("place")
    books = sa.select(Book.id, Book.search, place).where(*within.conditions).order_by(*NEWEST)
    walked = books.limit(end).subquery().c
    is_found = sa.or_(has(QUERY, walked.search), walked.place == end)
    found = sa.select(walked.id, walked.place).where(is_found).limit(sa.bindparam("most"))
    once = found.cte("found")
    count = sa.case((sa.func.max(once.c.place) < end, sa.func.count()))
    books = sa.select(*columns).where(Book.id.in_(sa.select(once.c.id)))
    return _counted(within, books, sa.select(count).select_from(once))


@lru_cache
def _by_index(within: Within, columns: tuple[Any, ...]) -> Statement:
    books = sa.select(*columns).where(*within.conditions, has(QUERY))
    if within.conditions:  # of these books there may be few
        found = _first(books)
        return _counted(within, sa.select(found), sa.select(sa.func.count()).select_from(found))
    newest = sample(()).cte("sample").prefix_with("MATERIALIZED")
    count = sa.func.count().label("books")
    share = sa.select(count).select_from(newest).where(has(QUERY, newest.c.search)).cte("share")
    is_common = share.c.books >= sa.literal_column(str(COMMON))
    are_many = share.c.books * _BOOKS > sa.literal_column(str(2 * RANKED * SAMPLE))
    alone = sa.select(sa.and_(is_common, are_many).label("alone")).select_from(share)
    once = alone.cte("alone").prefix_with("MATERIALIZED")
    is_alone = sa.select(once.c.alone).scalar_subquery()
    found = _first(books.where(~is_alone))
    most = sa.case((is_alone, sa.bindparam("most")), else_=sa.func.count())
    some = sa.select(found).join_from(once, found, sa.true(), isouter=True)
    return _counted(within, some, sa.select(most).select_from(found))


def _first(books: sa.Select[Any]) -> sa.CTE:
    # Limited from outside: for a few of them Postgres would rather read the table.
    every = books.cte("every").prefix_with("MATERIALIZED")
    return sa.select(every).limit(sa.bindparam("most")).cte("found")


def _counted(within: Within, books: sa.Select[Any], count: sa.Select[Any]) -> Statement:
    # The number of books, and the books themselves, but no more than one if they are not few.
    number = count.scalar_subquery()
    few = sa.case((number > sa.bindparam("few"), sa.literal_column("1")))
    columns = [number.label("count"), *books.selected_columns]
    return in_a_slot(within.names, Statement(books.with_only_columns(*columns).limit(few)))


def has(query: Any, search: Any = Book.search) -> sa.ColumnElement[bool]:
    """Return whether a book has what the tsquery asks for."""
    return sa.type_coerce(search, TSVECTOR).bool_op("@@")(query)
