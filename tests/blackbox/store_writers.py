"""A process that writes to a store and says on its standard output what was acknowledged.

python -m tests.blackbox.store_writers PLACE NAME WRITERS UNITS: PLACE is a file, or the URL of a database; writes units NAME-0, NAME-1 ... and prints each
name once its unit is durable; UNITS 0 goes on until it is killed.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys

from fhir_server.search.values import Indexed, Token
from fhir_server.store.mongo import MongoStore
from fhir_server.store.protocol import AuditRow, Store, Transaction, Write
from fhir_server.store.sqlite import SqliteStore

INDEXED = Indexed({"code": (Token("", "c"),)}, ("p",))


def store_at(place: str) -> Store:
    """Return the store in a file or at a URL."""
    if place.startswith("mongodb:"):
        return MongoStore(place, index=lambda _: INDEXED)
    return SqliteStore(place, index=lambda _: INDEXED)


async def run(place: str, name: str, writers: int, units: int) -> None:
    store = store_at(place)
    await store.open()
    numbers = iter(range(units)) if units else itertools.count()

    async def writer() -> None:
        for n in numbers:
            await store.transact("t", work_of(f"{name}-{n}"))
            os.write(1, f"{name}-{n}\n".encode())

    await asyncio.gather(*(writer() for _ in range(writers)))
    await store.close()


def work_of(unit: str):  # type: ignore[no-untyped-def]
    async def work(tx: Transaction) -> None:
        for half in "ab":
            await tx.put(
                Write("Observation", f"{unit}-{half}", 1, tx.now, "POST", b'{"x":"' + b"y" * 700 + b'"}', INDEXED)
            )
        shared = await tx.read("Basic", "shared")
        version = shared.version + 1 if shared else 1
        await tx.put(Write("Basic", "shared", version, tx.now, "PUT", b"{}", Indexed({}, ())))
        await tx.put_record("outbox", unit, "new", b"row")
        await tx.audit(AuditRow(tx.now, "s", "", "C", "create", "Observation", ("p",), 0, "TREAT", unit))

    return work


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
