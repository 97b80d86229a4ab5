-- The deletions that more than 500 words share, by the statistics of the last ANALYZE: no language
-- has them, but an import of nonsense may. To look one up costs what all of its words cost.
-- Only the owner of an index may read its statistics, hence SECURITY DEFINER.
CREATE FUNCTION books_crowded_deletions() RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT coalesce(array_agg(common.rest), '{}')
    FROM pg_stats,
        unnest(most_common_elems::text::text[], most_common_elem_freqs) AS common (rest, share)
    WHERE schemaname = current_schema() AND tablename = 'ix_book_words_deletions'
        AND common.rest IS NOT NULL AND 500 < common.share * (
            SELECT reltuples FROM pg_class WHERE oid = 'ix_book_words_deletions'::regclass
        )
$$;
