-- A uri's text by its hash, for sorting.
CREATE INDEX text_c ON text (t, c);
