"""How good the search is: whether the right book comes first, and among the first ten.

The queries are as people type them, of 40 kinds; tests/data/README.md says more.
"""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from benchmarks.report import Bound, table
from benchmarks.servers import ROOT, catalogue, deployment, execute, import_file
from books_api.books.lists import list_books
from books_api.books.search.rank import plain

QUERIES = ROOT / "tests" / "data" / "queries.jsonl"
FIRST, TEN = "right book first, %", "right book among ten, %"
MINE = "all kinds, in one's own books beside 10,000 of another"
OTHERS = """
    WITH other AS (
        INSERT INTO users (id, username, email, password_hash)
        VALUES (gen_random_uuid(), 'other', 'other@example.com', '') RETURNING id
    )
    INSERT INTO books (id, user_uid, title, author)
    SELECT gen_random_uuid(), other.id, title, author FROM books, other LIMIT 10000
"""


class Query(NamedTuple):
    """What is typed, and the works that are right: main title and surname of the first author."""

    kind: str
    q: str
    right: set[tuple[str, str]]

    def rank(self, books: Iterable[Mapping[str, Any]]) -> int:
        """Return the place of the first right book; 0 if there is none."""
        works = (work(book["title"], book["author"]) for book in books)
        return next((place for place, each in enumerate(works, 1) if each in self.right), 0)


def measure(quick: bool) -> dict[str, Any]:
    """Return, by kind and for all, what percentage of queries find it first, and among ten."""
    ranks: dict[str, list[int]] = defaultdict(list)
    with deployment() as place:
        import_file(catalogue(), place.user_id)
        execute("VACUUM ANALYZE")
        asked = queries()[:: 10 if quick else 1]
        for query in asked:
            rank = query.rank(list_books(limit=10, filters={"q": query.q}).rows)
            ranks[query.kind].append(rank)
            ranks["all kinds"].append(rank)
        execute(OTHERS)
        execute("VACUUM ANALYZE")
        for query in asked:
            filters = {"q": query.q, "user_uid": place.user_id}
            ranks[MINE].append(query.rank(list_books(limit=10, filters=filters).rows))
    return {kind: [share(each, 1), share(each, 10)] for kind, each in ranks.items()}


def queries() -> list[Query]:
    text = io.TextIOWrapper(catalogue(), encoding="utf-8", newline="")
    rows = {row["bookID"]: row for row in csv.DictReader(text, skipinitialspace=True)}
    works = {number: work(row["title"], row["authors"]) for number, row in rows.items()}
    lines = map(json.loads, QUERIES.read_text("utf-8").splitlines())
    return [Query(line["kind"], line["q"], {works[n] for n in line["right"]}) for line in lines]


def work(title: str, author: str) -> tuple[str, str]:
    """Return what all editions have in common."""
    main = re.sub(r"\s*\([^()]*\)\s*$", "", title).split(":")[0].strip() or title
    names = plain(re.split("[/;,]", author)[0]).split()
    return " ".join(plain(main).split()), names[-1] if names else ""


def share(ranks: list[int], most: int) -> float:
    return 100 * sum(0 < rank <= most for rank in ranks) / len(ranks)


def describe(result: dict[str, Any]) -> str:
    return table(("kind of query", FIRST, TEN), [(kind, *each) for kind, each in result.items()])


def bounds(result: dict[str, Any]) -> list[Bound]:
    first, ten = result["all kinds"]
    of_all = [Bound(FIRST, first, least=96), Bound(TEN, ten, least=99)]
    return [*of_all, *(worst(result, *each) for each in ((0, FIRST, 80), (1, TEN, 95)))]


def worst(result: dict[str, Any], column: int, promise: str, least: float) -> Bound:
    """Return the bound that every kind must keep, of the kind that is furthest from it."""
    kind, figures = min(result.items(), key=lambda item: float(item[1][column]))
    return Bound(f"{promise} of the worst kind: {kind}", figures[column], least=least)
