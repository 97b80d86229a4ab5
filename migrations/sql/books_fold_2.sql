-- Lower case without accents, punctuation as one space, & as "and". What NFKD takes apart and is no
-- accent (Hangul, Japanese voicing) NFC puts together again; letters with a stroke and ligatures
-- have no decomposition. ASCII has none of it: its length in bytes tells, and saves two thirds.
-- PL/pgSQL keeps its plan. Postgres puts SQL in line, for which it parses it seven times with each
-- insert of one book, a sixth of what the insert costs.
CREATE OR REPLACE FUNCTION books_fold(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN btrim(regexp_replace(
        replace(
            CASE WHEN octet_length(value) = length(value) THEN lower(value)
            ELSE replace(replace(replace(replace(translate(
                normalize(
                    regexp_replace(normalize(lower(value), NFKD), '[\u0300-\u036f]+', '', 'g'), NFC
                ),
                'øłđħŧıðƀɨƶǥŋ', 'oldhtidbizgn'
            ), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th') END,
            '&', ' and '
        ),
        '[^[:alnum:]]+', ' ', 'g'
    ));
END
$$;
