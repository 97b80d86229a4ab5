-- Logs what a statement has changed, whoever has sent it. Of one transaction and one book the last
-- change counts. The id of the transaction is its place in the order: see books/changes.py.
CREATE FUNCTION books_log_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO book_changes (changed_in, book_id, user_uid, is_deletion)
    SELECT pg_current_xact_id()::text::bigint, id, user_uid, TG_OP = 'DELETE' FROM changed_books
    ON CONFLICT (changed_in, book_id) DO UPDATE SET is_deletion = excluded.is_deletion;
    RETURN NULL;
END
$$;
