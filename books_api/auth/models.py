"""Accounts, their sessions, and the ledger of what is revoked."""

from collections import namedtuple
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from books_api.model_base import Model, Moment, Timestamp, UUIDKey

USERNAME_MIN = 3
USERNAME_MAX = 50
EMAIL_MAX = 254  # RFC 5321, 4.5.3.1.3, less the brackets
NAME_MAX = 100
SESSION_NAME_MAX = 100
USER_AGENT_MAX = 200
IDEMPOTENCY_KEY_MAX = 255


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"


class User(Model):
    __tablename__ = "users"
    __table_args__ = (
        sa.Index("uq_users_email", sa.func.lower(sa.text("email")), unique=True),
        sa.Index("uq_users_username", sa.func.lower(sa.text("username")), unique=True),
        sa.Index("ix_users_newest", "created_at", "id"),
        sa.CheckConstraint("role IN ('user', 'admin')", name="role"),
    )

    id: Mapped[UUIDKey]
    username: Mapped[str] = mapped_column(sa.String(USERNAME_MAX))
    email: Mapped[str] = mapped_column(sa.String(EMAIL_MAX))
    password_hash: Mapped[str] = mapped_column(sa.String(255))
    first_name: Mapped[str] = mapped_column(sa.String(NAME_MAX), server_default="")
    last_name: Mapped[str] = mapped_column(sa.String(NAME_MAX), server_default="")
    role: Mapped[str] = mapped_column(sa.String(10), server_default=Role.USER)
    is_verified: Mapped[bool] = mapped_column(server_default=sa.false())
    is_active: Mapped[bool] = mapped_column(server_default=sa.true())
    token_epoch: Mapped[int] = mapped_column(server_default="0")
    reset_epoch: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp] = mapped_column(onupdate=sa.func.now())


class Session(Model):
    """A login, or a named token for a script (which has no refresh token)."""

    __tablename__ = "sessions"
    __table_args__ = (
        sa.Index("ix_sessions_newest", "user_id", "created_at", "id"),
        sa.Index("ix_sessions_expires_at", "expires_at"),
    )

    id: Mapped[UUIDKey]
    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str | None] = mapped_column(sa.String(SESSION_NAME_MAX))
    read_only: Mapped[bool] = mapped_column(server_default=sa.false())
    user_agent: Mapped[str] = mapped_column(sa.String(USER_AGENT_MAX), server_default="")
    refresh_jti: Mapped[UUID | None]
    previous_jti: Mapped[UUID | None]
    created_at: Mapped[Moment]
    last_used_at: Mapped[Moment]
    expires_at: Mapped[Moment]
    ended_at: Mapped[Moment | None] = mapped_column(sa.DateTime(timezone=True))


class Revocation(Model):
    """A key of the blocklist, from which Redis can be filled again: see revocation.py."""

    __tablename__ = "revocations"
    __table_args__ = (sa.Index("ix_revocations_expires_at", "expires_at"),)

    key: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    value: Mapped[int]
    expires_at: Mapped[Moment]


class BlocklistCopy(Model):
    """The one row that names the Redis whose copy is believed: see blocklist_lease.py."""

    __tablename__ = "blocklist_copy"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one"),)

    id: Mapped[int] = mapped_column(primary_key=True, server_default="1")
    name: Mapped[str] = mapped_column(sa.String(120), server_default="")
    held_until: Mapped[Timestamp]


class IdempotencyKey(Model):
    """The first result of a request that may be sent again."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (sa.Index("ix_idempotency_keys_created_at", "created_at"),)

    user_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(sa.String(IDEMPOTENCY_KEY_MAX), primary_key=True)
    fingerprint: Mapped[bytes]
    body: Mapped[str] = mapped_column(sa.Text)  # the result as JSON
    # Of release 1.0, which serves beside this one while it is deployed.
    status: Mapped[int] = mapped_column(server_default="200")
    headers: Mapped[dict[str, str]] = mapped_column(JSONB, server_default="{}")
    created_at: Mapped[Timestamp]


# A user and a session in a list; `current` is the session of the request.
UserRow = namedtuple(
    "UserRow",
    "id username email first_name last_name role is_verified is_active created_at updated_at",
)
SessionRow = namedtuple(
    "SessionRow", "id name read_only user_agent created_at last_used_at expires_at current"
)
