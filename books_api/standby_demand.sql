-- Fails, with the reason, unless this is a standby that has replayed the primary's log up to there.
-- The control file learns of a new timeline some time after it has begun, and never before.
SELECT CAST(
    CASE WHEN pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= %(end_lsn)s
        AND min_recovery_end_timeline = %(end_timeline)s
    THEN '0'
    ELSE concat('replayed ', pg_last_wal_replay_lsn(), ' of ', %(end_lsn)s, ', timeline ',
        min_recovery_end_timeline, ' of ', %(end_timeline)s, ', standby: ', pg_is_in_recovery())
    END AS integer)
FROM pg_control_recovery();
