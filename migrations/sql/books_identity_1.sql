-- Without an ISBN, two books of one owner are the same when their identities are equal: title (with
-- its subtitle), author, date and publisher. Folded is what books_fold() returns.
-- Folding takes C++ and C# for C, and leaves nothing of a title of emoji: signs, and a title of
-- which nothing is left, are compared as they are. In PL/pgSQL for the reason of books_fold().
CREATE FUNCTION books_identity(
    title text, folded_title text, folded_author text, published_date text, folded_publisher text
) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN coalesce(nullif(folded_title, ''), title)
        || '|' || folded_author
        || '|' || coalesce(published_date, '')
        || '|' || coalesce(folded_publisher, '')
        || '|' || regexp_replace(title, '[^#+]+', '', 'g');
END
$$
