"""examples/sync.py: a copy in step, both ways, in few requests, killed anywhere."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from werkzeug.serving import make_server

from books_api import PREFIX
from tests.helpers import BOOKS, execute, make_script_token
from tests.processes import ROOT

FIELDS = ("title", "author", "publisher", "published_date", "page_count", "language", "isbn")


class Copy:
    """The script and its file, against an application that counts its requests."""

    def __init__(self, app, account, folder):
        token = make_script_token(app.test_client(), account, read_only=False).json["access_token"]
        self.app, self.account, self.path, self.requests = app, account, folder / "books.jsonl", 0
        self.lost = lambda: False
        self.server = make_server("127.0.0.1", 0, self.answer, threaded=True)
        api = f"http://127.0.0.1:{self.server.port}{PREFIX}"
        self.environ = {**os.environ, "BOOKS_API": api, "BOOKS_TOKEN": token}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, environ, start_response):
        self.requests += 1
        answer = list(self.app(environ, start_response))
        if self.lost():
            raise ConnectionAbortedError
        return answer

    def start(self):
        command = [sys.executable, str(ROOT / "examples" / "sync.py"), str(self.path)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, env=self.environ, **pipes)

    def run(self):
        """Run the script to its end; return what it says, and in how many requests."""
        self.requests = 0
        process = self.start()
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output, self.requests

    def read(self):
        return [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]

    def write(self, books):
        self.path.write_text("".join(json.dumps(book) + "\n" for book in books), "utf-8")

    def there(self):
        """What the service has, by the id of each book."""
        columns = ", ".join(FIELDS)
        rows = execute(self.app, f"SELECT id::text, {columns} FROM books")
        return {book_id: dict(zip(FIELDS, values, strict=True)) for book_id, *values in rows}

    def here(self):
        return {book["id"]: {f: book[f] for f in FIELDS} for book in self.read()}


@pytest.fixture
def copy(app, alice, tmp_path):
    copy = Copy(app, alice, tmp_path)
    yield copy
    copy.server.shutdown()
    copy.server.server_close()


def fill(app, account, number):
    rows = "".join(f"Book {n},Author {n}\n" for n in range(number))
    response = app.test_client().post(
        f"{BOOKS}/import",
        data=f"title,author\n{rows}",
        content_type="text/csv",
        headers=account.headers,
    )
    assert response.json["imported"] == number


def edit_there(client, account, books):
    """Change 80 books, delete 10 and add 10."""
    for n, book in enumerate(books[:90]):
        method, change = ("PATCH", {"page_count": n + 1}) if n < 80 else ("DELETE", None)
        client.open(f"{BOOKS}/{book['id']}", method=method, json=change, headers=account.headers)
    for n in range(10):
        book = {"title": f"Theirs {n}", "author": "x"}
        client.post(BOOKS, json=book, headers=account.headers)


def edit_here(copy, books, deletions=10):
    """Change 80 other books, delete some and add 10."""
    changed = {book["id"]: {**book, "publisher": f"Publisher {n}"} for n, book in books[100:180]}
    gone = {book["id"] for _, book in books[180 : 180 + deletions]}
    kept = [changed.get(book["id"], book) for _, book in books if book["id"] not in gone]
    copy.write([*kept, *({"title": f"Mine {n}", "author": "x"} for n in range(20 - deletions))])


def test_2000_books_with_100_edits_on_each_side_take_25_requests(app, client, alice, copy):
    fill(app, alice, 2_000)
    _, begun = copy.run()
    books = copy.read()
    edit_there(client, alice, books)
    edit_here(copy, list(enumerate(books)))

    output, requests = copy.run()

    assert len(books) == 2_000
    assert (output, begun) == ("", 5)
    assert requests <= 25
    assert copy.here() == copy.there()
    titles = {book["title"] for book in copy.read()}
    assert {"Mine 0", "Theirs 0"} <= titles
    assert len(titles) == 2_000


def test_a_conflict_is_shown_and_theirs_stays(client, alice, make_book, copy):
    both, other, here, there = (make_book(alice, title=f"Book {n}") for n in range(4))
    copy.run()
    for book in (both, here):
        change = {"title": "Theirs"}
        client.patch(f"{BOOKS}/{book['id']}", json=change, headers=alice.headers)
    client.delete(f"{BOOKS}/{there['id']}", headers=alice.headers)
    mine = [
        {**book, "title": "Mine", "page_count": 7}
        for book in copy.read()
        if book["id"] != here["id"]
    ]
    copy.write(mine)
    (lost,) = [book for book in copy.read() if book["id"] == there["id"]]

    output, _ = copy.run()

    assert output.splitlines() == [
        f"{both['id']} conflict: title 'Mine' here, 'Theirs' there",
        f"{here['id']} conflict: deleted here, changed there; it stays",
        f"{there['id']} conflict: changed here, deleted there; it was {json.dumps(lost)}",
    ]
    assert copy.here() == copy.there()
    assert copy.here()[both["id"]]["page_count"] == 7
    assert copy.here()[other["id"]]["title"] == "Mine"
    assert there["id"] not in copy.here()


def test_what_the_service_refuses_is_shown_and_stays_in_the_file(alice, make_book, copy):
    make_book(alice)
    copy.run()
    copy.write([{**book, "page_count": -1, "title": ""} for book in copy.read()])

    output, _ = copy.run()

    assert output.startswith("refused: ")
    assert copy.read()[0]["title"] == ""


@pytest.mark.parametrize("times", [8, pytest.param(60, marks=pytest.mark.long)])
def test_it_survives_being_killed_anywhere_and_answers_that_are_lost(
    app, client, alice, copy, times
):
    dice = random.Random(times)
    fill(app, alice, 300)
    copy.run()
    copy.lost = lambda: dice.random() < 0.2
    for n in range(times):
        books = copy.read()
        with_ids = [book for book in books if "id" in book]
        for book in dice.sample(with_ids, 5):
            book["publisher"] = f"Mine {n}"
        books.remove(dice.choice([b for b in with_ids if not b["title"].startswith("Mine")]))
        copy.write([*books, {"title": f"Mine {n}", "author": "x"}])
        make_change(client, alice, copy, dice, n)
        process = copy.start()
        time.sleep(dice.uniform(0.2, 1.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    copy.lost = lambda: False
    copy.run()

    assert copy.here() == copy.there()
    titles = [book["title"] for book in copy.read()]
    assert sorted(t for t in titles if t.startswith("Mine")) == sorted(
        f"Mine {n}" for n in range(times)
    )


def make_change(client, account, copy, dice, number):
    book_id = dice.choice(list(copy.there()))
    change = {"page_count": number + 1}
    client.patch(f"{BOOKS}/{book_id}", json=change, headers=account.headers)
