"""How well a book fits a query."""

import re
import unicodedata
from collections.abc import Sequence

from rapidfuzz.fuzz import ratio
from rapidfuzz.utils import default_process

from books_api.books.search.words import Meaning, Word

FIELDS = {"A": 1.0, "B": 0.97, "C": 0.9}  # what a word counts in title, author, publisher
LIKENESS = 0.3  # what the likeness of the texts counts beside the words
_SUBTITLE = re.compile(r"\s*(?:\([^()]*\)\s*$|:.*)")


class Ranking:
    """A query, prepared to be compared with many books."""

    def __init__(self, words: Sequence[Word]) -> None:
        self.typed = " ".join(word.typed for word in words)
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
            best = 0.0
            for nearness, lexemes in meanings:
                if nearness <= best:
                    break
                best = max(best, nearness * min(counts(search, each) for each in lexemes))
            had += share * best
        return had + LIKENESS * likeness(self.typed, title, author)


def needles(meaning: Meaning) -> list[str]:
    """Return how the words that are meant are written in a tsvector."""
    written = [f"'{lexeme}':" for lexeme in meaning.lexemes]
    if meaning.is_unfinished:
        written[-1] = written[-1][:-2]
    return written


def counts(search: str, lexeme: str) -> float:
    """Return what the word counts where the book has it; 0 if it does not."""
    best, begin = 0.0, search.find(lexeme)
    while begin >= 0 and best < 1:
        places = search[search.index(":", begin) :].partition(" ")[0]
        best = max(best, *(weight for field, weight in FIELDS.items() if field in places))
        begin = search.find(lexeme, begin + 1)
    return best


def likeness(typed: str, title: str, author: str) -> float:
    """Return from 0 to 1 how like the title, without its series and subtitle too, or the author."""
    texts = {title, _SUBTITLE.sub("", title), author}
    return max(ratio(typed, plain(text)) for text in texts) / 100


def plain(text: str) -> str:
    """Return the text in lower case, without accents and signs."""
    if not text.isascii():
        letters = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return str(default_process(text.replace("&", " and ")))
