-- The words of books, and those of each owner's books, the commonest first: neither knows of the
-- other. Two transactions that bring the same new word both add it: neither waits for the other.
-- One look into an index for each word, whatever Postgres thinks of a table that grows while a plan
-- is kept: no scan; and with OFFSET 0 an EXISTS does not become a join, which may read it all.
CREATE OR REPLACE FUNCTION books_learn_words() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    WITH found AS (
        SELECT user_uid, word, count(*) AS times
        FROM new_books, unnest(tsvector_to_array(search)) AS word
        WHERE length(word) <= 40 GROUP BY user_uid, word
    ), learned AS (
        INSERT INTO owner_words (user_uid, word)
        SELECT user_uid, word FROM found
        WHERE NOT EXISTS (
            SELECT FROM owner_words o
            WHERE o.user_uid = found.user_uid AND o.word = found.word OFFSET 0
        )
        ORDER BY times DESC, word
    )
    INSERT INTO book_words (word)
    SELECT word FROM found
    WHERE NOT EXISTS (SELECT FROM book_words b WHERE b.word = found.word OFFSET 0)
    GROUP BY word ORDER BY sum(times) DESC, word;
    RETURN NULL;
END
$$;
