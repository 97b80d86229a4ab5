"""The base class of the models, column kinds that recur, and the key of a row."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from sqlalchemy import DateTime, func
from sqlalchemy.orm import mapped_column
from uuid_utils import uuid7

from books_api.extensions import Base, db

if TYPE_CHECKING:
    Model = Base  # mypy takes no attribute of an object for a base class
else:
    Model = db.Model


def new_id_text() -> str:
    """Return a UUIDv7 (RFC 9562): in order of time, so that index pages fill one by one."""
    return str(uuid7())


def new_id() -> UUID:
    """Return what new_id_text() does, as a UUID."""
    return UUID(new_id_text())


UUIDKey = Annotated[UUID, mapped_column(primary_key=True, default=new_id)]
Timestamp = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
Moment = Annotated[datetime, mapped_column(DateTime(timezone=True))]
