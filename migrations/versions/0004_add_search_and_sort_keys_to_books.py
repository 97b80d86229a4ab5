"""Add search and sort keys to books"""

from alembic import op

revision = "0004"
down_revision = "0003"

# Lower case without accents, punctuation as one space. What NFKD takes apart and is no accent
# (Hangul, Japanese voicing) NFC puts together again; letters with a stroke have no decomposition.
FOLD = r"""
CREATE FUNCTION books_fold(value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN btrim(regexp_replace(
    replace(translate(
        normalize(
            regexp_replace(normalize(lower(value), NFKD), '[\u0300-\u036f]+', '', 'g'), NFC
        ),
        'øłđħŧı', 'oldhti'
    ), 'ß', 'ss'),
    '[^[:alnum:]]+', ' ', 'g'
))
"""
COLUMNS = """
ALTER TABLE books
    ADD COLUMN search tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('simple'::regconfig, books_fold(title)), 'A')
        || setweight(to_tsvector('simple'::regconfig, books_fold(author)), 'B')
        || setweight(to_tsvector('simple'::regconfig, books_fold(coalesce(publisher, ''))), 'C')
    ) STORED,
    ADD COLUMN search_text text GENERATED ALWAYS AS (
        books_fold(title || ' ' || author || ' ' || coalesce(publisher, ''))
    ) STORED
"""
INDEXES = {
    "ix_books_search": "USING gin (search)",
    "ix_books_search_text": "USING gin (search_text gin_trgm_ops)",
    "ix_books_author_text": "USING gin (books_fold(author) gin_trgm_ops)",
    "ix_books_updated": "(updated_at, id)",
    "ix_books_title": '((left(books_fold(title), 100) COLLATE "C"), id)',
    "ix_books_author": '((left(books_fold(author), 100) COLLATE "C"), id)',
    "ix_books_published": "((coalesce(published_on, DATE '9999-12-31')), id)",
    "ix_books_page_count": "((coalesce(page_count, 100001)), id)",
    "ix_books_isbn": "(isbn)",
    "ix_books_publisher": "(left(books_fold(publisher), 100), created_at, id)",
    "ix_books_language": "(lower(language), created_at, id)",
}


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute(FOLD.replace(r"\u0300-\u036f", "\u0300-\u036f"))
    op.execute(COLUMNS)
    for name, definition in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON books {definition}")


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
    op.execute("ALTER TABLE books DROP COLUMN search_text, DROP COLUMN search")
    op.execute("DROP FUNCTION books_fold")
    # The extension stays: another schema may use it.
