"""Lists of users. Every form of it is one statement, made once."""

from functools import lru_cache, partial

from sqlalchemy import func, select

from books_api.auth.models import User, UserRow
from books_api.database import Statement
from books_api.web.pagination import Page, fetch_page, keyset, sorts

_COLUMNS = [User.__table__.c[name] for name in UserRow._fields]
SORTS = sorts(
    {
        "created_at": User.created_at,
        "username": func.lower(User.username),
        "email": func.lower(User.email),
    },
    User.id,
)
NEWEST = "-created_at"
_COUNT = Statement(select(func.count()).select_from(User))


def list_users(*, limit: int, cursor: str | None = None, sort: str = NEWEST) -> Page[UserRow]:
    """Return a page of users. Raises InvalidCursor."""
    return fetch_page(
        partial(_page_statement, sort),
        {},
        make=lambda values: UserRow._make(values[:-1]),
        width=len(_COLUMNS),
        scope=f"users {sort}",
        limit=limit,
        cursor=cursor,
    )


def count_users() -> int:
    """Return how many users there are."""
    [(count,)] = _COUNT.rows()
    return int(count)


@lru_cache
def _page_statement(sort: str, after: bool) -> Statement:
    return Statement(keyset(select(*_COLUMNS), SORTS[sort], after=after))
