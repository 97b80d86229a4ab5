"""Any number of books that are like the real ones.

Titles are put together from the words of real titles, drawn as often as they occur there. A word
that occurs once stands for all that have not been seen yet: it is made anew of two such words,
so that the vocabulary grows with the catalogue, as it does in life. Half of the authors are
real ones, the other half have one's given name and another's family name. The rest is drawn
from the real books as it is, but for the ISBN, which no two have in common.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from sqlalchemy import text

from benchmarks.servers import catalogue, execute, import_file
from books_api.database import autocommit

FIELDS = ("title", "author", "publisher", "published_date", "page_count", "language", "isbn")
ISBNS = 10**9
STRIDE = 3**18  # has no factor in common with ISBNS: goes through all of them, in no order


def real_books(owner: Any) -> Sequence[Any]:
    """Import the real catalogue, read its books, and leave the table empty."""
    import_file(catalogue(), owner)
    with autocommit() as connection:
        rows = connection.execute(text(f"SELECT {', '.join(FIELDS)} FROM books ORDER BY id")).all()
    execute("TRUNCATE books, book_words, owner_words")
    return rows


def books(real: Sequence[Any], *, seed: int = 0) -> Iterator[tuple[Any, ...]]:
    """Yield the FIELDS of one book after another, the same each time for a seed."""
    random = Random(seed)
    titles = [book.title.split() for book in real]
    words = [word for title in titles for word in title]
    seen = Counter(words)
    once = [word for word in seen if seen[word] == 1]
    for number in range(seed, ISBNS):
        drawn = (random.choice(words) for _ in random.choice(titles))
        title = " ".join(
            word if seen[word] > 1 else splice(random.choice(once), random.choice(once))
            for word in drawn
        )
        author = random.choice(real).author
        if random.random() < 0.5:
            author = f"{author.partition(' ')[0]} {random.choice(real).author.rpartition(' ')[2]}"
        book = random.choice(real)
        other = (book.publisher, book.published_date, book.page_count, book.language)
        yield title[:500].strip(), author, *other, isbn13(number)


def splice(first: str, second: str) -> str:
    return first[: (len(first) + 1) // 2] + second[len(second) // 2 :]


def isbn13(number: int) -> str:
    digits = f"978{number * STRIDE % ISBNS:09d}"
    check = -sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10
    return f"{digits}{check}"
