"""Readers of messages: one module for each kind; each turns a tree of segments into people (`draft.Person`)."""
