"""Versioned storage behind one contract: memory, SQLite."""
