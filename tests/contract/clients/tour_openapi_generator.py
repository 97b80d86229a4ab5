"""A tour of the API with the Python client that openapi-generator generates from its document."""

import re
import sys
from collections.abc import Callable

import books_openapi
from books_openapi import ApiException, BookInput, BookUpdate, Confirmation, Login, Problem, Signup

EMAIL, PASSWORD = "ada@example.com", "correct horse battery staple"


def refused(call: Callable[..., object], *args: object, **kwargs: object) -> Problem:
    try:
        call(*args, **kwargs)
    except ApiException as error:
        return error.data
    raise AssertionError("was not refused")


configuration = books_openapi.Configuration(host=sys.argv[1])
client = books_openapi.ApiClient(configuration)
auth, books = books_openapi.AuthApi(client), books_openapi.BooksApi(client)

user = auth.signup(Signup(username="ada", email=EMAIL, password=PASSWORD))
tokens = auth.login(Login(email=EMAIL, password=PASSWORD))
assert tokens.user.uid == user.id
configuration.access_token = tokens.refresh_token
configuration.access_token = auth.rotate_refresh_token().access_token

hobbit = BookInput(title="The Hobbit", author="J. R. R. Tolkien", published_date="1937-09-21")
book = books.create_book(hobbit, idempotency_key="a-new-value-for-each-book")
assert books.create_book(hobbit, idempotency_key="a-new-value-for-each-book") == book
emma = books.create_book(BookInput(title="Emma", author="Jane Austen"))

first = books.list_books_with_http_info(limit=1, sort="title", count="true")
assert (first.data, first.headers["X-Total-Count"]) == ([emma], "2")
cursor = re.search("cursor=([^&>]+)", first.headers["Link"])[1]
assert books.list_books(limit=1, sort="title", count="true", cursor=cursor) == [book]
assert books.list_books(q="hobit") == [book]

etag = books.get_book_with_http_info(book.id).headers["ETag"]
changed = books.update_book(book.id, BookUpdate(page_count=310), if_match=etag)
assert (changed.title, changed.page_count) == ("The Hobbit", 310)
stale = refused(books.update_book, book.id, BookUpdate(page_count=7), if_match=etag)
assert (stale.status, stale.current) == (412, changed)

report = books.import_books(b"Title,Author\nOrlando,Virginia Woolf\n", _content_type="text/csv")
assert (report.read, report.imported) == (1, 1)
exported = books.export_books(author="woolf", format="csv")
assert "Orlando,Virginia Woolf" in exported.decode()

misprint = BookInput(title="Emma", author="Jane Austen", isbn="9780261102210")
wrong = refused(books.create_book, misprint)
assert wrong.type == "/problems/validation"
assert [(error.pointer, error.code) for error in wrong.errors] == [("/isbn", "check-digit")]

auth.delete_me(Confirmation(current_password=PASSWORD))
