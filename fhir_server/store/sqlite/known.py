"""What the writer knows of the file from one batch to the next, as long as nobody else writes to it."""

from __future__ import annotations

from typing import Any, Final

import apsw

from fhir_server.store.sqlite.audit import Head, last_head, listed
from fhir_server.store.sqlite.rows import RowMaker
from fhir_server.store.sqlite.terms import HashText, Terms

_ENTRIES: Final = 10_000  # of the overlay
_BYTES: Final = 16_000_000  # of the bodies in it


class Known:
    """Caches of the writer.

    Args:
        hash_text: The store's hash.
    """

    def __init__(self, hash_text: HashText) -> None:
        self.hash = hash_text
        self.terms, self.rows = Terms(), RowMaker(hash_text)
        self.overlay: dict[Any, Any] = {}  # current versions, rows of rooms, tenants, epochs, by key
        self.bytes = 0  # of bodies in the overlay, about
        self.seq = self.record_seq = self.now = 0
        self.at = -(2**63)  # the largest time of a version
        self.head = Head(0, b"")
        self.listed = 0  # last row of the audit chain that is listed by patient
        self.changes = 0  # how often somebody else was found to have written since
        self._state: int | None = None  # of the file, when this was true

    def refresh(self, connection: apsw.Connection) -> None:
        """Look whether somebody else wrote; the connection is in a transaction that writes.

        Source: https://www.sqlite.org/pragma.html#pragma_data_version
        """
        state: int = connection.execute("PRAGMA data_version").get
        if state == self._state:
            return
        self.changes += self._state is not None
        self.forget()
        self.terms.refresh(connection)
        row: Any = connection.execute(
            "SELECT (SELECT max(seq) FROM version), (SELECT n FROM counter WHERE tenant = 0 AND name = 'record'),"
            " (SELECT n FROM counter WHERE tenant = 0 AND name = 'now'),"
            " (SELECT n FROM counter WHERE tenant = 0 AND name = 'at'),"
            " (SELECT n FROM counter WHERE tenant = 0 AND name = 'seq')"
        ).fetchone()
        self.seq = max(row[0] or 0, row[4] or 0)  # the newest versions may have been erased
        self.record_seq = row[1] or 0
        self.now = max(self.now, row[2] or 0)
        self.at = -(2**63) if row[3] is None else row[3]
        self.head, self.listed = last_head(connection), listed(connection)
        self._state = state

    def has_erased(self, connection: apsw.Connection) -> bool:
        """Return whether anything was ever erased in the file."""
        found = connection.execute("SELECT 1 FROM counter WHERE tenant = 0 AND name = 'seq'").fetchone()
        return found is not None

    def forget(self) -> None:
        """Forget everything but the time: what was written is undone, or the file has changed."""
        self.overlay.clear()
        self.bytes = 0
        self.terms = Terms()
        self.rows.forget()
        self._state = None

    def trim(self) -> None:
        """Let the overlay not grow beyond its bounds; only between batches."""
        if len(self.overlay) > _ENTRIES or self.bytes > _BYTES:
            self.overlay.clear()
            self.bytes = 0
