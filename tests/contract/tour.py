"""A tour of the API with the client that openapi-python-client generates from its document.

test_generated_clients.py runs it, with the generated package and the server's address.
"""

import sys

from books_client import AuthenticatedClient, Client
from books_client.api.auth import login, signup
from books_client.api.books import create_book, delete_book, get_book, list_books, update_book
from books_client.models import (
    Book,
    BookInput,
    BookUpdate,
    ListBooksSort,
    Login,
    LoginAnswer,
    Problem,
    Signup,
    User,
)

url = sys.argv[1]
email, password = "ada@example.com", "correct horse battery staple"

stranger = Client(url)
body = Signup(username="ada", email=email, password=password)
user = signup.sync(client=stranger, body=body)
assert isinstance(user, User), user
answer = login.sync(client=stranger, body=Login(email=email, password=password))
assert isinstance(answer, LoginAnswer), answer

client = AuthenticatedClient(url, token=answer.access_token)
hobbit = BookInput(title="The Hobbit", author="J. R. R. Tolkien", published_date="1937-09-21")
book = create_book.sync(client=client, body=hobbit, idempotency_key="a-new-value-for-each-book")
assert isinstance(book, Book), book
assert (book.title, book.user_uid) == ("The Hobbit", user.id)
again = create_book.sync(client=client, body=hobbit, idempotency_key="a-new-value-for-each-book")
assert again == book

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

assert delete_book.sync_detailed(book.id, client=client).status_code == 204
gone = get_book.sync(book.id, client=client)
assert isinstance(gone, Problem), gone
assert gone.detail == "There is no such book."
