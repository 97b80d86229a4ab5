-- What an owner's books have is kept for the owner, and what is new there for all, the commonest
-- first. Two transactions that bring the same new word both add it: neither waits for the other.
-- One look into an index for each word, whatever Postgres thinks of a table that grows while a plan
-- is kept: no scan; and with OFFSET 0 an EXISTS does not become a join, which may read it all.
CREATE OR REPLACE FUNCTION books_learn_words() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    WITH learned AS (
        INSERT INTO owner_words (user_uid, word)
        SELECT user_uid, word
        FROM (
            SELECT user_uid, word, count(*) AS times
            FROM new_books, unnest(tsvector_to_array(search)) AS word
            WHERE length(word) <= 40 GROUP BY user_uid, word
        ) AS found
        WHERE NOT EXISTS (
            SELECT FROM owner_words o
            WHERE o.word = found.word AND o.user_uid = found.user_uid OFFSET 0
        )
        ORDER BY times DESC, word
        RETURNING word
    )
    INSERT INTO book_words (word)
    SELECT word
    FROM (SELECT word, row_number() OVER () AS place FROM learned) AS found
    WHERE NOT EXISTS (SELECT FROM book_words b WHERE b.word = found.word OFFSET 0)
    GROUP BY word ORDER BY min(place);
    RETURN NULL;
END
$$;
