"""/auth/me: an account with its books, above auth and books, which do not know each other."""

from typing import Any
from uuid import UUID

from flask import Response, jsonify
from marshmallow import fields
from marshmallow.validate import Length

from books_api.auth import User, identity, live_user, token_required, users
from books_api.auth.lockout import password_confirmed
from books_api.auth.routes import limit_body
from books_api.auth.schemas import ConfirmationSchema, ProfileSchema, UserSchema
from books_api.books.counts import count_books
from books_api.books.lists import list_books
from books_api.books.schemas import BookSchema
from books_api.web.openapi import Blueprint, problems

blueprint = Blueprint("me", __name__)
blueprint.before_request(limit_body)

NEWEST = 20


class MeSchema(UserSchema):
    """Your account, how many books you own, and the newest of them."""

    book_count = fields.Integer()
    books = fields.List(fields.Nested(BookSchema), validate=Length(max=NEWEST))


@blueprint.route("", methods=["GET"], tags=["auth"])
@token_required()
@blueprint.response(200, MeSchema)
def get_me() -> Response:
    """Read your account

    With the number of your books, and the newest 20 of them.
    """
    filters = {"user_uid": UUID(identity().user_id)}
    books = {
        "book_count": count_books(filters).books,
        "books": list_books(limit=NEWEST, filters=filters).rows,
    }
    # Last: it opens a transaction, and a request that holds two connections can wait for itself.
    user = live_user(identity())
    return jsonify({**UserSchema().dump(user), **books})


@blueprint.route("", methods=["PATCH"], tags=["auth"])
@token_required(login=True)
@blueprint.arguments(ProfileSchema(partial=True))
@blueprint.response(200, UserSchema)
@problems(409)
@password_confirmed
def update_me(changes: dict[str, Any]) -> User:
    """Change your account

    A new email needs `current_password`.
    """
    return users.update_profile(identity(), changes)


@blueprint.route("", methods=["DELETE"], tags=["auth"])
@token_required(login=True)
@blueprint.arguments(ConfirmationSchema())
@blueprint.response(204)
@problems(409)
@password_confirmed
def delete_me(confirmation: dict[str, str]) -> None:
    """Delete your account

    The account and its books are gone, its tokens dead. After a lost answer, send it again: 401
    `token-revoked` means that the account is gone.
    """
    users.delete_account(identity(), **confirmation)
