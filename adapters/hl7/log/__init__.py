"""The message log: search, what became of each message, accounts, profiles; commands and pages."""
