"""Lists of users and of a user's sessions. Every form of one is one statement, made once."""

from datetime import UTC, datetime
from functools import lru_cache, partial

from sqlalchemy import bindparam, func, select

from books_api.auth.models import Session, SessionRow, User, UserRow
from books_api.auth.sessions import live
from books_api.auth.tokens import Identity
from books_api.database import Statement
from books_api.web.pagination import Page, Sort, fetch_page, keyset, sorts

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

_MINE = (
    Session.user_id == bindparam("user_id"),
    live(bindparam("now", type_=Session.expires_at.type)),
)
_SESSIONS = select(
    *(Session.__table__.c[name] for name in SessionRow._fields if name != "current"),
    (Session.id == bindparam("current")).label("current"),
).where(*_MINE)
_COUNT_SESSIONS = Statement(select(func.count()).where(*_MINE))


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


def list_sessions(identity: Identity, *, limit: int, cursor: str | None = None) -> Page[SessionRow]:
    """Return a page of the user's live sessions, newest first. Raises InvalidCursor."""
    return fetch_page(
        _sessions_statement,
        {"current": identity.session_id, "user_id": identity.user_id, "now": datetime.now(UTC)},
        make=lambda values: SessionRow._make(values[:-1]),
        width=len(SessionRow._fields),
        scope=f"sessions {identity.user_id}",
        limit=limit,
        cursor=cursor,
    )


def count_sessions(identity: Identity) -> int:
    """Return how many live sessions the user has."""
    [(count,)] = _COUNT_SESSIONS.rows(user_id=identity.user_id, now=datetime.now(UTC))
    return int(count)


@lru_cache
def _sessions_statement(after: bool) -> Statement:
    newest = Sort(Session.created_at, Session.id, descending=True)
    return Statement(keyset(_SESSIONS, newest, after=after))
