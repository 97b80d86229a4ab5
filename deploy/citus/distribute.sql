-- Distributes the schema of migration 0022 with Citus 13, by owner (key=user_uid) or by book (key=id).
-- A trial, see docs/scaling.md for what is lost. On the coordinator, with the workers added, after
-- `flask db upgrade` there:
--
--     psql -1 -v ON_ERROR_STOP=1 -v key=id -v shards=8 -f application.sql -f distribute.sql
--
-- users, sessions, idempotency_keys, revocations and blocklist_copy stay as they are, on the coordinator,
-- whose transaction ids and advisory locks revocation rests on. No application connects to a worker.

SET client_min_messages = warning;
SELECT :'key' = 'user_uid' AS by_owner \gset

-- Words are learned by learn.sql.
DROP TRIGGER books_learn_words_of_insert ON books;
DROP TRIGGER books_learn_words_of_update ON books;
DROP TRIGGER books_log_changes_of_insert ON books;
DROP TRIGGER books_log_changes_of_update ON books;
DROP TRIGGER books_log_changes_of_delete ON books;

-- Unique is only what has the key in it: the same id may be there once for each owner.
\if :by_owner
ALTER TABLE books DROP CONSTRAINT pk_books, ADD CONSTRAINT pk_books PRIMARY KEY (id, user_uid);
\endif
ALTER TABLE book_changes DROP CONSTRAINT pk_book_changes,
    ADD CONSTRAINT pk_book_changes PRIMARY KEY (changed_in, book_id, user_uid);

-- Books refer to the ids of users, of which every node has a copy. A reference table of users itself
-- would bring sessions and idempotency_keys under Citus, which refuses now() in what updates them.
CREATE TABLE owners (id uuid PRIMARY KEY);
INSERT INTO owners SELECT id FROM users;
ALTER TABLE books DROP CONSTRAINT fk_books_user_uid;
ALTER TABLE books ADD CONSTRAINT fk_books_user_uid
    FOREIGN KEY (user_uid) REFERENCES owners (id) ON DELETE CASCADE;
CREATE FUNCTION users_copy_ids() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO owners VALUES (NEW.id);
    ELSE
        DELETE FROM owners WHERE id = OLD.id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER users_copy_ids AFTER INSERT OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION users_copy_ids();

SELECT create_reference_table('owners');
SELECT create_reference_table('book_words');
SELECT create_distributed_table('books', :'key', shard_count => :shards);
\if :by_owner
SELECT create_distributed_table('book_changes', 'user_uid', colocate_with => 'books');
SELECT create_distributed_table('owner_words', 'user_uid', colocate_with => 'books');
\else
SELECT create_distributed_table('book_changes', 'book_id', colocate_with => 'books');
SELECT create_reference_table('owner_words');
\endif

-- A statement of Citus cannot read a transition table ("could not find named tuplestore"): one call for
-- each book, on its shard. There the id of the transaction is the worker's: the order of changes holds
-- within a worker only.
CREATE OR REPLACE FUNCTION books_log_changes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    book books := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    INSERT INTO book_changes (changed_in, book_id, user_uid, is_deletion)
    VALUES (pg_current_xact_id()::text::bigint, book.id, book.user_uid, TG_OP = 'DELETE')
    ON CONFLICT (changed_in, book_id, user_uid) DO UPDATE SET is_deletion = excluded.is_deletion;
    RETURN NULL;
END
$$;
CREATE TRIGGER books_log_changes AFTER INSERT OR UPDATE OR DELETE ON books
    FOR EACH ROW EXECUTE FUNCTION books_log_changes();
