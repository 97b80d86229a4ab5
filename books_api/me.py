"""GET /auth/me: where an account and its books meet (auth does not know books)."""

from uuid import UUID

from flask import Response, jsonify
from marshmallow import fields

from books_api.auth import blueprint, identity, live_user, token_required
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
def get_me() -> Response:
    """Read your account

    With the number of your books, and the newest 20 of them.
    """
    filters = {"user_uid": UUID(identity().user_id)}
    books = {
        "book_count": count_books(filters),
        "books": list_books(limit=NEWEST, filters=filters).rows,
    }
    # Last: it opens a transaction, and a request that holds two connections can wait for itself.
    user = live_user(identity())
    return jsonify({**UserSchema().dump(user), **books})
