"""Which books, in which order: the conditions of the filters and the keys of the sorts."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from marshmallow import ValidationError
from sqlalchemy.dialects.postgresql import TSQUERY

from books_api.books import languages, search
from books_api.books.models import PAGE_COUNT_MAX, Book
from books_api.books.schemas import parse_isbn, parse_partial_date
from books_api.web.pagination import Sort, sorts

# Neither ASCII nor what books_words() splits, whose classes these are.
UNSPLIT: sa.ColumnElement[str] = sa.literal_column(
    r"'[^ -~\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
    r"\uf900-\ufaff\U00020000-\U0003ffff]'"
)
UNDATED = 9_999_999  # later than any day that a book can have


def _first_letters(text: Any) -> sa.ColumnElement[str]:
    return sa.func.left(text, sa.literal_column("100")).collate("C")


def _day(date: Any) -> sa.ColumnElement[int]:
    # A number: there is no date after the last that Python can hold.
    return sa.type_coerce(date - sa.literal_column("DATE '0001-01-01'", sa.Date), sa.Integer)


# What `sort` may name. Each is the expression of an index, and never NULL: a book without the
# value comes after all others, in descending order, too.
SORT_KEYS: dict[str, Any] = {
    "created_at": Book.created_at,
    "updated_at": Book.updated_at,
    "title": _first_letters(sa.func.books_fold(Book.title)),
    "author": _first_letters(Book.author_text),
    "published_date": sa.func.coalesce(
        _day(Book.published_on), sa.literal_column(str(UNDATED), sa.Integer)
    ),
    "page_count": sa.func.coalesce(
        Book.page_count, sa.literal_column(str(PAGE_COUNT_MAX + 1), sa.Integer)
    ),
}
BEFORE_ALL = sa.literal_column("-1", sa.Integer)
LAST_WHEN_DESCENDING = {
    "-published_date": sa.func.coalesce(_day(Book.published_on), BEFORE_ALL),
    "-page_count": sa.func.coalesce(Book.page_count, BEFORE_ALL),
}
SORTS = sorts(SORT_KEYS, Book.id) | {
    name: Sort(key, Book.id, descending=True) for name, key in LAST_WHEN_DESCENDING.items()
}
NEWEST = "-created_at"


def _author_contains(text: Any) -> sa.ColumnElement[bool]:
    # What is left after folding has no LIKE wildcards; nothing left is contained in nothing.
    folded = sa.func.books_fold(sa.bindparam("author"))
    contained = text.like("%" + sa.func.nullif(folded, "") + "%")
    # Trigrams find nothing shorter than three letters: those are looked up among the author's
    # words, unless they are of a script that may have none or few spaces and is not split.
    has_trigram = sa.func.length(folded) > sa.literal_column("2")
    words = sa.cast(sa.func.books_words_query(folded), sa.TEXT) + sa.literal_column("'B'")
    return sa.and_(
        contained, sa.or_(has_trigram, folded.op("~")(UNSPLIT), search.has(sa.cast(words, TSQUERY)))
    )


def _published(moment: str) -> sa.ColumnElement[int]:
    return _day(sa.bindparam(moment, type_=sa.Date))


FILTERS: dict[str, sa.ColumnElement[bool]] = {
    "author": _author_contains(Book.author_text),
    "common author": _author_contains(Book.author_text + sa.literal_column("''")),  # has no index
    "publisher": sa.func.left(sa.func.books_fold(Book.publisher), sa.literal_column("100"))
    == sa.func.left(sa.func.books_fold(sa.bindparam("publisher")), sa.literal_column("100")),
    **languages.FILTERS,
    "isbn": Book.isbn == sa.bindparam("isbn"),
    "user_uid": Book.user_uid == sa.bindparam("user_uid", type_=sa.Uuid()),
    "updated_from": Book.updated_at >= sa.bindparam("updated_from"),
    "updated_to": Book.updated_at <= sa.bindparam("updated_to"),
}


def _published_within(key: Any) -> dict[str, sa.ColumnElement[bool]]:
    # By the expression of the index, which gives the undated a day, too.
    return {
        "published_from": sa.and_(
            key >= _published("published_from"), key < sa.literal_column(str(UNDATED), sa.Integer)
        ),
        "published_to": sa.and_(key <= _published("published_to"), key > BEFORE_ALL),
    }


FILTERS_BY_SORT = {
    name: FILTERS | _published_within(SORTS[name].key)
    for name in ("published_date", "-published_date")
}


def parameters_of(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filters as parameters of statements."""
    parameters = dict(filters)
    if "user_uid" in parameters:
        parameters["user_uid"] = str(parameters["user_uid"])
    for name in ("published_from", "published_to"):
        if name in parameters:
            parameters[name] = parse_partial_date(parameters[name])
    if "q" in parameters:
        take_isbn(parameters)
    languages.take_language(parameters)
    return parameters


def take_isbn(parameters: dict[str, Any]) -> None:
    """Turn a q that is an ISBN into the filter by ISBN."""
    try:
        isbn = parse_isbn(parameters["q"])
    except ValidationError:
        return
    del parameters["q"]
    # A filter of its own besides: a book has one number, so two ask for none.
    if parameters.setdefault("isbn", isbn) != isbn:
        parameters["isbn"] = ""


def scope_of(parameters: Mapping[str, Any], sort: str | None) -> tuple[str, str]:
    """Return the sort, and the scope of the cursors of such a list."""
    sort = sort or ("" if "q" in parameters else NEWEST)
    # A cursor of what has been built otherwise before is not taken for one of today.
    kind = "found" if "q" in parameters else "books 2" if sort in LAST_WHEN_DESCENDING else "books"
    return sort, f"{kind} {sort} {sorted((name, str(value)) for name, value in parameters.items())}"


def add_searcher(parameters: dict[str, Any], searcher: str | None) -> frozenset[str]:
    """Add the searcher of a q, and return the names of all parameters."""
    if searcher is not None and "q" in parameters:
        parameters["searcher"] = searcher
    return frozenset(parameters)


@lru_cache
def within(names: frozenset[str], sort: str = "") -> search.Within:
    """Return the books in which a q is searched for."""
    return search.Within(names, tuple(conditions(names, sort)))


def conditions(
    names: frozenset[str], sort: str = "", query: Any = None
) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of the named filters; that of q with the tsquery that it means."""
    filters = FILTERS_BY_SORT.get(sort, FILTERS_BY_SORT["published_date"])
    wanted = [filters[name] for name in sorted(names - {"q", "searcher"})]
    return [*wanted, search.has(query)] if query is not None and "q" in names else wanted
