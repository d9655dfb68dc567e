"""Reading what is stored, in one snapshot: statements and what comes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec

from fhir_server.model import Record, Version
from fhir_server.store.protocol import AuditRow
from fhir_server.store.sqlite import audit, terms
from fhir_server.store.sqlite.body import COLUMNS, read_row
from fhir_server.store.sqlite.terms import Terms

_CURRENT: Final = f"SELECT {COLUMNS} FROM resource r JOIN version v ON v.seq = r.seq WHERE r.k = ? AND r.id = ?"  # noqa: S608
_CURRENT_OF: Final = (
    f"SELECT {COLUMNS} FROM json_each(?2) i CROSS JOIN resource r ON r.k = ?1 AND r.id = i.value"  # noqa: S608
    " JOIN version v ON v.seq = r.seq"
)
_NUMBERED: Final = (
    f"SELECT {COLUMNS} FROM superseded s JOIN version v ON v.seq = s.seq"  # noqa: S608
    " WHERE s.k = ? AND s.id = ? AND s.version = ?"
)
RECORD: Final = "kind, key, state, lane, seq, at, body"
_RECORDS_OF: Final = (
    f"SELECT {RECORD} FROM record WHERE tenant = ? AND kind = ? AND key IN (SELECT value FROM json_each(?))"  # noqa: S608
)
_read_audit = msgspec.json.Decoder(tuple[str, AuditRow]).decode


class Snapshot:
    """What one connection sees of one tenant.

    Args:
        connection: Inside a transaction.
        terms: Of its side; refreshed when something is not found in it.
        tenant: Number of the tenant, 0 where nothing was written for it yet.
    """

    def __init__(self, connection: apsw.Connection, terms: Terms, tenant: int) -> None:
        self.connection, self.terms, self.tenant = connection, terms, tenant

    def type_term(self, type: str) -> int:
        """Return the number of a type, 0 where no resource of it was ever written."""
        found = self.terms.id(self.tenant, type, terms.TYPE)
        if not found:
            self.terms.refresh(self.connection)
            found = self.terms.id(self.tenant, type, terms.TYPE)
        return found

    def read(self, type: str, id: str) -> Version | None:
        """Return the newest version."""
        row = self.connection.execute(_CURRENT, (self.type_term(type), id)).fetchone()
        return read_row(type, row) if row else None

    def read_many(self, type: str, ids: Sequence[str]) -> list[Version]:
        """Return the newest versions of those that are there."""
        rows = self.connection.execute(_CURRENT_OF, (self.type_term(type), msgspec.json.encode(ids).decode()))
        return [read_row(type, row) for row in rows]

    def vread(self, type: str, id: str, version: int) -> Version | None:
        """Return one version."""
        current = self.read(type, id)
        if current is None or version > current.version:
            return None
        if version == current.version:
            return current
        row = self.connection.execute(_NUMBERED, (self.type_term(type), id, version)).fetchone()
        return read_row(type, row) if row else None

    def log(self, after: int, limit: int) -> list[Version]:
        """Return versions of all types with seq > after, oldest first."""
        self.terms.refresh(self.connection)
        names = {k: name for name, k in self.terms.types(self.tenant).items()}
        ks = ",".join(map(str, names))
        rows = self.connection.execute(
            f"SELECT {COLUMNS}, v.k FROM version v WHERE v.seq > ? AND v.k IN ({ks}) ORDER BY v.seq LIMIT ?",  # noqa: S608
            (after, limit),
        )
        return [read_row(names[row[-1]], row[:-1]) for row in rows]

    def record(self, kind: str, key: str) -> Record | None:
        """Return a room's row."""
        row = self.connection.execute(
            f"SELECT {RECORD} FROM record WHERE tenant = ? AND kind = ? AND key = ?",  # noqa: S608
            (self.tenant, kind, key),
        ).fetchone()
        return Record(*row) if row else None

    def records_of(self, kind: str, keys: Sequence[str]) -> list[Record]:
        """Return the rows of a kind that are there."""
        rows: Any = self.connection.execute(_RECORDS_OF, (self.tenant, kind, msgspec.json.encode(keys).decode()))
        return [Record(*row) for row in rows]

    def records(
        self, kind: str, state: str | None, lane: str | None, after: int, before: int | None, limit: int
    ) -> list[Record]:
        """Return rows of a kind, oldest first; with `before` those below it, newest first."""
        where, values, index = "tenant = ? AND kind = ? AND seq > ?", [self.tenant, kind, after], "record_kind"
        if before is not None:
            where, values = where + " AND seq < ?", [*values, before]
        if state is not None:
            where, values, index = where + " AND state = ?", [*values, state], "record_state"
        if lane is not None:
            where, values = where + " AND lane = ?", [*values, lane]
        if lane:  # only rows that name a lane are in its index
            where, index = where + " AND lane <> ''", "record_lane"
        order = "ASC" if before is None else "DESC"
        sql = f"SELECT {RECORD} FROM record INDEXED BY {index} WHERE {where} ORDER BY seq {order} LIMIT ?"  # noqa: S608
        return [Record(*row) for row in self.connection.execute(sql, (*values, limit))]

    def record_kinds(self) -> list[str]:
        """Return the kinds of rows that there are."""
        sql = "SELECT DISTINCT kind FROM record WHERE tenant = ? ORDER BY kind"
        return [row[0] for row in self.connection.execute(sql, (self.tenant,))]

    def epoch(self) -> int:
        """Return the tenant's epoch."""
        found = self.connection.execute(
            "SELECT n FROM counter WHERE tenant = ? AND name = 'epoch'", (self.tenant,)
        ).fetchone()
        return found[0] if found else 0

    def audits(self, patient: str, after: int, limit: int) -> list[tuple[int, AuditRow]]:
        """Return rows of the audit chain, oldest first."""
        values = {"tenant": self.tenant, "after": after, "patient": patient, "limit": limit}
        return [(seq, read_audit(body)) for seq, body in self.connection.execute(audit.select(patient), values)]


def write_audit(tenant: str, row: AuditRow) -> str:
    """Return the canonical JSON of an audit row: a list of the tenant and the row's fields in order."""
    return msgspec.json.encode((tenant, row)).decode()


def read_audit(body: str) -> AuditRow:
    """Return the row that `write_audit` wrote."""
    return _read_audit(body)[1]


def tenant_number(connection: apsw.Connection, name: str) -> int:
    """Return a tenant's number, 0 where it has none."""
    found: Any = connection.execute("SELECT id FROM tenant WHERE name = ?", (name,)).get
    return found or 0
