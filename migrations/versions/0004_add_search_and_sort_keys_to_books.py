"""Add search and sort keys to books"""

from alembic import op

revision = "0004"
down_revision = "0003"

# Bodies are strings: what is not (RETURN ...) came with Postgres 14.
FUNCTIONS = {
    # Lower case without accents, punctuation as one space. What NFKD takes apart and is no accent
    # (Hangul, Japanese voicing) NFC puts together again; letters with a stroke have no
    # decomposition.
    "books_fold(value text) RETURNS text LANGUAGE sql": r"""
        SELECT btrim(regexp_replace(
            replace(translate(
                normalize(
                    regexp_replace(normalize(lower(value), NFKD), '[\u0300-\u036f]+', '', 'g'), NFC
                ),
                'øłđħŧı', 'oldhti'
            ), 'ß', 'ss'),
            '[^[:alnum:]]+', ' ', 'g'
        ))""",
    # Chinese and Japanese are written without spaces: each of their letters counts as a word.
    "books_words(folded text) RETURNS text LANGUAGE sql": r"""
        SELECT regexp_replace(
            folded,
            '([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])',
            ' \1 ', 'g'
        )""",
    # All words, the last perhaps unfinished; the letters just spoken of next to each other.
    "books_words_query(folded text) RETURNS tsquery LANGUAGE sql": """
        SELECT to_tsquery('simple'::regconfig, string_agg(
            regexp_replace(btrim(books_words(word)), ' +', ' <-> ', 'g'), ' & ' ORDER BY place
        ) || ':*')
        FROM (
            SELECT word, max(place) AS place
            FROM unnest(string_to_array(folded, ' ')) WITH ORDINALITY AS typed (word, place)
            GROUP BY word
        ) AS words""",
}
COLUMNS = """
ALTER TABLE books
    ADD COLUMN search tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('simple'::regconfig, books_words(books_fold(title))), 'A')
        || setweight(to_tsvector('simple'::regconfig, books_words(books_fold(author))), 'B')
        || setweight(
            to_tsvector('simple'::regconfig, books_words(books_fold(coalesce(publisher, '')))), 'C'
        )
    ) STORED,
    ADD COLUMN search_text text GENERATED ALWAYS AS (
        books_fold(title || ' ' || author || ' ' || coalesce(publisher, ''))
    ) STORED,
    ADD COLUMN author_text text GENERATED ALWAYS AS (books_fold(author)) STORED
"""
INDEXES = {
    "ix_books_search": "USING gin (search)",
    "ix_books_search_text": "USING gin (search_text gin_trgm_ops)",
    "ix_books_author_text": "USING gin (author_text gin_trgm_ops)",
    "ix_books_updated": "(updated_at, id)",
    "ix_books_title": '((left(books_fold(title), 100) COLLATE "C"), id)',
    "ix_books_author": '((left(author_text, 100) COLLATE "C"), id)',
    "ix_books_published": "((coalesce(published_on - DATE '0001-01-01', 9999999)), id)",
    "ix_books_page_count": "((coalesce(page_count, 100001)), id)",
    "ix_books_isbn": "(isbn)",
    "ix_books_publisher": "(left(books_fold(publisher), 100), created_at, id)",
    "ix_books_language": "(lower(language), created_at, id)",
}


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    for signature, body in FUNCTIONS.items():
        op.execute(f"CREATE FUNCTION {signature} IMMUTABLE STRICT PARALLEL SAFE AS $$ {body} $$")
    op.execute(COLUMNS)
    for name, definition in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON books {definition}")


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
    op.execute(
        "ALTER TABLE books DROP COLUMN author_text, DROP COLUMN search_text, DROP COLUMN search"
    )
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature.partition('(')[0]}")
    # The extension stays: another schema may use it.
