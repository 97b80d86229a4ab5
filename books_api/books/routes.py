"""The catalogue over HTTP."""

from typing import Any
from uuid import UUID

from flask import Response, request
from flask_smorest import Blueprint
from orjson import dumps

from books_api.auth import identity, token_required
from books_api.books import service
from books_api.books.schemas import BookSchema
from books_api.fields import PageQuery
from books_api.openapi import problems
from books_api.pagination import Page, link_next
from books_api.parsing import DUMP_OPTIONS, Parser

blueprint = Blueprint("books", __name__, description="The catalogue")
blueprint.ARGUMENTS_PARSER = Parser()

ETAG = {"ETag": {"$ref": "#/components/headers/ETag"}}
LOCATION = {"Location": {"$ref": "#/components/headers/Location"}}
LINK = {"Link": {"$ref": "#/components/headers/Link"}}


@blueprint.route("/", methods=["GET"])
@token_required()
@blueprint.arguments(PageQuery(), location="query")
@blueprint.response(200, BookSchema(many=True), headers=LINK)
@problems(422)
def list_books(query: dict[str, Any]) -> Response:
    """List books

    Newest first. The `Link` header leads to the next page.
    """
    return books_response(service.list_books(**query))


@blueprint.route("/", methods=["POST"])
@token_required()
@blueprint.arguments(BookSchema())
@blueprint.response(201, BookSchema, headers={**ETAG, **LOCATION})
def create_book(values: dict[str, Any]) -> Response:
    """Add a book

    You become its owner.
    """
    book = service.create_book(values, owner=identity())
    response = book_response(book, 201)
    response.headers["Location"] = f"{request.path.rstrip('/')}/{book.id}"
    return response


@blueprint.route("/<uuid:book_id>", methods=["GET"])
@token_required()
@blueprint.response(200, BookSchema, headers=ETAG)
def get_book(book_id: UUID) -> Response:
    """Read a book

    With `If-None-Match`, 304 without a body when you have its current version.
    """
    response = book_response(service.get_book(book_id))
    if request.if_none_match:
        response.make_conditional(request)
    return response


@blueprint.route("/<uuid:book_id>", methods=["PATCH"])
@token_required()
@blueprint.arguments(BookSchema(partial=True))
@blueprint.response(200, BookSchema, headers=ETAG)
@problems(412)
def update_book(changes: dict[str, Any], book_id: UUID) -> Response:
    """Change a book

    Only its owner and admins may. With `If-Match`, only when nobody has changed it since.
    """
    return book_response(
        service.update_book(book_id, changes, editor=identity(), versions=matched_versions())
    )


@blueprint.route("/<uuid:book_id>", methods=["DELETE"])
@token_required()
@blueprint.response(204)
@problems(412)
def delete_book(book_id: UUID) -> Response:
    """Delete a book

    Only its owner and admins may. With `If-Match`, only when nobody has changed it since.
    """
    service.delete_book(book_id, editor=identity(), versions=matched_versions())
    return Response(status=204)


@blueprint.route("/user/<uuid:user_id>", methods=["GET"])
@token_required()
@blueprint.arguments(PageQuery(), location="query")
@blueprint.response(200, BookSchema(many=True), headers=LINK)
@problems(422)
def list_books_of_user(query: dict[str, Any], user_id: UUID) -> Response:
    """List a user's books

    Newest first. The `Link` header leads to the next page.
    """
    return books_response(service.list_books_of_user(user_id, **query))


def book_response(book: service.BookRow, status: int = 200) -> Response:
    """Answer with one book and its entity tag."""
    body = dumps(service.as_dict(book), option=DUMP_OPTIONS)
    return Response(body, status, {"ETag": service.etag(book)}, content_type="application/json")


def books_response(page: Page) -> Response:
    """Answer with a page of books and the link to the next."""
    body = dumps([service.as_dict(book) for book in page.rows], option=DUMP_OPTIONS)
    return Response(body, 200, link_next(page.cursor), content_type="application/json")


def matched_versions() -> list[int] | None:
    """Return the versions that If-Match allows; None when it is absent or `*`.

    Weak tags count as strong: a proxy that compresses makes ours weak.
    """
    if "If-Match" not in request.headers or request.if_match.star_tag:
        return None
    tags = request.if_match.as_set(include_weak=True)
    return [int(tag) for tag in tags if tag.isascii() and tag.isdigit() and len(tag) < 10]
