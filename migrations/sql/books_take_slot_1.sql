-- Takes one of the owner's slots for the transaction, or refuses: what one user may have running
-- at once is counted by Postgres, for all processes and machines. A lock of the transaction cannot
-- leak: it ends with the statement, whatever becomes of the client and the worker.
CREATE FUNCTION books_take_slot(owner text, slots integer) RETURNS void
LANGUAGE plpgsql STRICT AS $$
BEGIN
    FOR slot IN 1..slots LOOP
        IF pg_try_advisory_xact_lock(hashtextextended('slot ' || owner, slot)) THEN
            RETURN;
        END IF;
    END LOOP;
    RAISE 'no free slot' USING ERRCODE = 'U0429';
END
$$;
