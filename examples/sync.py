"""Keep a JSON Lines file of your books in step with the Books API, both ways. Edit it, and run:

    BOOKS_API=https://books.example/api/v1.0.0 BOOKS_TOKEN=... python sync.py books.jsonl

It may be killed at any time. What you and somebody else have changed stays theirs, and is shown.
"""

import json
import os
import sys
import time
from pathlib import Path

import httpx

API = os.environ["BOOKS_API"]
FIELDS = ("title", "author", "publisher", "published_date", "page_count", "language", "isbn")


def call(method, path, headers=None, **options):
    """Send the request until it is answered. What may have been done is sent again as it was."""
    headers = {"Authorization": f"Bearer {os.environ['BOOKS_TOKEN']}", **(headers or {})}
    for attempt in range(8):
        try:
            answer = httpx.request(method, API + path, headers=headers, timeout=60, **options)
            if "Retry-After" not in answer.headers:
                return answer
            time.sleep(int(answer.headers["Retry-After"]))
        except httpx.TransportError:
            time.sleep(0.1 * 2**attempt)
    sys.exit("The service does not answer: run this again later.")


def save(path, state, books):
    """Replace both files. First the books: what came from the service is then no edit of yours."""
    lines = "".join(json.dumps(book, ensure_ascii=False) + "\n" for book in books)
    for name, text in ((path, lines), (f"{path}.state", json.dumps(state))):
        Path(f"{name}.new").write_text(text, "utf-8")
        os.replace(f"{name}.new", name)


def pull(state):
    """Return the books that the service has now, by id, and the next cursor."""
    books, cursor, more = dict(state["books"]), state["cursor"], True
    while more:
        query = {"user_uid": state["owner"], "limit": 1000} | ({"cursor": cursor} if cursor else {})
        answer = call("GET", "/books/changes", params=query)
        if cursor and answer.status_code in (410, 422):  # it is too old: begin again
            books, cursor = {}, None
            continue
        changes = answer.raise_for_status().json()
        books |= {book["id"]: book for book in changes["books"]}
        for book in changes["deleted"]:
            books.pop(book["id"], None)
        cursor, more = changes["cursor"], changes["more"]
    return books, cursor


def merge(lines, bases, theirs):
    """Return the books of both sides, the records to push, and the books to delete."""
    mine, new = {b["id"]: b for b in lines if "id" in b}, [b for b in lines if "id" not in b]
    merged, pushed, deleted = [], [], []
    for book_id, book in theirs.items():
        base, my = bases.get(book_id), mine.pop(book_id, None)
        if base and not my:
            if base["version"] == book["version"]:
                deleted.append(book)
                continue
            print(f"{book_id} conflict: deleted here, changed there; it stays")
        base, my = base or book, my or book
        edits = {f: my.get(f) for f in FIELDS if my.get(f) not in (base[f], book[f])}
        for field in [f for f in edits if base[f] != book[f]]:
            print(f"{book_id} conflict: {field} {edits.pop(field)!r} here, {book[field]!r} there")
        merged.append(book | edits)
        if edits:
            pushed.append({f: merged[-1][f] for f in ("id", "title", "author", *edits)})
    for book_id, my in mine.items():
        if any(my.get(f) != bases.get(book_id, {}).get(f) for f in FIELDS):
            print(f"{book_id} conflict: changed here, deleted there; it was {json.dumps(my)}")
    return merged + new, pushed + [{f: b[f] for f in FIELDS if f in b} for b in new], deleted


def push(key, records, bases, lines):
    """Send the records in one request; return the lines that it does not give an id."""
    body = "".join(json.dumps(record) + "\n" for record in records).encode()
    headers = {"Idempotency-Key": key, "Content-Type": "application/x-ndjson"}
    answer = call("POST", "/books/import?on_duplicate=update", headers, content=body)
    found = answer.raise_for_status().json()["records"]
    refused = {one["line"]: one["reason"] for one in found if one["outcome"] == "rejected"}
    for line, record in enumerate(records, 1):
        if line in refused:
            print(f"refused: {refused[line]}: {json.dumps(record)}")
        elif "id" in record:
            bases.get(record["id"], {}).update(record)
        else:  # it comes back with an id
            lines = [b for b in lines if "id" in b or {f: b[f] for f in FIELDS if f in b} != record]
    return lines


def main(path):
    if Path(f"{path}.state").exists():
        state = json.loads(Path(f"{path}.state").read_text("utf-8"))
    else:
        Path(path).touch()
        owner = call("GET", "/auth/me").raise_for_status().json()["id"]
        state = {"owner": owner, "cursor": None, "books": {}, "push": None}
    lines = [json.loads(line) for line in Path(path).read_text("utf-8").split("\n") if line]
    for _ in range(2):
        if state["push"]:  # in the first round, that of a run that was killed
            lines = push(*state["push"], state["books"], lines)
            save(path, state | {"push": None}, lines)
        theirs, cursor = pull(state)
        lines, records, deleted = merge(lines, state["books"], theirs)
        state.update(cursor=cursor, books=theirs, push=records and [os.urandom(16).hex(), records])
        save(path, state, lines)
        for book in deleted:
            call("DELETE", f"/books/{book['id']}", {"If-Match": f'"{book["version"]}"'})


main(sys.argv[1])
