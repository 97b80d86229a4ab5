CREATE OR REPLACE FUNCTION books_words(folded text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ 
        SELECT regexp_replace(
            folded,
            '([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])',
            ' \1 ', 'g'
        ) $$;
