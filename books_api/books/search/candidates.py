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
from books_api.books.search.words import (
    COMMON,
    SAMPLE,
    Meaning,
    Word,
    reading,
    sample,
    telling,
    understand,
    with_typos,
)
from books_api.database import Statement

RANKED = 600
# Books by the statistics, unless filters leave fewer. Where many more than are ranked have the
# words, the index is better left alone: it would read its whole list.
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
    is_common: bool  # among the newest books
    books: Sequence[Sequence[Any]] = ()  # one more at most than are ranked, if they are few

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
        return [words, self.required, self.is_common]


def at_place(words: Sequence[Any], required: int, is_common: bool) -> Found:
    """Return what a place stands for."""
    meant = [
        Word(typed, books, is_last, [Meaning(*each) for each in meanings])
        for typed, books, is_last, meanings in words
    ]
    return Found(meant, required, is_common)


def find_candidates(
    within: Within, parameters: dict[str, Any], columns: Sequence[Any], most: int = 0
) -> Found | None:
    """Return the nearest meaning that books have, with up to `most` of them and one more."""
    statement = _candidates(within, tuple(columns))
    read = understand(_reading(within).rows(**parameters))
    for words, required in meant(read, parameters.get("user_uid")):
        found = Found(words, required, is_common=False)
        rows = statement.rows(**parameters, query=found.query, most=most + 1)
        is_common, is_left_alone, first, *_ = rows[0]
        if is_left_alone or first is not None:
            books = [] if is_left_alone else [row[2:] for row in rows]
            return found._replace(is_common=is_common, books=books)
    return None


def meant(words: Sequence[Word], owner: str | None = None) -> Iterator[tuple[Sequence[Word], int]]:
    """Yield the words with their meanings, and how many of the telling ones a book must have."""
    count = len(telling(words))
    if count:
        yield words, count
        words = with_typos(words, owner)
        for fewer in range(count, 0, -1):
            yield words, fewer


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
def _candidates(within: Within, columns: tuple[Any, ...]) -> Statement:
    newest = sample(within.conditions).cte("sample").prefix_with("MATERIALIZED")
    books = sa.func.count().label("books")
    share = sa.select(books).select_from(newest).where(has(QUERY, newest.c.search)).cte("share")
    is_common = (share.c.books >= sa.literal_column(str(COMMON))).label("is_common")
    left_alone = sa.and_(
        is_common, share.c.books * _BOOKS > sa.literal_column(str(2 * RANKED * SAMPLE))
    )
    if within.conditions:  # of these books there may be few
        left_alone = sa.false()
    alone = sa.select(is_common, left_alone.label("alone")).select_from(share)
    alone_once = alone.cte("alone").prefix_with("MATERIALIZED")
    is_asked = ~sa.select(alone_once.c.alone).scalar_subquery()
    found = sa.select(*columns).where(*within.conditions, is_asked, has(QUERY)).cte("found")
    some = sa.select(found.prefix_with("MATERIALIZED")).limit(sa.bindparam("most")).subquery()
    page = sa.select(alone_once, some).join_from(alone_once, some, sa.true(), isouter=True)
    return in_a_slot(within.names, Statement(page))


def has(query: Any, search: Any = Book.search) -> sa.ColumnElement[bool]:
    """Return whether a book has what the tsquery asks for."""
    return sa.type_coerce(search, TSVECTOR).bool_op("@@")(query)
