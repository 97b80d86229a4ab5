"""What pages, searches and counts cost in catalogues of three sizes.

The service's functions are called in this process, each with 200 different values, or as many as
BUDGET allows. All values are taken from the first 1,000 books, which every catalogue contains.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import cycle, islice
from random import Random
from statistics import median
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from benchmarks.loading import NEAR_WORD, flood, library, load
from benchmarks.report import Bound, table
from benchmarks.servers import deployment
from books_api.books.counts import count_books
from books_api.books.filters import SORTS
from books_api.books.lists import list_books
from books_api.database import autocommit

SIZES = (1_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 5_000, 20_000)
CALLS = 200
TRIED_AGAIN = 5  # of them
BUDGET = 8.0  # seconds for the calls of one case
DEPTH_MAX = 100_000  # books before the deep page
STEP = 10_000  # books of a page on the way there
BOUNDED = ("page", "search")  # how the cases begin that may not grow
GROWTH = 1.5
MEDIAN, SLOWEST = 10.0, 50.0  # milliseconds of a search at the middle size

Calls = Sequence[Callable[[], Any]]


def measure(quick: bool) -> dict[str, Any]:
    """Return the median and the longest milliseconds of each case at each size."""
    sizes = QUICK_SIZES if quick else SIZES
    medians: dict[str, list[float]] = {}
    slowest: dict[str, list[float]] = {}
    with deployment() as place:
        rows, loaded = library(place), 0
        for size in sizes:
            load(place, islice(rows, size - loaded))
            if not loaded:
                flood(place)
            loaded = size
            for name, calls in cases(place.user_id, min(size // 2, DEPTH_MAX)).items():
                times = timed(calls[:10] if quick else calls)
                medians.setdefault(name, []).append(median(times) * 1000)
                slowest.setdefault(name, []).append(max(times) * 1000)
    return {"sizes": sizes, "medians": medians, "slowest": slowest}


def timed(calls: Calls) -> list[float]:
    """Return the seconds of each call; of one that Postgres cancels, those until then.

    The slowest have another try: what a call takes is not what the machine does besides.
    """
    second(calls[0])  # makes the statement
    times: list[float] = []
    end = time.monotonic() + BUDGET
    for call in calls:
        times.append(second(call))
        if time.monotonic() > end:
            break
    for place in sorted(range(len(times)), key=times.__getitem__)[-TRIED_AGAIN:]:
        times[place] = min(times[place], second(calls[place]))
    return times


def second(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    with suppress(DBAPIError):
        call()
    return time.perf_counter() - begun


def cases(shelf: UUID, depth: int) -> dict[str, Calls]:
    """Return, by name, the calls that are timed; `shelf` owns a hundred of the first books."""
    with autocommit() as connection:
        books = connection.execute(text("SELECT * FROM books ORDER BY id LIMIT 1000")).all()[::5]
    words = Counter(word for book in books for word in book.title.lower().split())
    common = [word for word, _ in words.most_common(20) if len(word) >= 3]
    queries = {
        "a whole title": [book.title for book in books],
        "the first two words of a title": [" ".join(book.title.split()[:2]) for book in books],
        "a common word": common,
        "a title with a typo": [with_typo(book.title) for book in books],
        "an ISBN": [book.isbn for book in books],
        "an author": [book.author.partition("/")[0] for book in books],
        "what no book has": [f"zq{book.isbn[-5:]}xj" for book in books],
        "very common words": ["the of and a in", "the of", "of the and", "in a", "the and"],
        "one letter": list("abcdefghijklmnopqrstuvwxyz0123456789"),
        "1,000 letters": [unknown(book, 1_000) for book in books],
        "40 words of no book": [" ".join(wrapped(unknown(book, 240), 6)) for book in books],
        "what thousands of words are near to": [f"{NEAR_WORD}{letter}" for letter in "xyz"],
    }
    filters: dict[str, list[dict[str, Any]]] = {
        "author": [{"author": book.author.split()[-1]} for book in books],
        "publisher": [{"publisher": book.publisher} for book in books],
        "language, a common one": [{"language": "eng"}],
        "language, a rare one": [{"language": "ale"}],
        "isbn": [{"isbn": book.isbn} for book in books],
        "user_uid": [{"user_uid": book.user_uid} for book in books],
        "published_from and _to": [
            {"published_from": date, "published_to": date}
            for book in books
            if (date := book.published_date)
        ],
    }
    made: dict[str, Calls] = {}
    for sort in SORTS:
        made[f"page: first, by {sort}"] = repeated([partial(list_books, limit=20, sort=sort)])
        made[f"page: deep, by {sort}"] = repeated(
            [partial(list_books, limit=20, sort=sort, cursor=deep(sort, depth))]
        )
    for name, values in filters.items():
        made[f"filter: {name}"] = repeated(
            [partial(list_books, limit=20, filters=each) for each in values]
        )
    for name, texts in queries.items():
        made[f"search: {name}"] = repeated(
            [partial(list_books, limit=20, filters={"q": q}) for q in texts]
        )
    for name in ("a whole title", "a title with a typo", "a common word", "very common words"):
        made[f"search in an owner's 100 books: {name}"] = repeated(
            [
                partial(list_books, limit=20, filters={"q": q, "user_uid": shelf})
                for q in queries[name]
            ]
        )
        made[f"shelf of 1 in 100 books: {name}"] = repeated(
            [
                partial(list_books, limit=20, filters={"q": q, "user_uid": book.user_uid})
                for q, book in zip(cycle(queries[name]), books, strict=False)
            ]
        )
    made["search: a common word, by title"] = repeated(
        [partial(list_books, limit=20, sort="title", filters={"q": q}) for q in common]
    )
    made["search: a common word, second page"] = repeated(
        [
            partial(
                list_books,
                limit=20,
                filters={"q": q},
                cursor=list_books(limit=20, filters={"q": q}).cursor,
            )
            for q in common
        ]
    )
    counted: dict[str, list[dict[str, Any]]] = {
        "all": [{}],
        "language, a common one": [{"language": "eng"}],
        "user_uid": filters["user_uid"],
    }
    for name in ("a whole title", "the first two words of a title", "a common word"):
        counted[name] = [{"q": q} for q in queries[name]]
    for name, values in counted.items():
        made[f"count: {name}"] = repeated(
            [partial(count_books, each, exact=False) for each in values]
        )
    made["count: all, exactly"] = repeated([partial(count_books, {})])
    return made


def repeated(calls: Calls) -> Calls:
    return list(islice(cycle(calls), CALLS))


def deep(sort: str, depth: int) -> str | None:
    """Return the cursor of the page behind so many books."""
    cursor = None
    for step in range(0, depth, STEP):
        cursor = list_books(limit=min(STEP, depth - step), sort=sort, cursor=cursor).cursor
    return cursor


def unknown(book: Any, length: int) -> str:
    """Return letters that stand in no word, other ones for each book."""
    return "".join(Random(book.isbn).choices("bcdfghjklmnpqrstvwxz", k=length))


def wrapped(text: str, length: int) -> list[str]:
    return [text[n : n + length] for n in range(0, len(text), length)]


def with_typo(title: str) -> str:
    """Return the title with two letters in the middle of its longest word exchanged."""
    word = max(title.split(), key=len)
    middle = len(word) // 2
    typed = word[: middle - 1] + word[middle : middle + 1] + word[middle - 1] + word[middle + 1 :]
    return title.replace(word, typed)


def growth(medians: Sequence[float]) -> float:
    """Return how many times the cost at the smallest size is that at the middle one."""
    return medians[1] / medians[0]


def describe(result: dict[str, Any]) -> str:
    first, *others = result["sizes"]
    return table(
        (
            "case",
            *(f"{size:,} books, ms" for size in result["sizes"]),
            *(f"{size:,} : {first:,}" for size in others),
        ),
        [
            (name, *values, *(value / values[0] for value in values[1:]))
            for name, values in result["medians"].items()
        ],
    )


def bounds(result: dict[str, Any]) -> list[Bound]:
    first, second, _ = result["sizes"]
    found = []
    for kind in BOUNDED:
        name, values = worst(result["medians"], growth, kind)
        promise = f"{second:,} books over {first:,}, worst case ({name})"
        found.append(Bound(promise, growth(values), GROWTH))
    for what, most in (("medians", MEDIAN), ("slowest", SLOWEST)):
        if what in result:  # it was not measured before
            name, values = worst(result[what], lambda values: values[1], "search", "shelf")
            promise = f"{what} of all searches of {second:,} books, ms, worst case ({name})"
            found.append(Bound(promise, values[1], most))
    return found


def worst(
    values: dict[str, Sequence[float]], key: Callable[[Sequence[float]], float], *kinds: str
) -> tuple[str, Sequence[float]]:
    """Return the case of these kinds that is furthest from its bound."""
    cases = ((name, each) for name, each in values.items() if name.startswith(kinds))
    return max(cases, key=lambda case: key(case[1]))
