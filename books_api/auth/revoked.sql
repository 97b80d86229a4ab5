-- What is revoked: the rows of the keys, which of the transactions are over, and the name of the
-- Redis whose copy is believed, in one snapshot.
SELECT key, CAST(ceil(extract(epoch FROM expires_at)) AS bigint), value
    FROM revocations WHERE key = ANY(:keys)
UNION ALL
SELECT xid, 0, 0 FROM unnest(CAST(:xids AS text[])) AS xid
    WHERE pg_visible_in_snapshot(CAST(xid AS xid8), pg_current_snapshot())
UNION ALL
SELECT name, -1, 0 FROM blocklist_copy WHERE NOT pg_is_in_recovery()
