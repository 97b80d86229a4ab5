CREATE OR REPLACE FUNCTION books_learn_words() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$ 
        BEGIN
            INSERT INTO book_words (word)
            SELECT word
            FROM (
                SELECT word, count(*) AS times
                FROM new_books, unnest(tsvector_to_array(search)) AS word
                WHERE length(word) <= 40 GROUP BY word
            ) AS found
            WHERE NOT EXISTS (
                SELECT FROM book_words b WHERE b.word = found.word OFFSET 0
            )
            ORDER BY times DESC, word;
            RETURN NULL;
        END $$;
