-- The words of each current resource (`_content`), by seq: as search/words.py folds them, so that `ascii` parts them
-- where it does. The text itself is not kept; to remove a row its words are given again. With secure-delete they
-- leave the index at once. https://www.sqlite.org/fts5.html
CREATE VIRTUAL TABLE words USING fts5(text, content='', columnsize=0, detail=none, tokenize='ascii');
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
