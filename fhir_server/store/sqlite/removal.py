"""Taking index rows back, and erasing a resource as if it had never been.

What is erased is overwritten with zeros (`PRAGMA secure_delete`); the writer empties the WAL after the commit,
since its frames hold the bodies too (see writer.py).
Sources: https://www.sqlite.org/pragma.html#pragma_secure_delete, https://www.sqlite.org/wal.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from fhir_server import gate
from fhir_server.model import Resource, Version
from fhir_server.search.values import Indexed
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.batch import Batch
from fhir_server.store.sqlite.body import COLUMNS, read_row

_TEXTS: Final = (terms.TEXT, terms.URI)  # kinds of terms whose texts are kept in a table of their own


class Removal:
    """Removes in one tenant, inside a unit of work.

    Args:
        batch: Where it writes.
        tenant: Number.
        index: Gives the values of a resource.
    """

    def __init__(self, batch: Batch, tenant: int, index: Callable[[Resource], Indexed]) -> None:
        self._batch, self._tenant, self._index = batch, tenant, index

    def rows(self, k: int, before: Version) -> None:
        """Remove the index rows of a version that is current no more."""
        batch, lists = self._batch, self._batch.lists
        indexed = self._index(gate.load(before.body))
        term_of = partial(batch.term, self._tenant, before.type)
        rows = batch.rows.build(k, before.type, indexed, before.seq, before.at, term_of)
        lists["no_token"].append((k, 0, before.seq))
        lists["no_token"] += rows.token
        lists["no_span"] += rows.span
        lists["no_timeline"] += rows.timeline
        lists["no_head"].append((before.seq,))
        lists["no_fact"].append((before.seq,))
        batch.count(k, "current", -1)

    def erase(self, k: int, type: str, id: str) -> int:
        """Remove every version of a resource and all that the index has of it; return how many versions."""
        batch = self._batch
        batch.flush()
        versions = self._versions(k, type, id)
        if not versions:
            return 0
        batch.will_erase()
        current = versions[-1]
        if not current.is_deleted:
            self.rows(k, current)
            batch.flush()
        history = batch.terms.id(self._tenant, type, terms.HISTORY)
        for version in versions:
            batch.statement("DELETE FROM token WHERE t = ? AND c = 0 AND seq = ?", (history, version.seq))
            batch.statement("DELETE FROM version WHERE seq = ?", (version.seq,))
        batch.statement("DELETE FROM superseded WHERE k = ? AND id = ?", (k, id))
        batch.statement("DELETE FROM resource WHERE k = ? AND id = ?", (k, id))
        self._texts(type, versions)
        batch.count(k, "versions", -len(versions))
        batch.set(batch.counters, (0, "seq"), batch.known.seq)  # the numbers of what is gone are not given again
        return len(versions)

    def _versions(self, k: int, type: str, id: str) -> list[Version]:
        rows = self._batch.connection.execute(
            f"SELECT {COLUMNS} FROM version v WHERE v.k = ? AND v.seq IN"  # noqa: S608 - columns of ours
            " (SELECT seq FROM superseded WHERE k = ? AND id = ?"
            " UNION ALL SELECT seq FROM resource WHERE k = ? AND id = ?) ORDER BY v.seq",
            (k, k, id, k, id),
        )
        return [read_row(type, row) for row in rows]

    def _texts(self, type: str, versions: Iterable[Version]) -> None:
        """Forget the texts that only these versions had."""
        batch = self._batch
        texts = {
            (t, text, c)
            for version in versions
            if not version.is_deleted
            for t, text, c in self._texts_of(type, version)
        }
        for t, text, c in sorted(texts):
            batch.statement(
                "DELETE FROM text WHERE t = ? AND text = ? AND NOT EXISTS (SELECT 1 FROM token WHERE t = ? AND c = ?)",
                (t, text, t, c),
            )
        batch.rows.forget()  # which takes texts that were written for written

    def _texts_of(self, type: str, version: Version) -> list[tuple[int, str, int]]:
        batch = self._batch
        batch.rows.forget()
        term_of = partial(batch.term, self._tenant, type)
        return batch.rows.build(0, type, self._index(gate.load(version.body)), version.seq, version.at, term_of).text
