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
    """The end of the chain, inside a transaction of the writer."""

    def __init__(self, connection: apsw.Connection, key: bytes) -> None:
        self._key = key
        self.head = self._begin = _last(connection)

    def link(self, tenant: int, body: bytes) -> tuple[int, int, bytes, bytes]:
        """Return the next row of the table."""
        self.head = Head(self.head.seq + 1, sha256(self.head.hash + body).digest())
        return self.head.seq, tenant, body, self.head.hash

    @property
    def has_grown(self) -> bool:
        """Whether rows were added."""
        return self.head is not self._begin

    def signed(self) -> bytes:
        """Return the head with its signature."""
        return _sign(self.head, self._key)


def _last(connection: apsw.Connection) -> Head:
    row = connection.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return Head(*row) if row else Head(0, START)


def _sign(head: Head, key: bytes) -> bytes:
    plain = head.seq.to_bytes(8, "big") + head.hash
    return plain + hmac_digest(key, plain, "sha256")


def verify(connection: apsw.Connection, key: bytes) -> int | None:
    """Return the seq of the first row that was changed, removed or added past the hub; None for a whole chain.

    Args:
        connection: Inside a transaction.
        key: The secret that signs the head.
    """
    head = Head(0, START)
    for seq, body, stored in connection.execute("SELECT seq, body, hash FROM audit ORDER BY seq"):
        made = sha256(head.hash + body).digest()
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
