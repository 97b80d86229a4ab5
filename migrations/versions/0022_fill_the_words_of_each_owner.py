"""Fill the words of each owner

Nobody waits: books are only read, batch by batch. Interrupted, it can be run again.
"""

from alembic import op

revision = "0022"
down_revision = "0021"

FILL = """
    DO $$
    DECLARE
        after uuid := '00000000-0000-0000-0000-000000000000';
        ids uuid[];
    BEGIN
        LOOP
            ids := ARRAY(SELECT id FROM books WHERE id > after ORDER BY id LIMIT 5000);
            EXIT WHEN ids = '{}';
            INSERT INTO owner_words (user_uid, word)
            SELECT user_uid, word
            FROM (
                SELECT user_uid, word, count(*) AS times
                FROM books, unnest(tsvector_to_array(search)) AS word
                WHERE id = ANY(ids) AND length(word) <= 40 GROUP BY user_uid, word
            ) AS found
            WHERE NOT EXISTS (
                SELECT FROM owner_words o
                WHERE o.user_uid = found.user_uid AND o.word = found.word OFFSET 0
            )
            ORDER BY times DESC, word;
            COMMIT;
            after := ids[cardinality(ids)];
        END LOOP;
    END $$
"""
INDEX = "ix_owner_words_middle"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET enable_seqscan = off")  # the statistics know of no words yet
        op.execute(FILL)
        op.execute("RESET enable_seqscan")
        op.execute("SET lock_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")  # an interrupted one is invalid
        op.execute(
            f"CREATE INDEX CONCURRENTLY {INDEX} ON owner_words (user_uid, substr(word, 3, 3))"
        )
        op.execute("SET lock_timeout = '5s'")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY {INDEX}")
