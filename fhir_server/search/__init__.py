"""Search: text in, typed questions and index values out; no I/O."""
