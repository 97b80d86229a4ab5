"""Which books, in which order: the conditions of the filters and the keys of the sorts."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    TEXT,
    ColumnElement,
    Date,
    Integer,
    Uuid,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import TSQUERY

from books_api.books import languages, search
from books_api.books.models import PAGE_COUNT_MAX, Book
from books_api.books.schemas import parse_partial_date
from books_api.web.pagination import Sort, sorts

# Neither ASCII nor what books_words() splits, whose classes these are.
UNSPLIT: ColumnElement[str] = literal_column(
    r"'[^ -~\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
    r"\uf900-\ufaff\U00020000-\U0003ffff]'"
)
UNDATED = 9_999_999  # later than any day that a book can have


def _first_letters(text: Any) -> ColumnElement[str]:
    return func.left(text, literal_column("100")).collate("C")


def _day(date: Any) -> ColumnElement[int]:
    # A number: there is no date after the last that Python can hold.
    return type_coerce(date - literal_column("DATE '0001-01-01'", Date), Integer)


# What `sort` may name. Each is the expression of an index, and never NULL: a book without the
# value comes after all others, in descending order, too.
SORT_KEYS: dict[str, Any] = {
    "created_at": Book.created_at,
    "updated_at": Book.updated_at,
    "title": _first_letters(func.books_fold(Book.title)),
    "author": _first_letters(Book.author_text),
    "published_date": func.coalesce(_day(Book.published_on), literal_column(str(UNDATED), Integer)),
    "page_count": func.coalesce(Book.page_count, literal_column(str(PAGE_COUNT_MAX + 1), Integer)),
}
BEFORE_ALL = literal_column("-1", Integer)
LAST_WHEN_DESCENDING = {
    "-published_date": func.coalesce(_day(Book.published_on), BEFORE_ALL),
    "-page_count": func.coalesce(Book.page_count, BEFORE_ALL),
}
SORTS = sorts(SORT_KEYS, Book.id) | {
    name: Sort(key, Book.id, descending=True) for name, key in LAST_WHEN_DESCENDING.items()
}
NEWEST = "-created_at"


def _author_contains(text: Any) -> ColumnElement[bool]:
    # What is left after folding has no LIKE wildcards; nothing left is contained in nothing.
    folded = func.books_fold(bindparam("author"))
    contained = text.like("%" + func.nullif(folded, "") + "%")
    # Trigrams find nothing shorter than three letters: those are looked up among the author's
    # words, unless they are of a script that may have none or few spaces and is not split.
    has_trigram = func.length(folded) > literal_column("2")
    words = cast(func.books_words_query(folded), TEXT) + literal_column("'B'")
    return and_(
        contained, or_(has_trigram, folded.op("~")(UNSPLIT), search.has(cast(words, TSQUERY)))
    )


def _published(moment: str) -> ColumnElement[int]:
    return _day(bindparam(moment, type_=Date))


FILTERS: dict[str, ColumnElement[bool]] = {
    "author": _author_contains(Book.author_text),
    "common author": _author_contains(Book.author_text + literal_column("''")),  # has no index
    "publisher": func.left(func.books_fold(Book.publisher), literal_column("100"))
    == func.left(func.books_fold(bindparam("publisher")), literal_column("100")),
    **languages.FILTERS,
    "isbn": Book.isbn == bindparam("isbn"),
    "user_uid": Book.user_uid == bindparam("user_uid", type_=Uuid()),
    "updated_from": Book.updated_at >= bindparam("updated_from"),
    "updated_to": Book.updated_at <= bindparam("updated_to"),
}


def _published_within(key: Any) -> dict[str, ColumnElement[bool]]:
    # By the expression of the index, which gives the undated a day, too.
    return {
        "published_from": and_(
            key >= _published("published_from"), key < literal_column(str(UNDATED), Integer)
        ),
        "published_to": and_(key <= _published("published_to"), key > BEFORE_ALL),
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
        search.take_isbn(parameters)
    languages.take_language(parameters)
    return parameters


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
) -> list[ColumnElement[bool]]:
    """Return the conditions of the named filters; that of q with the tsquery that it means."""
    filters = FILTERS_BY_SORT.get(sort, FILTERS_BY_SORT["published_date"])
    wanted = [filters[name] for name in sorted(names - {"q", "searcher"})]
    return [*wanted, search.has(query)] if query is not None and "q" in names else wanted
