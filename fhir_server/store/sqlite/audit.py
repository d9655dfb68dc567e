"""The audit chain: each row's hash covers the one before, and a signed head tells where it ends.

hash = SHA-256(hash before + body), body the canonical JSON of the row; the head is (seq, hash) with an HMAC
under a key of the store, so that rows cut off at the end are missed too.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Final, NamedTuple

import apsw

START: Final = b"\0" * 32  # the hash before the first row
KEY: Final = "audit-head"  # name of the secret that signs


class Head(NamedTuple):
    """The last row of the chain."""

    seq: int
    hash: bytes


class Chain:
    """The end of the chain, inside a transaction of the writer.

    Args:
        head: Where it ends now.
        key: The secret that signs the head.
    """

    def __init__(self, head: Head, key: bytes) -> None:
        self._key = key
        self.head = self._begin = head

    def link(self, tenant: int, body: str) -> tuple[int, int, str, bytes]:
        """Return the next row of the table."""
        self.head = Head(self.head.seq + 1, sha256(self.head.hash + body.encode()).digest())
        return self.head.seq, tenant, body, self.head.hash

    @property
    def has_grown(self) -> bool:
        """Whether rows were added."""
        return self.head is not self._begin

    def signed(self) -> bytes:
        """Return the head with its signature."""
        return _sign(self.head, self._key)


def last_head(connection: apsw.Connection) -> Head:
    """Return where the chain ends in the file."""
    row = connection.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return Head(*row) if row else Head(0, START)


def _sign(head: Head, key: bytes) -> bytes:
    plain = head.seq.to_bytes(8, "big") + head.hash
    return plain + hmac_digest(key, plain, "sha256")


MANY: Final = 5_000  # rows that are listed by patient at once; fewer are looked through when asked

_LISTED: Final = "coalesce((SELECT n FROM counter WHERE tenant = 0 AND name = 'audit-patients'), 0)"
_PATIENTS: Final = "json_each(a.body, '$[1][6]')"  # AuditRow.patients


def index_patients(connection: apsw.Connection) -> int:
    """List whom the next MANY rows tell of; return the seq of the last row that is listed now."""
    # In the order of the table, so that each of its pages is written once.
    connection.execute(
        f"""BEGIN IMMEDIATE;
        INSERT OR IGNORE INTO audit_patient SELECT a.tenant, p.value, a.seq FROM audit a, {_PATIENTS} p
            WHERE a.seq > {_LISTED} AND a.seq <= {_LISTED} + {MANY} ORDER BY 1, 2, 3;
        INSERT OR REPLACE INTO counter SELECT 0, 'audit-patients', min({_LISTED} + {MANY}, max(seq)) FROM audit;
        COMMIT"""  # noqa: S608 - numbers of ours
    ).fetchall()
    return listed(connection)


def listed(connection: apsw.Connection) -> int:
    """Return the seq of the last row that is listed by patient."""
    made: int = connection.execute(f"SELECT {_LISTED}").get
    return made


def select(patient: str) -> str:
    """Return the statement that gives (seq, body) of a tenant's rows after some seq, of a patient if one is named.

    Its values: :tenant, :after, :patient, :limit.
    """
    if not patient:
        return "SELECT seq, body FROM audit WHERE tenant = :tenant AND seq > :after ORDER BY seq LIMIT :limit"
    return f"""SELECT * FROM (
        SELECT a.seq, a.body FROM audit_patient p CROSS JOIN audit a ON a.seq = p.seq
            WHERE p.tenant = :tenant AND p.patient = :patient AND p.seq > :after ORDER BY p.seq LIMIT :limit)
        UNION ALL SELECT * FROM (
        SELECT a.seq, a.body FROM audit a WHERE a.tenant = :tenant AND a.seq > max(:after, {_LISTED})
            AND EXISTS (SELECT 1 FROM {_PATIENTS} p WHERE p.value = :patient) ORDER BY a.seq LIMIT :limit)
        ORDER BY 1 LIMIT :limit"""  # noqa: S608


def verify(connection: apsw.Connection, key: bytes) -> int | None:
    """Return the seq of the first row that was changed, removed or added past the hub; None for a whole chain.

    Args:
        connection: Inside a transaction.
        key: The secret that signs the head.
    """
    head = Head(0, START)
    for seq, body, stored in connection.execute("SELECT seq, body, hash FROM audit ORDER BY seq"):
        made = sha256(head.hash + body.encode()).digest()
        if seq != head.seq + 1:
            return head.seq + 1
        if not compare_digest(made, stored):
            return int(seq)
        head = Head(seq, made)
    row = connection.execute("SELECT n FROM counter WHERE tenant = 0 AND name = 'audit'").fetchone()
    if row is None:
        return 1 if head.seq else None
    if not isinstance(row[0], bytes) or not compare_digest(row[0], _sign(Head(*_read(row[0])), key)):
        return head.seq
    signed = _read(row[0])
    if signed == head:
        return None
    return min(signed.seq, head.seq) + 1 if signed.seq != head.seq else head.seq


def _read(signed: bytes) -> Head:
    return Head(int.from_bytes(signed[:8], "big"), signed[8:40])
