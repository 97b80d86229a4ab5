"""The catalogue over HTTP: every user reads all books, whoever owns them."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from flask import Response, request
from orjson import dumps
from werkzeug.datastructures import Headers

from books_api.auth import identity, token_required
from books_api.auth.idempotency import (
    fingerprint_of,
    idempotency_key,
    replay_headers,
    run_idempotent,
)
from books_api.books import changes, lists, service
from books_api.books.counts import Count, count_books
from books_api.books.models import etag
from books_api.books.schemas import (
    BookInputSchema,
    BookOfUserQuery,
    BookQuery,
    BookSchema,
    BookUpdateSchema,
    ChangesQuery,
    ChangesSchema,
)
from books_api.observability.requests import current_request
from books_api.web.openapi import PAGE, Blueprint, header_refs, problems, request_headers
from books_api.web.pagination import Page, absolute_url, link_next
from books_api.web.parsing import DUMP_OPTIONS

blueprint = Blueprint("books", __name__, description="The catalogue")

ETAG = header_refs("ETag")
BOOKS_PAGE = PAGE | header_refs("X-Total-Count-Estimated")
PAGE_PARAMETERS = ("limit", "cursor", "sort")


@blueprint.route("/", methods=["GET"])
@token_required(late=True)
@blueprint.arguments(BookQuery(), location="query")
@blueprint.answers(200, BookSchema(many=True), headers=BOOKS_PAGE)
@problems(422, 429)
def list_books(query: dict[str, Any]) -> Response:
    """List books

    Newest first, or best first with `q`. The `Link` header leads to the next page.
    """
    return books_response(lists.list_books, query)


@blueprint.route("/", methods=["POST"])
@token_required(writes=True)
@blueprint.arguments(BookInputSchema())
@blueprint.answers(201, BookSchema, headers=header_refs("ETag", "Location", "Idempotent-Replayed"))
@problems(409)
@request_headers("Idempotency-Key")
def create_book(values: dict[str, Any]) -> Response:
    """Add a book

    You become its owner. With an `Idempotency-Key` the request may be sent again for 24 hours:
    it adds one book, and answers as it did first.
    """
    who = identity()
    fingerprint = partial(fingerprint_of, b"POST /books/", values)
    create = partial(service.create_book, values, who)
    book, is_replay = run_idempotent(who.user_id, idempotency_key(), fingerprint, create)
    book.setdefault("version", 1)  # an answer that release 1.0 has kept is without it
    response = book_response(book, 201, replay_headers(is_replay))
    response.uri = absolute_url(f"{current_request().path.rstrip('/')}/{book['id']}")
    return response


@blueprint.route("/<uuid:book_id>", methods=["GET"])
@token_required()
@blueprint.answers(200, BookSchema, headers=ETAG)
@blueprint.alt_response(304, description="You have the current version.", headers=ETAG)
@request_headers("If-None-Match")
def get_book(book_id: UUID) -> Response:
    """Read a book

    With `If-None-Match`, 304 without a body when you have its current version.
    """
    book = service.get_book(book_id)
    tags = current_request().if_none_match
    if tags and tags.contains_weak(str(book["version"])):
        return Response(status=304, headers={"ETag": etag(book)})
    return book_response(book)


@blueprint.route("/<uuid:book_id>", methods=["PATCH"])
@token_required(writes=True)
@blueprint.arguments(BookUpdateSchema(partial=True), example={"page_count": 310})
@blueprint.answers(200, BookSchema, headers=ETAG)
@problems(412)
@request_headers("If-Match")
def update_book(changes: dict[str, Any], book_id: UUID) -> Response:
    """Change a book

    Only its owner and admins may. With `If-Match`, only when nobody has changed it since; after a
    lost answer, send it again: 200 means that your changes are there. Members that the server
    decides may be sent back unchanged.
    """
    return book_response(
        service.update_book(book_id, changes, editor=identity(), versions=matched_versions())
    )


@blueprint.route("/<uuid:book_id>", methods=["DELETE"])
@token_required(writes=True)
@blueprint.answers(204)
@problems(412)
@request_headers("If-Match")
def delete_book(book_id: UUID) -> Response:
    """Delete a book

    Only its owner and admins may. With `If-Match`, only when nobody has changed it since. After a
    lost answer, send it again: 404 means that the book is gone.
    """
    service.delete_book(book_id, editor=identity(), versions=matched_versions())
    return Response(status=204)


@blueprint.route("/changes", methods=["GET"])
@token_required()
@blueprint.arguments(ChangesQuery(), location="query")
@blueprint.answers(200, ChangesSchema)
@problems(410, 422)
def list_changes(query: dict[str, Any]) -> Response:
    """List what has changed

    To keep a copy, ask without a `cursor`, go on with the `cursor` of each answer while there is
    `more`, and keep the last one for the next time: every change that was committed comes at least
    once. Deletions are remembered for 90 days. 410 means: begin again.
    """
    return Response(dumps(changes.list_changes(**query)), content_type="application/json")


@blueprint.route("/user/<uuid:user_id>", methods=["GET"])
@token_required(late=True)
@blueprint.arguments(BookOfUserQuery(), location="query")
@blueprint.answers(200, BookSchema(many=True), headers=BOOKS_PAGE)
@problems(422, 429)
def list_books_of_user(query: dict[str, Any], user_id: UUID) -> Response:
    """List a user's books

    Newest first, or best first with `q`. The `Link` header leads to the next page.
    """
    return books_response(partial(service.list_books_of_user, user_id), query, user_uid=user_id)


class BookResponse(Response):
    """One book, and its URI as the Location if it is new."""

    uri: str | None = None

    def get_wsgi_headers(self, environ: Any) -> Headers:
        # A Location among the headers is parsed as an IRI, which takes a twentieth of a POST.
        headers = super().get_wsgi_headers(environ)
        if self.uri:
            headers["Location"] = self.uri
        return headers


def book_response(
    book: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] = {}
) -> BookResponse:
    """Answer with one book and its entity tag."""
    body = dumps(book, option=DUMP_OPTIONS)
    headers = {"ETag": etag(book), **headers}
    return BookResponse(body, status, headers, content_type="application/json")


def books_response(
    find: Callable[..., Page[Any]], query: dict[str, Any], **filters: Any
) -> Response:
    """Answer with a page of books, the link to the next, and their number when asked for it."""
    page_query = {name: query.pop(name) for name in PAGE_PARAMETERS if name in query}
    count = query.pop("count")
    searcher = identity().user_id
    page = find(**page_query, filters=query, searcher=searcher)
    body = dumps(page.rows, option=DUMP_OPTIONS)
    headers = link_next(page.cursor)
    if count != "false":
        found = Count(len(page.rows), is_estimate=False)
        if cursor := page_query.get("cursor") or page.cursor:  # else these are all
            found = count_books(
                {**query, **filters},
                searcher,
                exact=count == "exact",
                cursor=cursor,
                sort=page_query.get("sort"),
            )
        headers["X-Total-Count"] = str(found.books)
        if found.is_estimate:
            headers["X-Total-Count-Estimated"] = "true"
    return Response(body, 200, headers, content_type="application/json")


def matched_versions() -> list[int] | None:
    """Return the versions that If-Match allows, weak ones too; None for `*` or without it."""
    if "If-Match" not in request.headers or request.if_match.star_tag:
        return None
    tags = request.if_match.as_set(include_weak=True)
    return [int(tag) for tag in tags if tag and re.fullmatch("[1-9][0-9]{0,8}", tag)]
