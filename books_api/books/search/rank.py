"""How well a book fits a query."""

import re
import unicodedata
from collections.abc import Sequence

from rapidfuzz.fuzz import ratio
from rapidfuzz.utils import default_process

from books_api.books.search.words import Meaning, Word

LIKENESS = 0.3  # what the likeness of the texts counts beside the words
_SUBTITLE = re.compile(r"\([^()]*\)\s*$|:.*")
_BETWEEN_NAMES = re.compile("[/;,]")


class Ranking:
    """A query, prepared to be compared with many books."""

    def __init__(self, q: str, words: Sequence[Word]) -> None:
        self.typed = plain(q)
        weight = sum(word.weight for word in words)
        self.words = [
            (word.weight / weight, [(each.nearness, needles(each)) for each in word.nearest])
            for word in words
        ]

    def rank(self, title: str, author: str, search: str) -> float:
        """Return the share of the words that the book has, and a bonus for its likeness.

        `search` is the book's tsvector as text.
        """
        had = 0.0
        for share, meanings in self.words:
            for nearness, lexemes in meanings:
                if all(map(search.__contains__, lexemes)):
                    had += share * nearness
                    break
        return had + LIKENESS * likeness(self.typed, title, author)


def needles(meaning: Meaning) -> list[str]:
    """Return how the words that are meant are written in a tsvector."""
    written = [f"'{lexeme}':" for lexeme in meaning.lexemes]
    if meaning.is_unfinished:
        written[-1] = written[-1][:-2]
    return written


def likeness(typed: str, title: str, author: str) -> float:
    """Return from 0 to 1 how like the title, its main part, or a name or surname of the author."""
    texts = [plain(title)]
    if ":" in title or ")" in title:
        texts.append(plain(_SUBTITLE.sub("", title)))
    for name in map(plain, _BETWEEN_NAMES.split(author)):
        texts += name, name.rpartition(" ")[2]
    return max([ratio(typed, text) for text in texts]) / 100


def plain(text: str) -> str:
    """Return the text in lower case, without accents and signs.

    Only what went through this is compared with it: books_fold() in Postgres knows more letters.
    """
    if not text.isascii():
        letters = unicodedata.normalize("NFKD", text)
        text = "".join([letter for letter in letters if not unicodedata.combining(letter)])
    return " ".join(default_process(text.replace("&", " and ")).split())
