"""The store in one SQLite file, through apsw."""

from fhir_server.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
