"""Whether the right book comes first; `python -m benchmarks search` asks more, of all books."""

import csv
import io

from benchmarks.search import queries, work
from books_api.books.lists import list_books
from books_api.database import transaction
from books_api.model_base import new_id
from tests.books.catalogue import COLUMNS, rows


def test_of_100_searches_96_find_the_right_book_first_and_99_among_ten(app, alice):
    asked = queries()[::4]
    meant = set().union(*(query.right for query in asked))
    file = io.StringIO()
    csv.writer(file).writerows(
        (new_id(), *row, alice.id)
        for number, row in enumerate(rows())
        if not number % 5 or work(*row[:2]) in meant
    )
    file.seek(0)
    with app.app_context():
        with transaction(long=True) as connection:
            cursor = connection.connection.cursor()
            cursor.copy_expert(f"COPY books ({COLUMNS}) FROM STDIN WITH (FORMAT csv)", file)

        ranks = [query.rank(list_books(limit=10, filters={"q": query.q}).rows) for query in asked]

    missed = {query.q: rank for query, rank in zip(asked, ranks, strict=True) if rank != 1}
    assert len(missed) <= 4, missed
    assert list(missed.values()).count(0) <= 1, missed
