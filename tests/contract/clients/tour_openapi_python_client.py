"""A tour of the API with the client that openapi-python-client generates from its document.

test_generated_clients.py runs it, with the generated package and the server's address.
"""

import re
import sys
from io import BytesIO

from books_client import AuthenticatedClient, Client
from books_client.api.auth import delete_me, login, rotate_refresh_token, signup
from books_client.api.books import (
    create_book,
    delete_book,
    export_books,
    get_book,
    import_books,
    list_books,
    update_book,
)
from books_client.models import (
    Book,
    BookInput,
    BookUpdate,
    Confirmation,
    ExportBooksFormat,
    ImportReport,
    ListBooksCount,
    ListBooksSort,
    Login,
    LoginAnswer,
    Problem,
    Signup,
    TokenPair,
    User,
)
from books_client.types import File

url = sys.argv[1]
email, password = "ada@example.com", "correct horse battery staple"

stranger = Client(url)
body = Signup(username="ada", email=email, password=password)
user = signup.sync(client=stranger, body=body)
assert isinstance(user, User), user
answer = login.sync(client=stranger, body=Login(email=email, password=password))
assert isinstance(answer, LoginAnswer), answer

pair = rotate_refresh_token.sync(client=AuthenticatedClient(url, token=answer.refresh_token))
assert isinstance(pair, TokenPair), pair
client = AuthenticatedClient(url, token=pair.access_token)
hobbit = BookInput(title="The Hobbit", author="J. R. R. Tolkien", published_date="1937-09-21")
book = create_book.sync(client=client, body=hobbit, idempotency_key="a-new-value-for-each-book")
assert isinstance(book, Book), book
assert (book.title, book.user_uid) == ("The Hobbit", user.id)
again = create_book.sync(client=client, body=hobbit, idempotency_key="a-new-value-for-each-book")
assert again == book

emma = create_book.sync(client=client, body=BookInput(title="Emma", author="Jane Austen"))
page = {"client": client, "limit": 1, "sort": ListBooksSort.TITLE, "count": ListBooksCount.TRUE}
first = list_books.sync_detailed(**page)
assert (first.parsed, first.headers["X-Total-Count"]) == ([emma], "2")
cursor = re.search("cursor=([^&>]+)", first.headers["Link"])
assert cursor is not None
assert list_books.sync(**page, cursor=cursor[1]) == [book]
assert list_books.sync(client=client, q="hobit", sort=ListBooksSort.PUBLISHED_DATE) == [book]
read = get_book.sync_detailed(book.id, client=client)
assert read.parsed == book

etag = read.headers["ETag"]
changed = update_book.sync(book.id, client=client, body=BookUpdate(page_count=310), if_match=etag)
assert isinstance(changed, Book), changed
assert (changed.title, changed.page_count) == ("The Hobbit", 310)
late = update_book.sync(book.id, client=client, body=BookUpdate(page_count=7), if_match=etag)
assert isinstance(late, Problem), late
assert (late.status, late.current) == (412, changed)

catalogue = File(BytesIO(b"Title,Author\nOrlando,Virginia Woolf\n"))
report = import_books.sync(client=client, body=catalogue)
assert isinstance(report, ImportReport), report
assert (report.read, report.imported) == (1, 1)
exported = export_books.sync(client=client, author="woolf", format_=ExportBooksFormat.CSV)
assert isinstance(exported, File), exported
assert b"Orlando,Virginia Woolf" in exported.payload.read()

misprint = BookInput(title="Emma", author="Jane Austen", isbn="9780261102210")
wrong = create_book.sync(client=client, body=misprint)
assert isinstance(wrong, Problem), wrong
assert wrong.type_ == "/problems/validation"
assert [(error.pointer, error.code) for error in wrong.errors] == [("/isbn", "check-digit")]

assert delete_book.sync_detailed(book.id, client=client).status_code == 204
gone = get_book.sync(book.id, client=client)
assert isinstance(gone, Problem), gone
assert gone.detail == "There is no such book."

assert delete_me.sync(client=client, body=Confirmation(current_password=password)) is None
