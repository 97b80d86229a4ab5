"""Lists of books: filters and sorts. Every form of it is one statement, made once."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from sqlalchemy import (
    TEXT,
    ColumnElement,
    Date,
    DateTime,
    Integer,
    Uuid,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import TSQUERY

from books_api.books import languages, search
from books_api.books.models import MEMBERS, PAGE_COUNT_MAX, STORED, Book
from books_api.books.schemas import parse_partial_date
from books_api.database import Statement
from books_api.web.pagination import Page, Sort, fetch_page, keyset, sorts

RFC3339: ColumnElement[str] = literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'""")


def answered(column: Any) -> ColumnElement[Any]:
    # The text of the answer, by Postgres: to make and to write a datetime costs ten times as much.
    if isinstance(column.type, Uuid):
        return cast(column, TEXT).label(column.name)
    if isinstance(column.type, DateTime):
        in_utc = func.timezone(literal_column("'UTC'"), column)
        return func.to_char(in_utc, RFC3339, type_=TEXT).label(column.name)
    answered: ColumnElement[Any] = column
    return answered


COLUMNS = [answered(column) for column in STORED]
# Neither ASCII nor what books_words() splits, whose classes these are.
UNSPLIT: ColumnElement[str] = literal_column(
    r"'[^ -~\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
    r"\uf900-\ufaff\U00020000-\U0003ffff]'"
)
ITERATED = 2_000  # books of a batch
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


def _author_contains(author: ColumnElement[str]) -> ColumnElement[bool]:
    # What is left after folding has no LIKE wildcards; nothing left is contained in nothing.
    folded = func.books_fold(author)
    contained = Book.author_text.like("%" + func.nullif(folded, "") + "%")
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
    "author": _author_contains(bindparam("author")),
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


def list_books(
    *,
    limit: int,
    cursor: str | None = None,
    sort: str | None = None,
    filters: Mapping[str, Any] | None = None,
    searcher: str | None = None,
) -> Page[dict[str, Any]]:
    """Return a page of books as they are answered: best first with q, else newest first.

    A `searcher`, a user's id, has search.AT_ONCE running. Raises InvalidCursor and TooManySearches.
    """
    parameters = _parameters(filters or {})
    sort = sort or ("" if "q" in parameters else NEWEST)
    scope = f"books {sort} {sorted((name, str(value)) for name, value in parameters.items())}"
    names = _bounded(parameters, searcher)
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
    parameters = _parameters(filters)
    names = frozenset(parameters)
    parameters["rows"] = ITERATED
    if "q" in names:  # once: what is added meanwhile does not change what is meant
        parameters["query"] = search.meaning(_within(names), parameters)
    after = False
    while True:
        rows = _iteration(names, fields, after).rows(**parameters)
        if rows:
            yield rows
        if len(rows) < ITERATED:
            return
        parameters["after_id"], parameters["after_key"] = rows[-1][len(fields) :]
        after = True


def count_books(filters: Mapping[str, Any], searcher: str | None = None) -> int:
    """Return how many books the filters let through. Raises TooManySearches, as list_books()."""
    parameters = _parameters(filters)
    names = _bounded(parameters, searcher)
    if "q" in names:
        return search.count_found(_within(names), parameters)
    [(count,)] = _count_statement(names).rows(**parameters)
    return int(count)


def _bounded(parameters: dict[str, Any], searcher: str | None) -> frozenset[str]:
    """Add the searcher of a q, and return the names of all parameters."""
    if searcher is not None and "q" in parameters:
        parameters["searcher"] = searcher
    return frozenset(parameters)


def _parameters(filters: Mapping[str, Any]) -> dict[str, Any]:
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


@lru_cache
def _page_statement(names: frozenset[str], sort: str, after: bool) -> Statement | search.Search:
    if "q" in names:
        by = SORTS[sort] if sort else None
        return search.Search(_within(names, sort), tuple(COLUMNS), by, after)
    page = keyset(select(*COLUMNS).where(*_conditions(names, sort)), SORTS[sort], after=after)
    return Statement(page.with_only_columns(*COLUMNS, cast(SORTS[sort].key, TEXT)))


@lru_cache
def _iteration(names: frozenset[str], fields: tuple[str, ...], after: bool) -> Statement:
    oldest = SORTS["created_at"]
    columns = [*(column for column in COLUMNS if column.name in fields), Book.id.label("last_id")]
    conditions = _conditions(names)
    if "q" in names:
        conditions.append(search.has(search.QUERY))
    page = keyset(select(*columns).where(*conditions), oldest, after=after)
    return Statement(page.with_only_columns(*columns, cast(oldest.key, TEXT)))


@lru_cache
def _count_statement(names: frozenset[str]) -> Statement:
    return Statement(select(func.count()).select_from(Book).where(*_conditions(names)))


@lru_cache
def _within(names: frozenset[str], sort: str = "") -> search.Within:
    return search.Within(names, tuple(_conditions(names, sort)))


def _conditions(names: frozenset[str], sort: str = "") -> list[ColumnElement[bool]]:
    filters = FILTERS_BY_SORT.get(sort, FILTERS_BY_SORT["published_date"])
    return [filters[name] for name in sorted(names - {"q", "searcher"})]
