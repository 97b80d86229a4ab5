-- What was meant, when no book has all words as they are typed. A word may be any that is one
-- typo away, of those the first in the catalogue: as a rule they are the commonest; or a part
-- of a word that was torn in two, or two words that ran together; the last may be unfinished.
-- What is like no word counts for nothing. A word that is in some book stands for itself
-- only; if no book has all of these, it may be any that is one typo away, too, and what has one
-- or two letters counts for nothing. Chinese and Japanese stay as they are.
--
-- Bounded, whatever is typed and whatever words were imported: of the words that may be misspelt
-- the eight longest, of the words near to one the first 1,000 that are found, and none by a
-- deletion that more than 500 words share.
CREATE OR REPLACE FUNCTION books_near_query(folded text) RETURNS tsquery
LANGUAGE plpgsql STABLE STRICT SET enable_seqscan = off AS $$
DECLARE
    near tsquery;
    known_stay boolean;
    crowded text[] := books_crowded_deletions();
BEGIN
    FOREACH known_stay IN ARRAY ARRAY[true, false] LOOP
        WITH typed AS (
            SELECT word, place, books_words(word) <> word AS is_exact,
                lag(word) OVER places AS before, lead(word) OVER places AS after,
                CASE WHEN lead(word) OVER places IS NULL THEN ':*' ELSE '' END AS ending,
                1 + 100 / count(*) OVER () AS most
            FROM unnest(string_to_array(folded, ' ')) WITH ORDINALITY AS t (word, place)
            WINDOW places AS (ORDER BY place)
        ), known AS (
            SELECT *, EXISTS (
                SELECT FROM book_words b WHERE b.word BETWEEN typed.word
                AND typed.word || CASE ending WHEN '' THEN '' ELSE U&'\+10FFFF' END
            ) AS is_known
            FROM typed WHERE known_stay OR is_exact OR length(word) > 2
        ), told AS MATERIALIZED (
            SELECT *, is_stable OR 8 < row_number() OVER (
                    PARTITION BY is_stable ORDER BY length(word) DESC, place
                ) AS stays,
                ARRAY(SELECT unnest(books_deletions(word)) EXCEPT SELECT unnest(crowded)) AS rests
            FROM (
                SELECT *, is_exact OR is_known AND known_stay OR length(word) > 80 AS is_stable
                FROM known
            ) AS k
        )
        SELECT
            to_tsquery('simple', string_agg('(' || meanings || ')', ' & ' ORDER BY place))
        INTO near
        FROM told CROSS JOIN LATERAL (
            SELECT string_agg(meaning, ' | ') FROM (
                SELECT
                    regexp_replace(btrim(books_words(word)), ' +', ' <-> ', 'g') || ending
                WHERE is_exact OR is_known
                UNION (
                    SELECT b.word FROM (
                        SELECT b.id, b.word FROM book_words b
                        WHERE NOT stays AND books_deletions(b.word) && rests LIMIT 1000
                    ) AS b
                    ORDER BY id LIMIT most
                )
                UNION
                SELECT joined FROM unnest(ARRAY[before || word, word || after]) AS joined
                WHERE NOT stays AND EXISTS (
                    SELECT FROM book_words b WHERE b.word = joined OFFSET 0
                )
                UNION
                SELECT first || ' <-> ' || second
                FROM generate_series(1, length(word) - 1) AS cut,
                    unnest(ARRAY[1, 2]) AS gap,  -- a letter may be typed for the space
                    LATERAL (
                        SELECT left(word, cut), substr(word, cut + gap)
                    ) AS halves (first, second)
                WHERE NOT stays
                    AND EXISTS (SELECT FROM book_words b WHERE b.word = first OFFSET 0)
                    AND EXISTS (SELECT FROM book_words b WHERE b.word = second OFFSET 0)
            ) AS m (meaning)
        ) AS n (meanings)
        HAVING bool_or(meanings IS NOT NULL AND (is_exact OR length(word) > 2));
        EXIT WHEN EXISTS (SELECT FROM books WHERE search @@ near);
    END LOOP;
    RETURN near;
END
$$;
