-- Chinese, Japanese, Thai, Lao, Burmese and Khmer are written without spaces, and Korean particles
-- follow their noun without one: each of their letters counts as a word.
-- In PL/pgSQL for the reason of books_fold().
CREATE OR REPLACE FUNCTION books_words(folded text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN CASE WHEN octet_length(folded) = length(folded) THEN folded ELSE regexp_replace(
        folded,
        '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af'
        '\uf900-\ufaff\U00020000-\U0003ffff])',
        ' \1 ', 'g'
    ) END;
END
$$;
