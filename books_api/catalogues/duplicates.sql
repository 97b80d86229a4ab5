-- The books that the records of a batch mean. A record that has the id of a book of the owner's
-- means that book. Else an ISBN decides; without one it is the identity (books_identity()). What is
-- not among the owner's books may be an earlier record of the batch: its first_number.
-- Each record's rows come best last.
-- LATERAL with LIMIT means one look into an index for each record, whatever the planner thinks of
-- tables that nobody has analyzed. Of several books the oldest counts, the same each time.
-- Identities are worked out only if a record has no ISBN.
WITH keys AS MATERIALIZED (
    SELECT number, isbn, user_uid, books_identity(
        title, books_fold(title), books_fold(author), published_date, books_fold(publisher)
    ) AS identity
    FROM import_rows WHERE EXISTS (SELECT FROM import_rows WHERE isbn IS NULL)
)
SELECT number, book_id::text, first_number FROM (
    SELECT r.number, b.id AS book_id, NULL::integer AS first_number, 3 AS rank
    FROM import_rows r CROSS JOIN LATERAL (
        SELECT id FROM books WHERE id = r.given_id AND user_uid = r.user_uid LIMIT 1 /* lock */
    ) b WHERE r.given_id IS NOT NULL
    UNION ALL
    SELECT r.number, b.id, NULL, 2
    FROM import_rows r CROSS JOIN LATERAL (
        SELECT id FROM books WHERE isbn = r.isbn AND user_uid = r.user_uid
        ORDER BY id LIMIT 1 /* lock */
    ) b WHERE r.isbn IS NOT NULL
    UNION ALL
    SELECT k.number, b.id, NULL, 2
    FROM keys k CROSS JOIN LATERAL (
        SELECT id FROM books
        WHERE hashtextextended(
                user_uid::text || books_identity(
                    title, books_fold(title), author_text, published_date, books_fold(publisher)
                ), 0
            ) = hashtextextended(k.user_uid::text || k.identity, 0)
            AND user_uid IS NOT DISTINCT FROM k.user_uid
            AND books_identity(
                title, books_fold(title), author_text, published_date, books_fold(publisher)
            ) = k.identity
        ORDER BY id LIMIT 1 /* lock */
    ) b WHERE k.isbn IS NULL
    UNION ALL
    SELECT number, NULL, first_number, 1
    FROM (
        SELECT number, min(number) OVER (PARTITION BY isbn) AS first_number
        FROM import_rows WHERE isbn IS NOT NULL
    ) alike WHERE number > first_number
    UNION ALL
    SELECT number, NULL, first_number, 1
    FROM (
        SELECT number, isbn, min(number) OVER (PARTITION BY identity) AS first_number FROM keys
    ) alike WHERE isbn IS NULL AND number > first_number
) found ORDER BY number, rank
