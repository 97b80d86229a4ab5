"""Search: what q finds. Any string is a legal q.

Two steps of one statement: the books that have all words, the last one perhaps unfinished; only
when there is none, those that are like q by their trigrams, which forgives typos. A step ranks
what it finds, best first; when that is more than it can rank in the time of a page, the newest
come first. A cursor holds the place where its page stands, 2 * step + (1 if the newest are
first): whatever others write in between, the walk goes on as it began.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

from books_api.books.models import Book
from books_api.pagination import Sort, keyset

RANK_SCALE = 1_000_000  # ranks are compared as integers, which a cursor can hold exactly
Conditions = Sequence[ColumnElement[bool]]


class Step(NamedTuple):
    """How books are found: all by the index, or one after the other in the order of a list.

    `most` is how many it ranks. Of more than that a step with a walk has the newest come first,
    one without leaves out the rest.
    """

    finds: ColumnElement[bool]
    walk: ColumnElement[bool] | None
    rank: ColumnElement[int]
    most: int


def _integer(value: int) -> ColumnElement[int]:
    return literal_column(str(value), Integer)


def _rank(score: ColumnElement[Any]) -> ColumnElement[int]:
    return cast(score * RANK_SCALE, Integer).label("rank")


# Only letters, digits and spaces are left: nothing that a tsquery takes for syntax. What is cut
# off a long q leaves its last word unfinished.
_TYPED = func.rtrim(func.left(func.books_fold(bindparam("q")), _integer(200)))
_WORDS = func.books_words_query(_TYPED)
_SIMILAR = func.left(_TYPED, _integer(100))


def _by_index(document: Any, query: Any) -> ColumnElement[bool]:
    # In a subquery, whose result Postgres does not know when it plans: it takes the index for
    # the commonest of words, too.
    return _has(document, select(query).scalar_subquery())


def _has(document: Any, query: Any) -> ColumnElement[bool]:
    return type_coerce(document, TSVECTOR).bool_op("@@")(query)


def _is_like(document: Any, typed: Any) -> ColumnElement[bool]:
    # The threshold of <% is set in config.py, low enough for a typo in a word of four letters;
    # a longer q keeps more of its trigrams. Nothing typed is like everything.
    bound = select(typed).where(typed != "").scalar_subquery()
    return and_(
        type_coerce(bound, Text).bool_op("<%")(document),
        or_(func.length(typed) <= 12, func.word_similarity(typed, document) >= 0.5),
    )


STEPS = (
    Step(
        _by_index(Book.search, _WORDS),
        _has(Book.search, _WORDS),
        _rank(func.ts_rank(Book.search, _WORDS, 1)),
        2_000,
    ),
    Step(
        _is_like(Book.search_text, _SIMILAR),
        None,
        _rank(func.strict_word_similarity(_SIMILAR, Book.search_text)),
        5_000,
    ),
)


def first_page(columns: Sequence[Any], conditions: Conditions, sort: Sort | None) -> Select[Any]:
    """Return the statement of the first page: by the sort, or best first."""
    parts: list[Select[Any]] = []
    nothing_yet: list[ColumnElement[bool]] = []
    for number, step in enumerate(STEPS):
        here = [*conditions, *nothing_yet]
        found = _found(step, here)
        few = _is_few(step, found)
        if sort is None:
            parts.append(_best(number, found, after=False).where(few))
            if step.walk is not None:
                parts.append(_newest(number, [*here, step.walk, ~few], after=False))
        else:
            parts += _sorted(number, here, found, sort, after=False)
        nothing_yet = [~exists(select(found.c.id))]
    return _books(columns, union_all(*parts), sort)


def next_page(
    columns: Sequence[Any], conditions: Conditions, sort: Sort | None, place: int
) -> Select[Any]:
    """Return the statement of a page behind a cursor that holds this place."""
    number, is_newest = divmod(place, 2)
    step = STEPS[number]
    if sort is not None:
        found = _found(step, conditions)
        page: Any = union_all(*_sorted(number, conditions, found, sort, after=True))
    elif is_newest and step.walk is not None:
        page = _newest(number, [*conditions, step.walk], after=True)
    else:
        statement = select(Book.id, step.rank).where(*conditions, step.finds)
        if step.walk is None:
            statement = statement.limit(step.most)
        found = statement.cte("found").prefix_with("MATERIALIZED")
        page = _best(number, found, after=True)
    return _books(columns, page, sort)


def found_ids(conditions: Conditions) -> CTE:
    """Return the ids of all books that q finds."""
    words, alike = (select(Book.id).where(*conditions, step.finds) for step in STEPS)
    by_words = words.cte("by_words")
    by_likeness = alike.where(~exists(select(by_words.c.id)))
    return union_all(select(by_words.c.id), by_likeness).cte("found")


def _found(step: Step, conditions: Conditions) -> CTE:
    """Return (id, rank) of what the step finds; with a walk, of one more at most than it ranks."""
    most = step.most + (step.walk is not None)
    statement = select(Book.id, step.rank).where(*conditions, step.finds).limit(most)
    return statement.cte(f"found_{STEPS.index(step)}")


def _is_few(step: Step, found: CTE) -> ColumnElement[bool]:
    return select(func.count()).select_from(found).scalar_subquery() <= step.most


def _best(number: int, found: CTE, *, after: bool) -> Select[Any]:
    best = Sort(found.c.rank, found.c.id, descending=True)
    return _placed(keyset(select(found.c.id), best, after=after), 2 * number)


def _newest(number: int, conditions: Conditions, *, after: bool) -> Select[Any]:
    # Ids are in order of time: this needs no other index.
    columns: Any = (Book.id, _integer(0).label("sort_key"))
    statement = select(*columns).where(*conditions)
    if after:
        statement = statement.where(Book.id < bindparam("after_id", type_=Uuid(as_uuid=False)))
    return _placed(statement.order_by(Book.id.desc()).limit(bindparam("rows")), 2 * number + 1)


def _sorted(
    number: int, conditions: Conditions, found: CTE, sort: Sort, *, after: bool
) -> list[Select[Any]]:
    step = STEPS[number]
    few = _is_few(step, found)
    from_few = select(Book.id).join_from(found, Book, found.c.id == Book.id).where(few)
    statements: list[Select[Any]] = [from_few]
    if step.walk is not None:
        statements.append(select(Book.id).where(*conditions, step.walk, ~few))
    return [_placed(keyset(each, sort, after=after), 2 * number) for each in statements]


def _placed(statement: Select[Any], place: int) -> Select[Any]:
    return statement.add_columns(_integer(place).label("place"))


def _books(columns: Sequence[Any], found: Any, sort: Sort | None) -> Select[Any]:
    page = found.subquery("page")
    order = (page.c.sort_key, page.c.id)
    if sort is None or sort.descending:
        order = tuple(column.desc() for column in order)
    return (
        select(*columns, page.c.sort_key, page.c.place)
        .join_from(page, Book, page.c.id == Book.id)
        .order_by(*order)
    )
