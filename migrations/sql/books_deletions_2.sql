-- The word, and the word without one of its letters. Two words that differ by one typo (a letter
-- left out, put in, replaced or swapped with the next) have one of these in common. A loop costs an
-- eighth of a query, for each word in each of the indexes.
CREATE OR REPLACE FUNCTION books_deletions(word text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    rests text[];
BEGIN
    IF length(word) > 1 THEN
        rests := ARRAY[word];
    END IF;
    IF length(word) > 2 THEN
        FOR cut IN 1..length(word) LOOP
            rests := rests || (left(word, cut - 1) || substr(word, cut + 1));
        END LOOP;
    END IF;
    RETURN rests;
END
$$;
