"""One SQLite transaction that carries many units of work: what they write is gathered, then written at once.

Rows wait in lists and go out in one statement per table, since a statement costs more than a row. A unit that
searches sees all that was written before it, since the lists are written first; one that fails is taken back
out of the lists, or undone by its savepoint.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Final, TypeVar

from fhir_server.store.protocol import Meanwhile
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.audit import Chain
from fhir_server.store.sqlite.known import Known
from fhir_server.store.sqlite.reading import tenant_number
from fhir_server.store.sqlite.session import Session
from fhir_server.store.sqlite.statements import TABLES, insert

K = TypeVar("K")
V = TypeVar("V")

_ABSENT: Final = object()


class Repeat(Exception):
    """An id that was taken for new was not; run the batch again with each one looked up."""


class Batch:
    """The state of one transaction of the writer.

    Args:
        session: The writer's connection, in a transaction that writes.
        known: What the writer knows of the file.
        audit_key: Signs the head of the audit chain.
        careful: Whether ids that claim to be new are looked up first.
    """

    def __init__(self, session: Session, known: Known, audit_key: bytes, *, careful: bool = False) -> None:
        known.refresh(session.connection)
        self.session, self.connection = session, session.connection
        self.known, self.careful = known, careful
        self.terms, self.rows, self.hash, self.overlay = known.terms, known.rows, known.hash, known.overlay
        self.lists: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
        self._rows = tuple(self.lists.values())
        self._marks: list[int] = []  # lengths of the lists when the unit began
        self._journal: list[tuple[MutableMapping[Any, Any], Any, Any]] = []
        self._new_terms: list[int] = []
        self._saved = False
        self._in_unit = False
        self.counters: dict[tuple[int, str], int] = {}  # changed ones
        self.tally: dict[tuple[int, str], int] = {}  # changes of counts
        self.chain = Chain(known.head, audit_key)
        self._chain_before = self.chain.head
        self.wrote = False
        self.meanwhile: list[Meanwhile] = []  # what units want done while the disk is waited for
        self.numbers: dict[Any, Any] = {}  # what those of drafts stand for, by tenant and block (see draft.py)
        self.replaced: set[int] = set()  # versions whose index rows wait again
        self.erased: set[int] = set()  # types something was erased of

    # --- units ---------------------------------------------------------------------------------------------

    def begin_unit(self, clock: Callable[[], int]) -> int:
        """Start a unit of work; return its time, larger than any before."""
        self._marks = list(map(len, self._rows))
        self._journal.clear()
        self._new_terms.clear()
        self._saved, self._in_unit = False, True
        self.known.now = max(clock(), self.known.now + 1)
        return self.known.now

    def end_unit(self) -> None:
        """Keep what the unit wrote."""
        if self._saved:
            self.connection.execute("RELEASE unit")
        self._in_unit = False

    def undo_unit(self) -> None:
        """Take back what the unit wrote."""
        for rows, mark in zip(self._rows, self._marks, strict=True):
            del rows[mark:]
        if self._saved:
            self.connection.execute("ROLLBACK TO unit; RELEASE unit").fetchall()
            self.chain.head = self._chain_before
        for mapping, key, before in self._journal[::-1]:
            if before is _ABSENT:
                mapping.pop(key, None)
            else:
                mapping[key] = before
        if self._new_terms:
            self.terms.drop(set(self._new_terms))
        self.numbers.clear()
        self.rows.forget()
        self._in_unit = False

    def set(self, mapping: MutableMapping[K, V], key: K, value: V) -> None:
        """Change one of the batch's maps so that undoing the unit restores it."""
        self._journal.append((mapping, key, mapping.get(key, _ABSENT)))
        mapping[key] = value

    def count(self, k: int, name: str, change: int) -> None:
        """Change a tally."""
        self.set(self.tally, (k, name), self.tally.get((k, name), 0) + change)

    # --- tenants and terms ---------------------------------------------------------------------------------

    def tenant(self, name: str) -> int:
        """Return a tenant's number, giving it one on its first write."""
        found: int = self.overlay.get(("tenant", name), 0) or tenant_number(self.connection, name)
        if not found:
            self.flush()
            found = self.connection.execute("SELECT coalesce(max(id), 0) + 1 FROM tenant").get
            self.lists["tenant"].append((found, name))
            self.set(self.overlay, ("tenant", name), found)
        elif ("tenant", name) not in self.overlay:
            self.overlay["tenant", name] = found
        return found

    def term(self, tenant: int, type: str, kind: str, params: str, system: str) -> int:
        """Return the number of a term, making it where it is new."""
        found = self.terms.id(tenant, type, kind, params, system)
        if found:
            return found
        made = self.terms.newest + 1
        self.lists["term"].append((made, tenant, type, kind, params, system))
        self.terms.add(made, tenant, type, kind, params, system)
        self._new_terms.append(made)
        return made

    # --- writing -------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the rows that wait, so that statements see them."""
        if self._in_unit and not self._saved:
            if any(self._marks):
                own = [rows[mark:] for rows, mark in zip(self._rows, self._marks, strict=True)]
                for rows, mark in zip(self._rows, self._marks, strict=True):
                    del rows[mark:]
                self._write()
                for rows, mine in zip(self._rows, own, strict=True):
                    rows += mine
                self._marks = [0] * len(self._rows)
            if any(self._rows):
                self.connection.execute("SAVEPOINT unit")
                self._saved, self._chain_before = True, self.chain.head
        self._write()

    def statement(self, sql: str, values: tuple[Any, ...]) -> None:
        """Run a statement of the unit at once, after all that waits."""
        self.flush()
        if not self._saved:
            self.connection.execute("SAVEPOINT unit")
            self._saved, self._chain_before = True, self.chain.head
        self.connection.execute(sql, values)
        self.wrote = True

    def will_erase(self, k: int) -> None:
        """Have all that is deleted from now on, to the end of the batch, overwritten with zeros.

        Args:
            k: The type of what is erased; its texts that nothing has any more go with the batch.
        """
        if not self.erased:
            self.connection.execute("PRAGMA secure_delete = ON").fetchall()
        self.erased.add(k)

    def _drop_texts(self) -> None:
        """Delete the texts of types something was erased of that no resource has, and forget that they are there."""
        ts = [term.id for k in self.erased for term in self.terms.beside(k) if term.kind in (terms.TEXT, terms.URI)]
        self.connection.execute(
            "DELETE FROM text WHERE t IN (SELECT value FROM json_each(?))"
            " AND NOT EXISTS (SELECT 1 FROM token x WHERE x.t = text.t AND x.c = text.c)",
            (str(ts),),
        )
        self.rows.forget()

    def _write(self) -> None:
        for table, rows in self.lists.items():
            if not rows:
                continue
            self.wrote = True
            made = [self.chain.link(*row) for row in rows] if table == "audit" else rows
            changed = insert(self.connection, table, made)
            if table == "new_resource" and changed != len(rows):
                raise Repeat
            rows.clear()
        self.replaced.clear()

    @property
    def waiting(self) -> int:
        """How many rows wait to be written."""
        return sum(map(len, self.lists.values()))

    def finish(self) -> None:
        """Write what is left, the counts and the clock: all that COMMIT needs."""
        self._in_unit = False
        self._write()
        if self.erased:
            self._drop_texts()
        if self.tally:
            insert(self.connection, "tally", [self._tally(k) for k in {k for k, _ in self.tally}])
        if self.wrote or self.counters:
            rows: list[tuple[Any, ...]] = [(*key, n) for key, n in self.counters.items()]
            known = self.known
            rows += [(0, "now", known.now), (0, "record", known.record_seq), (0, "at", known.at)]
            if self.chain.has_grown:
                rows.append((0, "audit", self.chain.signed()))
            insert(self.connection, "counter", rows)
            self.wrote = True
        self.known.head = self.chain.head
        self.numbers.clear()  # they hold the batch: else a block's values would wait for the collector of cycles

    def _tally(self, k: int) -> tuple[int, int, int]:
        return k, self.tally.get((k, "current"), 0), self.tally.get((k, "versions"), 0)
