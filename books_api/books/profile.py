"""GET /auth/me: where an account and its books meet (auth does not know books)."""

from typing import Any
from uuid import UUID

from marshmallow import fields

from books_api.auth import User, blueprint, identity, live_user, token_required
from books_api.auth.schemas import UserSchema
from books_api.books.lists import count_books, list_books
from books_api.books.schemas import BookSchema

NEWEST = 20


class MeSchema(UserSchema):
    """Your account, how many books you own, and the newest of them."""

    book_count = fields.Integer()
    books = fields.List(fields.Nested(BookSchema))


@blueprint.route("/me", methods=["GET"])
@token_required()
@blueprint.response(200, MeSchema)
def get_me() -> dict[str, Any]:
    """Read your account

    With the number of your books, and the newest 20 of them.
    """
    user: User = live_user(identity())
    user_id = UUID(identity().user_id)
    return {
        **{name: getattr(user, name) for name in UserSchema().fields},
        "book_count": count_books({"user_uid": user_id}),
        "books": list_books(limit=NEWEST, filters={"user_uid": user_id}).rows,
    }
