CREATE OR REPLACE FUNCTION books_deletions(word text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ 
        SELECT array_agg(DISTINCT rest)
        FROM generate_series(1, length(word) + 1) AS cut,
            LATERAL (SELECT left(word, cut - 1) || substr(word, cut + 1)) AS deletion (rest)
        WHERE length(rest) > 1 $$;
