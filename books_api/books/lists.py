"""Lists of books: filters, search, sorts. Every form of it is one statement, made once.

q is searched in two steps of one statement: full text, all words, the last one perhaps
unfinished; only when nothing has them all, by similarity of trigrams, which finds typos.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from flask import current_app
from marshmallow import ValidationError
from sqlalchemy import (
    CTE,
    TEXT,
    ColumnElement,
    Date,
    Engine,
    Integer,
    Row,
    Select,
    Uuid,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal_column,
    select,
)

from books_api.books.models import PAGE_COUNT_MAX, Book
from books_api.books.schemas import (
    SORT_FIELDS,
    BookSchema,
    parse_isbn,
    parse_partial_date,
)
from books_api.extensions import autocommit
from books_api.pagination import Page, Sort, fetch_page, keyset

FIELDS = tuple(BookSchema().dump_fields)
UUID_FIELDS = ("id", "user_uid")
# The fields of the answer, in its order, then the version. Ids stay text up to the JSON.
COLUMNS = (
    *(
        cast(getattr(Book, name), TEXT).label(name) if name in UUID_FIELDS else getattr(Book, name)
        for name in FIELDS
    ),
    Book.version,
)
RANK_SCALE = 1_000_000  # ranks are compared as integers, which a cursor can hold exactly
ITERATED = 2_000  # books of a batch
SIMILAR_MAX = 100  # characters of q that are compared by trigrams


def _first_letters(column: Any) -> ColumnElement[str]:
    return func.left(func.books_fold(column), literal_column("100")).collate("C")


# What `sort` may name. Each is the expression of an index, and never NULL: a book without the
# value comes after all others, as Postgres has it.
SORT_KEYS: dict[str, Any] = {
    "created_at": Book.created_at,
    "updated_at": Book.updated_at,
    "title": _first_letters(Book.title),
    "author": _first_letters(Book.author),
    "published_date": func.coalesce(Book.published_on, literal_column("DATE '9999-12-31'", Date)),
    "page_count": func.coalesce(Book.page_count, literal_column(str(PAGE_COUNT_MAX + 1), Integer)),
}
SORTS = {
    sign + name: Sort(SORT_KEYS[name], Book.id, descending=bool(sign))
    for name in SORT_FIELDS
    for sign in ("", "-")
}
NEWEST = "-created_at"


def _contains(pattern: ColumnElement[str]) -> ColumnElement[bool]:
    # What is left after folding has no LIKE wildcards.
    return func.books_fold(Book.author).like("%" + func.books_fold(pattern) + "%")


FILTERS: dict[str, ColumnElement[bool]] = {
    "author": _contains(bindparam("author")),
    "publisher": func.left(func.books_fold(Book.publisher), literal_column("100"))
    == func.left(func.books_fold(bindparam("publisher")), literal_column("100")),
    "language": func.lower(Book.language) == func.lower(bindparam("language")),
    "isbn": Book.isbn == bindparam("isbn"),
    "user_uid": Book.user_uid == bindparam("user_uid", type_=Uuid()),
    "published_from": Book.published_on >= bindparam("published_from", type_=Date),
    "published_to": Book.published_on <= bindparam("published_to", type_=Date),
}


def list_books(
    *,
    limit: int,
    cursor: str | None = None,
    sort: str | None = None,
    filters: Mapping[str, Any] | None = None,
) -> Page:
    """Return a page of books: best first with q, else newest first. Raises InvalidCursor."""
    parameters = _parameters(filters or {})
    names = frozenset(parameters)
    sort = sort or ("" if "q" in names else NEWEST)
    scope = f"books {sort} {sorted((name, str(value)) for name, value in parameters.items())}"
    return fetch_page(
        lambda after: _page_statement(names, sort, after),
        parameters,
        scope=scope,
        limit=limit,
        cursor=cursor,
    )


def iterate_books(
    filters: Mapping[str, Any], fields: tuple[str, ...]
) -> Iterator[Sequence[Row[Any]]]:
    """Yield the fields of all books that the filters let through, oldest first, in batches.

    No transaction stays open between them: who reads slowly holds nothing. The application
    context is needed for the call only, not while iterating.
    """
    engine: Engine = current_app.extensions["autocommit"]
    return _batches(engine, _parameters(filters), fields)


def _batches(
    engine: Engine, parameters: dict[str, Any], fields: tuple[str, ...]
) -> Iterator[Sequence[Row[Any]]]:
    names = frozenset(parameters)
    parameters["rows"] = ITERATED
    after = False
    while True:
        with engine.connect() as connection:
            rows = connection.execute(_iteration(names, fields, after), parameters).all()
        if rows:
            yield rows
        if len(rows) < ITERATED:
            return
        parameters |= {"after_key": rows[-1].sort_key, "after_id": str(rows[-1].id)}
        after = True


def count_books(filters: Mapping[str, Any]) -> int:
    """Return how many books the filters let through."""
    parameters = _parameters(filters)
    with autocommit() as connection:
        count: int = connection.execute(
            _count_statement(frozenset(parameters)), parameters
        ).scalar_one()
    return count


def _parameters(filters: Mapping[str, Any]) -> dict[str, Any]:
    parameters = dict(filters)
    for name in ("published_from", "published_to"):
        if name in parameters:
            parameters[name] = parse_partial_date(parameters[name])
    if "q" in parameters:
        try:
            isbn = parse_isbn(parameters["q"])
        except ValidationError:
            pass
        else:
            del parameters["q"]
            # A filter of its own besides: a book has one number, so two ask for none.
            if parameters.setdefault("isbn", isbn) != isbn:
                parameters["isbn"] = ""
    return parameters


@lru_cache
def _page_statement(names: frozenset[str], sort: str, after: bool) -> Select[Any]:
    if "q" not in names:
        return keyset(_filtered(select(*COLUMNS), names), SORTS[sort], after=after)
    found = _found(names)
    if sort:
        statement = select(*COLUMNS).join_from(Book, found, found.c.id == Book.id)
        return keyset(statement, SORTS[sort], after=after)
    best = Sort(found.c.rank, found.c.id, descending=True)
    page = keyset(select(found.c.id), best, after=after).subquery("page")
    return (
        select(*COLUMNS, page.c.sort_key)
        .join_from(page, Book, page.c.id == Book.id)
        .order_by(page.c.sort_key.desc(), page.c.id.desc())
    )


@lru_cache
def _iteration(names: frozenset[str], fields: tuple[str, ...], after: bool) -> Select[Any]:
    statement: Any = select(*(getattr(Book, name) for name in fields), Book.id)
    if "q" in names:
        found = _found(names)
        statement = statement.join_from(Book, found, found.c.id == Book.id)
    else:
        statement = _filtered(statement, names)
    return keyset(statement, SORTS["created_at"], after=after)


@lru_cache
def _count_statement(names: frozenset[str]) -> Select[Any]:
    if "q" in names:
        return select(func.count()).select_from(_found(names))
    return _filtered(select(func.count()).select_from(Book), names)


def _filtered(statement: Any, names: frozenset[str]) -> Select[Any]:
    filtered: Select[Any] = statement.where(*(FILTERS[name] for name in sorted(names - {"q"})))
    return filtered


def _found(names: frozenset[str]) -> CTE:
    """Return (id, rank) of the books that q finds among those of the filters."""
    folded = func.books_fold(bindparam("q"))
    # Only letters, digits and spaces are left: nothing that to_tsquery takes for syntax.
    words = case((folded != "", func.replace(folded, " ", " & ") + ":*"), else_="")
    query = func.to_tsquery(literal_column("'simple'"), words)
    full_text = _filtered(
        select(Book.id, _rank(func.ts_rank(Book.search, query, 1))).where(
            Book.search.bool_op("@@")(query)
        ),
        names,
    ).cte("full_text")
    typed = func.left(folded, literal_column(str(SIMILAR_MAX)))
    similar = _filtered(
        select(Book.id, _rank(func.strict_word_similarity(typed, Book.search_text))).where(
            typed != "", typed.bool_op("<%")(Book.search_text), ~exists(select(full_text.c.id))
        ),
        names,
    )
    return select(full_text.c.id, full_text.c.rank).union_all(similar).cte("found")


def _rank(score: ColumnElement[Any]) -> ColumnElement[int]:
    return cast(score * RANK_SCALE, Integer).label("rank")
