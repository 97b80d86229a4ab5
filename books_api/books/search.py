"""Search: what q finds. Any string is a legal q; one that is an ISBN is the filter by ISBN.

One statement looks for the books that have all words, the last one perhaps unfinished, and only if
there is none for those that have words near to them: what is a typo away, torn in two, or run
together. Either is a tsquery, answered by one GIN index. Which words are near is looked up in
book_words, the words of all books, by what is left of a word without one of its letters (the
functions are made by migrations 0004 and 0006 to 0008): some pages of an index, however many books
there are and whatever words somebody has imported.

What is found is ranked, best first, up to RANKED books, those whose title is q before all others;
of more, the newest come first. A word that more than COMMON books have by Postgres's statistics is
not looked up in the index, which would read its whole list: of these, too, the newest come first.

A cursor holds the tsquery, and a rank of 0 among the newest: whatever others write in between, the
walk goes on as it began.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from marshmallow import ValidationError
from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR
from sqlalchemy.exc import DBAPIError

from books_api.books.exceptions import TooManySearches
from books_api.books.models import Book
from books_api.books.schemas import parse_isbn
from books_api.database import Statement
from books_api.web.pagination import Sort, keyset

RANKED = 1_000  # in a millisecond or two
AT_ONCE = 4  # searches of one user: they may keep Postgres busy, a list does not
NO_SLOT = "U0429"  # the SQLSTATE of books_take_slot()
COMMON = 2 * RANKED  # statistics are of a sample: it errs by less
RANK_SCALE = 1_000_000  # ranks are compared as integers, which a cursor can hold exactly
Conditions = Sequence[ColumnElement[bool]]


def take_isbn(parameters: dict[str, Any]) -> None:
    """Turn a q that is an ISBN into the filter by ISBN."""
    try:
        isbn = parse_isbn(parameters.get("q", ""))
    except ValidationError:
        return
    del parameters["q"]
    # A filter of its own besides: a book has one number, so two ask for none.
    if parameters.setdefault("isbn", isbn) != isbn:
        parameters["isbn"] = ""


def _integer(value: int) -> ColumnElement[int]:
    return literal_column(str(value), Integer)


# Only letters, digits and spaces are left: nothing that a tsquery takes for syntax. What is cut
# off a long q leaves its last word unfinished.
_TYPED = func.rtrim(func.left(func.books_fold(bindparam("q")), _integer(200)))
_EXACT = func.books_words_query(_TYPED)
_NEAR = func.books_near_query(_TYPED)
_OF_CURSOR = cast(bindparam("place"), TSQUERY)


class _Found(NamedTuple):
    """What q finds: the first of it, with ranks, and the lists that have all of it."""

    some: CTE
    is_all: ColumnElement[bool]
    lists: Sequence[Select[Any]]


def first_page(columns: Sequence[Any], conditions: Conditions, sort: Sort | None) -> Select[Any]:
    """Return the statement of the first page: by the sort, or best first."""
    common = _common(conditions)
    exact = _matches(_EXACT, [*conditions, ~common], sort, "exact")
    is_exact = or_(common, exists(select(exact.c.id)))
    near_words = select(_NEAR.label("words")).where(~is_exact).cte("near_words")
    words = select(near_words.c.words).scalar_subquery()
    some = _first(exact, _matches(words, conditions, sort, "near"))
    is_all = _is_all(some, common)
    lists = [_list(_EXACT, [*conditions, is_exact]), _list(words, [*conditions, ~is_exact])]
    return _page(columns, _Found(some, is_all, lists), sort, after=False)


def next_page(columns: Sequence[Any], conditions: Conditions, sort: Sort | None) -> Select[Any]:
    """Return the statement of a page behind a cursor."""
    if sort:
        common = _common(conditions)
        some = _first(_matches(_OF_CURSOR, [*conditions, ~common], sort))
        is_all = _is_all(some, common)
    else:  # what was ranked goes on being ranked, though others have added to it
        some = _first(_matches(_OF_CURSOR, conditions, sort), most=2 * RANKED)
        is_all = bindparam("after_key", type_=Integer) > 0
    return _page(columns, _Found(some, is_all, [_list(_OF_CURSOR, conditions)]), sort, after=True)


def chosen(conditions: Conditions) -> Select[Any]:
    """Return the statement of what q means: a tsquery, as text; NULL finds nothing."""
    words = select(_EXACT).scalar_subquery()
    found = select(Book.id).where(*conditions, has(words))
    exact = found.cte("exact").prefix_with("MATERIALIZED")  # or a scan may look for the first
    return select(case((exists(select(exact.c.id)), cast(_EXACT, Text)), else_=cast(_NEAR, Text)))


def finds(words: ColumnElement[str]) -> ColumnElement[bool]:
    """Return whether a book has what was chosen."""
    return has(select(cast(words, TSQUERY)).scalar_subquery())


def has(words: Any) -> ColumnElement[bool]:
    """Return whether a book has what the tsquery asks for."""
    return type_coerce(Book.search, TSVECTOR).bool_op("@@")(words)


def _common(conditions: Conditions) -> ColumnElement[bool]:
    """Return whether so many books have the one word that the index is better left alone."""
    if conditions:  # of these books, few may pass
        return false()
    estimate = select(func.books_estimate(_TYPED).label("books")).cte("estimate")
    books = estimate.prefix_with("MATERIALIZED").c.books
    return select(books > _integer(COMMON)).scalar_subquery()


def _matches(query: Any, conditions: Conditions, sort: Sort | None, name: str = "matches") -> CTE:
    """Return (id, key, words) of all that the tsquery finds, as far as they are read."""
    # In a subquery, whose result Postgres does not know when it plans: it takes the index for
    # the commonest of words, too.
    words = select(query.label("words")).scalar_subquery()
    is_title = func.lower(Book.title) == func.lower(func.btrim(bindparam("q")))
    rank = cast(func.ts_rank(Book.search, words, 1) * RANK_SCALE, Integer) + 1
    rank += cast(is_title, Integer) * _integer(RANK_SCALE)
    key = sort.key if sort else rank
    columns: Any = (Book.id, key.label("key"), cast(words, Text).label("words"))
    return select(*columns).where(*conditions, has(words)).cte(name).prefix_with("MATERIALIZED")


def _first(*matches: CTE, most: int = RANKED) -> CTE:
    """Return one more at most than are ranked."""
    found = union_all(*(select(each) for each in matches)).subquery()
    return select(found).limit(_integer(most + 1)).cte("some")


def _is_all(some: CTE, common: ColumnElement[bool]) -> ColumnElement[bool]:
    count = select(func.count()).select_from(some).scalar_subquery()
    return and_(~common, count <= _integer(RANKED))


def _list(words: Any, conditions: Conditions) -> Select[Any]:
    columns: Any = (Book.id, cast(words, Text).label("place"))
    return select(*columns).where(*conditions, has(words))


def _page(columns: Sequence[Any], found: _Found, sort: Sort | None, *, after: bool) -> Select[Any]:
    some, is_all, lists = found
    descending = sort is None or sort.descending
    of_some = select(some.c.id, some.c.words.label("place")).where(is_all)
    parts = [keyset(of_some, Sort(some.c.key, some.c.id, descending), after=after)]
    for each in lists:
        rest = each.where(~is_all)
        parts.append(keyset(rest, sort, after=after) if sort else _newest(rest, after=after))
    page = union_all(*parts).subquery("page")
    order: Any = (page.c.sort_key, page.c.id)
    if descending:
        order = tuple(column.desc() for column in order)
    return (
        select(*columns, page.c.sort_key, page.c.place)
        .join_from(page, Book, page.c.id == Book.id)
        .order_by(*order)
    )


def _newest(statement: Select[Any], *, after: bool) -> Select[Any]:
    # Ids are in order of time: this needs no other index.
    if after:
        statement = statement.where(Book.id < bindparam("after_id", type_=Uuid(as_uuid=False)))
    statement = statement.add_columns(_integer(0).label("sort_key"))
    return statement.order_by(Book.id.desc()).limit(bindparam("rows"))


def in_a_slot(names: frozenset[str], statement: Statement) -> Statement:
    """Let the searcher take a slot in the transaction, and the round trip, of the statement."""
    if "searcher" in names:
        statement.text = f"SELECT books_take_slot(%(searcher)s, {AT_ONCE}); {statement.text}"
    return statement


@contextmanager
def slot_or_refusal() -> Iterator[None]:
    """Translate the refusal of a slot. Raises TooManySearches."""
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) == NO_SLOT:
            raise TooManySearches from error
        raise
