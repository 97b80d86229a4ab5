"""What Postgres does for a list of 100,000 books: it reads what it shows, not the table."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from books_api.books.counts import count_books
from books_api.books.filters import LAST_WHEN_DESCENDING, SORTS
from books_api.books.lists import list_books
from books_api.books.search.candidates import RANKED
from books_api.database import autocommit, driver, transaction
from books_api.extensions import db
from books_api.web.pagination import encode_cursor
from tests.books.catalogue import catalogue
from tests.statements import LOGGED, statements

pytestmark = pytest.mark.long

COPIES = 8
SETTING = re.compile(r"(SET LOCAL [^;]*;|)(.*)", re.DOTALL)
FILTERS = [
    *({"author": "rowling"}, {"author": "a"}, {"author": "xyzzy"}, {"author": "zq"}),
    *({"publisher": "vintage"}, {"publisher": "nobody"}, {"language": "eng"}, {"language": "rus"}),
    *({"language": "en-GB"}, {"language": "Spanish"}),
    *({"isbn": "9780439785969"}, {"user_uid": "one"}),
    *({"published_from": "2003"}, {"published_from": "2020"}, {"published_from": "0001"}),
    *({"published_to": "1900"}, {"published_to": "2003-06"}, {"published_to": "9999"}),
    {"published_from": "2003-01", "published_to": "2003-02"},
    {"language": "eng", "author": "king", "published_from": "2000"},
    {"publisher": "vintage", "user_uid": "one"},
    *({"author": "김"}, {"author": "철수"}, {"author": "ศิ"}),
]
# Rare and common, one word and many.
WORDS = ["zafon", "harry potter", "the", "t", "the of and a in", "1", "the " * 250, "!"]
# In no book: looked for by the words that are near.
OTHERS = ["hary poter", "the shadwo of the wind", "teh", "a e i o u", "xyzzy", "三体"]
OTHERS += ["a" * 1_000, "三" * 1_000]


@pytest.fixture(scope="module")
def owner(settings, servers) -> Iterator[str]:
    """The id of an owner in a catalogue of 100,000 books, which is the application's meanwhile."""
    logged = replace(settings, database_url=f"{settings.database_url}&{LOGGED}")
    with catalogue(logged, "plans"):
        with transaction(long=True) as connection:
            connection.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
            multiply(connection)
        with autocommit() as connection:
            connection.execute(text("SET statement_timeout = '1min'"))
            driver(connection).seconds = 60  # to analyze expressions takes some seconds
            connection.execute(text("VACUUM ANALYZE books"))
            connection.execute(text("RESET statement_timeout"))
            yield connection.execute(text("SELECT user_uid FROM books LIMIT 1")).scalar()


def multiply(connection: Any) -> None:
    """Copy every book, with all that is generated, and index them at once: a matter of seconds."""
    columns = connection.execute(
        text(
            "SELECT attname, attgenerated <> '' FROM pg_attribute WHERE attnum > 0"
            " AND NOT attisdropped AND attrelid = 'books'::regclass"
        )
    ).all()
    indexes = connection.execute(
        text("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'books'")
    ).all()
    indexes = [index for index in indexes if not index.indexname.startswith("pk_")]
    for name, is_generated in columns:
        if is_generated:
            connection.execute(text(f"ALTER TABLE books ALTER COLUMN {name} DROP EXPRESSION"))
    for index in indexes:
        connection.execute(text(f"DROP INDEX {index.indexname}"))
    changed = {
        "id": "gen_random_uuid()",
        "title": "title || ' ' || copy",
        "created_at": "created_at + copy * interval '1 second' * random()",
    }
    names = [name for name, _ in columns]
    values = ", ".join(changed.get(name, name) for name in names)
    connection.execute(
        text(
            f"INSERT INTO books ({', '.join(names)})"
            f" SELECT {values} FROM books, generate_series(1, {COPIES}) AS copy"
        )
    )
    for index in indexes:
        connection.execute(text(index.indexdef.replace(":", r"\:")))


def plans_of(call: Callable[[], Any], explain: str) -> list[dict[str, Any]]:
    """The plans of the statements of the call."""
    with statements(Path(str(db.engine.url.query["host"])).parent) as sent:
        call()
    assert sent
    plans = []
    with db.engine.connect() as connection:
        cursor = connection.connection.cursor()
        for statement in sent:
            setting, query = SETTING.fullmatch(statement).groups()
            cursor.execute(f"{setting} {explain} {query}")
            [[[plan]]] = cursor.fetchall()
            plans.append(plan["Plan"])
            cursor.connection.rollback()  # of the setting
    return plans


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from nodes(child)


def scans(call: Callable[[], Any], explain: str = "EXPLAIN (FORMAT JSON)") -> list[dict[str, Any]]:
    """The nodes of the plans that read books."""
    plans = plans_of(call, explain)
    return [n for plan in plans for n in nodes(plan) if n.get("Relation Name") == "books"]


def looked_up(call: Callable[[], Any]) -> float:
    """How many books the index of words was asked for."""
    plans = plans_of(call, "EXPLAIN (ANALYZE, FORMAT JSON)")
    found = [n for plan in plans for n in nodes(plan) if n.get("Index Name") == "ix_books_search"]
    return sum(node["Actual Loops"] * node["Actual Rows"] for node in found)


def kinds(call: Callable[[], Any]) -> set[str]:
    return {node["Node Type"] for node in scans(call)}


def filters_of(owner: str, filters: dict[str, str]) -> dict[str, str]:
    return {**filters, "user_uid": owner} if "user_uid" in filters else filters


@pytest.mark.parametrize("sort", SORTS)
def test_a_first_page_reads_no_more_than_it_shows(owner, sort):
    [scan] = scans(lambda: list_books(limit=20, sort=sort), "EXPLAIN (ANALYZE, FORMAT JSON)")

    assert (scan["Node Type"], scan["Actual Rows"]) == ("Index Scan", 21)


@pytest.mark.parametrize("sort", SORTS)
def test_a_deep_page_reads_no_more_than_it_shows(owner, sort):
    key = SORTS[sort].key
    with db.engine.connect() as connection:
        place = connection.execute(
            db.select(key, SORTS[sort].identifier).order_by(key).offset(50_000).limit(1)
        ).one()
    kind = "books 2" if sort in LAST_WHEN_DESCENDING else "books"
    cursor = encode_cursor((place[0], str(place[1])), f"{kind} {sort} []")

    [scan] = scans(
        lambda: list_books(limit=20, sort=sort, cursor=cursor), "EXPLAIN (ANALYZE, FORMAT JSON)"
    )

    assert (scan["Node Type"], scan["Actual Rows"]) == ("Index Scan", 21)
    assert scan.get("Rows Removed by Filter", 0) == 0


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("sort", [None, "title", "-page_count", "published_date"])
def test_a_filtered_list_does_not_scan_the_table(owner, filters, sort):
    filters = filters_of(owner, filters)

    assert "Seq Scan" not in kinds(lambda: list_books(limit=20, sort=sort, filters=filters))


@pytest.mark.parametrize("filters", FILTERS[:13], ids=str)
def test_what_follows_in_a_filtered_list_does_not_scan_the_table(owner, filters):
    filters = filters_of(owner, filters)
    cursor = list_books(limit=1, filters=filters).cursor

    assert "Seq Scan" not in kinds(lambda: list_books(limit=20, cursor=cursor, filters=filters))


def books_read(call: Callable[[], Any]) -> float:
    return sum(
        node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in scans(call, "EXPLAIN (ANALYZE, FORMAT JSON)")
    )


@pytest.mark.parametrize("sort", [None, "title"])
def test_a_list_of_an_author_reads_a_bounded_number_of_books(owner, sort):
    with autocommit() as connection:  # rare and common ones, whose estimates are as Postgres has it
        authors = connection.execute(
            text("SELECT author FROM books ORDER BY id LIMIT 60")
        ).scalars()
    names = {author.split()[-1] for author in authors}

    read = {
        name: books_read(
            lambda name=name: list_books(limit=20, sort=sort, filters={"author": name})
        )
        for name in names
    }

    assert max(read.values()) < 10_000, read


@pytest.mark.parametrize("filters", [{}, {"language": "eng"}, {"author": "king"}], ids=str)
@pytest.mark.parametrize("sort", [None, "title", "-created_at"])
@pytest.mark.parametrize("q", WORDS + OTHERS, ids=lambda q: q[:12])
def test_a_search_does_not_scan_the_table(owner, q, sort, filters):
    filters = {**filters, "q": q}

    assert "Seq Scan" not in kinds(lambda: list_books(limit=20, sort=sort, filters=filters))


@pytest.mark.parametrize("sort", [None, "title"])
@pytest.mark.parametrize("q", ["harry potter", "the", "t", "hary poter"])
def test_what_follows_in_a_search_does_not_scan_the_table(owner, q, sort):
    filters = {"q": q}
    cursor = list_books(limit=20, sort=sort, filters=filters).cursor

    found = kinds(lambda: list_books(limit=20, sort=sort, cursor=cursor, filters=filters))

    assert "Seq Scan" not in found


@pytest.mark.parametrize("sort", [None, "title", "-created_at"])
@pytest.mark.parametrize("q", WORDS, ids=lambda q: q[:12])
def test_a_search_reads_a_bounded_number_of_books(owner, q, sort):
    assert books_read(lambda: list_books(limit=20, sort=sort, filters={"q": q})) < 12_000


@pytest.mark.parametrize("sort", [None, "title"])
@pytest.mark.parametrize("q", ["the", "of", "t"])
def test_words_of_very_many_books_are_not_looked_up(owner, q, sort):
    filters = {"q": q}

    def look_ups(cursor: str | None = None) -> float:
        return looked_up(lambda: list_books(limit=20, sort=sort, cursor=cursor, filters=filters))

    assert look_ups() == look_ups(list_books(limit=20, sort=sort, filters=filters).cursor) == 0


@pytest.mark.parametrize("q", ["the", "of", "t"])
def test_a_common_word_is_looked_for_among_the_few_books_of_a_filter(owner, q):
    assert looked_up(lambda: list_books(limit=20, filters={"q": q, "publisher": "vintage"})) == 0


def test_a_word_of_very_many_books_is_ranked_when_a_filter_leaves_few(owner):
    found = list_books(limit=100, filters={"q": "the", "author": "rowling"}).rows

    ids = [book["id"] for book in found]
    assert ids
    assert ids != sorted(ids, reverse=True)


@pytest.fixture
def add_books(owner) -> Iterator[Callable[[int], set[str]]]:
    """Add books by Qzx, which are gone afterwards, and return their ids."""

    def add(count: int) -> set[str]:
        with db.engine.begin() as connection:
            added = connection.execute(
                text(
                    "INSERT INTO books (id, user_uid, title, author, search)"
                    " SELECT gen_random_uuid(), :owner, 'Momo', 'Qzx', to_tsvector('simple', 'qzx')"
                    " FROM generate_series(1, :count) RETURNING id::text"
                ),
                {"owner": owner, "count": count},
            )
            return set(added.scalars())

    yield add
    with db.engine.begin() as connection:
        connection.execute(text("DELETE FROM books WHERE author = 'Qzx'"))


def test_a_walk_that_began_best_first_shows_all_though_others_add_more(owner, add_books):
    filters = {"q": "qzx"}
    before = add_books(RANKED)
    page = list_books(limit=100, filters=filters)
    add_books(100)
    with db.engine.begin() as connection:  # what has changed is read last
        connection.execute(
            text("UPDATE books SET page_count = 1 WHERE id::text = ANY(:ids)"),
            {"ids": list(before)},
        )

    shown = [book["id"] for book in page.rows]
    while page.cursor:
        page = list_books(limit=100, filters=filters, cursor=page.cursor)
        shown += [book["id"] for book in page.rows]

    assert before <= set(shown)
    assert len(shown) == len(set(shown))


@pytest.mark.parametrize("q", ["the", "the of", "harry potter", "el der"])
def test_a_search_shows_as_many_books_as_it_counts(owner, q):
    shown = len(list_books(limit=100, filters={"q": q}).rows)

    assert shown == min(100, count_books({"q": q}).books)


@pytest.mark.parametrize("q", ["hary poter", "shadwo of the wind", "thehobbit", "xyzzy"])
def test_a_typo_costs_a_bounded_number_of_pages_of_tables_and_indexes(owner, q):
    def search() -> None:
        list_books(limit=20, filters={"q": q})

    search()  # the first of a session reads the catalogs of Postgres, too
    plans = plans_of(search, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)")
    read = sum(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans)

    assert read < 2_000


@pytest.mark.parametrize(
    "filters", [{}, {"language": "eng"}, {"published_from": "2000"}, {"q": "the"}], ids=str
)
def test_the_estimate_of_a_count_is_near(owner, filters):
    estimate = count_books(filters, exact=False)

    assert estimate.is_estimate
    assert 0.5 < estimate.books / count_books(filters).books < 2


@pytest.mark.parametrize("q", ["harry potter", "hary poter", "xyzzy"])
def test_a_count_of_what_is_found_does_not_scan_the_table(owner, q):
    assert "Seq Scan" not in kinds(lambda: count_books({"q": q}).books)
