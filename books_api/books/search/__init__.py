"""Search: what q finds. Any string is a legal q; books/filters.py turns an ISBN into a filter.

From what was typed to the page, each step a function that can be called alone:

1. words.read_words(): Postgres folds q, as it folded the books, and parts it into words. How
   telling a word is, is counted among the newest of the books that the filters let through.
2. What a word may mean (words.py): itself, unfinished, joined with its neighbour, torn in two, in
   the other number, in other numerals, with ä for ae; and if no book has that, words that a typo
   makes of it (typos.py), among those of the owner's books in the books of one owner.
3. candidates.find_candidates(): the books that have all telling words; if there are none, all but
   one, all but two, and so on to any one of them. Of each word any meaning will do. An index has
   the words of all books; where filters leave few, or all have the words, these are read instead.
4. rank.Ranking: how well a book fits, by the words that it has and by how alike the texts are.
5. pages.Search: a page of the ranked books. More than RANKED come newest first: up to WALKED are
   read along the order of the list before the index is asked for all.

What exists is asked of the books that the filters let through, never of others: they change
nothing that is found. A cursor holds the meanings, so that a walk goes on as it began, whatever
others write in between.
"""

from books_api.books.search.candidates import QUERY, Within, has
from books_api.books.search.pages import Search, meaning

__all__ = ["QUERY", "Search", "Within", "has", "meaning"]
