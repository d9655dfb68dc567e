"""The audit chain of a tenant: its rows stand in the commits that bring them.

hash = SHA-256(hash before + body), body the canonical JSON of the row; each commit holds the bodies and hashes of
its rows, and the head holds the last one with an HMAC under a key of the store, so that a cut end is missed too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Any, Final

import msgspec

from fhir_server.store.mongo.connection import Collection
from fhir_server.store.mongo.head import START, Head
from fhir_server.store.protocol import AuditRow

KEY: Final = "audit-head"  # name of the secret that signs
_STEP: Final = 200  # commits that the server sends at once

_decode = msgspec.json.Decoder(tuple[str, AuditRow]).decode


def write_row(tenant: str, row: AuditRow) -> str:
    """Return the canonical JSON of a row: a list of the tenant and the row's fields in order."""
    return msgspec.json.encode((tenant, row)).decode()


def read_row(body: str) -> AuditRow:
    """Return the row that `write_row` wrote."""
    return _decode(body)[1]


def chained(hash: bytes, bodies: Sequence[str]) -> list[bytes]:
    """Return the hash of each row, the first following `hash`."""
    made = []
    for body in bodies:
        hash = sha256(hash + body.encode()).digest()
        made.append(hash)
    return made


def commit_fields(head: Head, rows: Sequence[tuple[str, AuditRow]]) -> dict[str, Any]:
    """Return the fields of a commit that hold its rows, which follow those of `head`.

    Args:
        head: The commit before.
        rows: (body, row).
    """
    bodies = [body for body, _ in rows]
    return {
        "first": head.audits + 1,
        "last": head.audits + len(rows),
        "rows": bodies,
        "hashes": chained(head.hash, bodies),
        "pats": sorted({patient for _, row in rows for patient in row.patients}),
    }


def sign(key: bytes, tenant: str, head: Head) -> bytes:
    """Return the signature of where a chain ends."""
    plain = tenant.encode() + b"\0" + head.audits.to_bytes(8, "big") + head.hash
    return hmac_digest(key, plain, "sha256")


async def rows(
    txn: Collection, head: Head, tenant: str, patient: str, after: int, limit: int
) -> list[tuple[int, AuditRow]]:
    """Return (seq, row) of a tenant's rows after some seq, oldest first, up to the commit of `head`."""
    found: list[tuple[int, AuditRow]] = []
    named: dict[str, Any] = {"pats": patient} if patient else {}
    where = {"t": tenant, **named, "last": {"$gt": after}, "n": {"$lte": head.n}}
    commits = txn.find(where, {"first": 1, "rows": 1}, batch_size=_STEP).sort([("last", 1)])
    async with commits:  # a commit may have megabytes of rows, so they are read one by one, no more than are asked for
        async for commit in commits:
            for seq, body in enumerate(commit["rows"], int(commit["first"])):
                if seq > after and (not patient or patient in read_row(body).patients):
                    found.append((seq, read_row(body)))
            if len(found) >= limit:
                break
    return found[:limit]


async def first_broken(txn: Collection, document: Mapping[str, Any], key: bytes) -> int | None:
    """Return the seq of the first row of a tenant that was changed, removed or added past the hub.

    Args:
        txn: The commits.
        document: The tenant's head.
        key: The secret that signs heads.
    """
    tenant, now = document["_id"], START
    async for commit in txn.find({"t": tenant, "n": {"$lte": document["n"]}}).sort([("n", 1)]):
        if commit["n"] != now.n + 1 or commit["first"] != now.audits + 1:
            return now.audits + 1
        hash = now.hash
        hashes = [bytes(one) for one in commit["hashes"]]
        if len(hashes) != len(commit["rows"]):
            return now.audits + min(len(hashes), len(commit["rows"])) + 1
        for seq, (body, stored) in enumerate(zip(commit["rows"], hashes, strict=True), now.audits + 1):
            hash = sha256(hash + body.encode()).digest()
            if not compare_digest(hash, stored):
                return seq
        now = now._replace(n=commit["n"], audits=int(commit["last"]), hash=hash)
    if now.n != document["n"]:
        return now.audits + 1
    is_signed = compare_digest(bytes(document.get("sign", b"")), sign(key, tenant, now)) or not now.n
    return None if is_signed else max(now.audits, 1)
