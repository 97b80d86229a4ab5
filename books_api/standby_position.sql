-- Where the primary's log ends, and on which timeline.
SELECT CAST(pg_current_wal_lsn() AS text),
    CAST(CAST('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8) AS bit(32)) AS integer)
