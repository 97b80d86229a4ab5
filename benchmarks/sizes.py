"""What pages, searches and counts cost in catalogues of three sizes.

The service's functions are called in this process, each with 200 different values, or as many as
BUDGET allows. All values are taken from the first 1,000 books, which every catalogue contains.
"""

import csv
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle, islice
from statistics import median
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from benchmarks import generated
from benchmarks.report import Bound, table
from benchmarks.servers import Deployment, deployment, execute
from books_api.books.counts import count_books
from books_api.books.filters import SORTS
from books_api.books.lists import list_books
from books_api.database import autocommit, transaction
from books_api.model_base import new_id

SIZES = (1_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 5_000, 20_000)
CALLS = 200
BUDGET = 8.0  # seconds for the calls of one case
DEPTH_MAX = 100_000  # books before the deep page
STEP = 10_000  # books of a page on the way there
USERS = 100
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = ("id", "user_uid", "created_at", "updated_at", *generated.FIELDS)
BOUNDED = ("page", "search")  # how the cases begin that may not grow
GROWTH = 1.5

Calls = Sequence[Callable[[], Any]]


def measure(quick: bool) -> dict[str, Any]:
    """Return the median milliseconds of each case at each size."""
    sizes = QUICK_SIZES if quick else SIZES
    medians: dict[str, list[float]] = {}
    with deployment() as place:
        rows, loaded = library(place), 0
        for size in sizes:
            load(islice(rows, size - loaded))
            loaded = size
            for name, calls in cases(min(size // 2, DEPTH_MAX)).items():
                times = timed(calls[:10] if quick else calls)
                medians.setdefault(name, []).append(median(times) * 1000)
    return {"sizes": sizes, "medians": medians}


def library(place: Deployment) -> Iterator[tuple[Any, ...]]:
    """Add users, and yield books of theirs, oldest first."""
    owners = [place.user_id, *(new_id() for _ in range(USERS - 1))]
    for number, owner in enumerate(owners[1:]):
        execute(
            "INSERT INTO users (id, username, email, password_hash) VALUES (:id, :name, :name, '')",
            id=owner,
            name=f"user{number}",
        )
    books = generated.books(generated.real_books(place.user_id))
    for number, (owner, book) in enumerate(zip(cycle(owners), books, strict=False)):
        created_at = BEGIN + timedelta(seconds=number)
        updated_at = created_at + timedelta(seconds=number * 7919 % 100_003)
        yield (new_id(), owner, created_at, updated_at, *book)


def load(rows: Iterator[tuple[Any, ...]]) -> None:
    """Add the rows, then make the indexes at once: they are the same, and sooner there."""
    with tempfile.TemporaryFile("w+", newline="") as file:
        csv.writer(file).writerows(rows)
        file.seek(0)
        with transaction(long=True) as on:
            copy(file, on)
    execute("VACUUM ANALYZE books")


def copy(file: Any, on: Any) -> None:
    on.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
    indexes = on.execute(
        text(
            "SELECT indexname, indexdef FROM pg_indexes"
            " WHERE tablename = 'books' AND indexname <> 'pk_books'"
        )
    ).all()
    for index in indexes:
        on.execute(text(f"DROP INDEX {index.indexname}"))
    columns = ", ".join(COLUMNS)
    on.connection.cursor().copy_expert(f"COPY books ({columns}) FROM STDIN WITH (FORMAT csv)", file)
    for index in indexes:
        on.execute(text(index.indexdef.replace(":", r"\:")))


def timed(calls: Calls) -> list[float]:
    """Return the seconds of each call; of one that Postgres cancels, those until then."""
    calls[0]()  # makes the statement
    times: list[float] = []
    end = time.monotonic() + BUDGET
    for call in calls:
        begun = time.perf_counter()
        with suppress(DBAPIError):
            call()
        times.append(time.perf_counter() - begun)
        if time.monotonic() > end:
            break
    return times


def cases(depth: int) -> dict[str, Calls]:
    """Return, by name, the calls that are timed."""
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
    found = []
    for kind in BOUNDED:
        name, values = max(
            ((n, v) for n, v in result["medians"].items() if n.startswith(kind)),
            key=lambda item: growth(item[1]),
        )
        first, second, _ = result["sizes"]
        promise = f"{second:,} books over {first:,}, worst case ({name})"
        found.append(Bound(promise, growth(values), GROWTH))
    return found
