-- Learns the words of books in place of the triggers: every minute, on the coordinator. A trigger on a
-- shard must write to its own node only: one that writes words to others ends the workers with each insert
-- of 100 books (Citus 13.2.2, segmentation fault at COMMIT PREPARED). A transaction lasts ten minutes at most.
INSERT INTO owner_words (user_uid, word)
SELECT b.user_uid, w.word FROM books b, unnest(tsvector_to_array(b.search)) AS w (word)
WHERE b.updated_at > now() - interval '15 minutes' AND length(w.word) <= 40
EXCEPT SELECT user_uid, word FROM owner_words;

INSERT INTO book_words (word) SELECT word FROM owner_words EXCEPT SELECT word FROM book_words;
