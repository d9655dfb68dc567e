"""When a message came first: what relative times are counted from, so that a copy means the same instants."""

from __future__ import annotations

import hashlib
from typing import Final

from fhir_server.interface import Asking, Core, Writing

KIND: Final = "device-arrival"
KEPT_US: Final = 86_400_000_000  # a copy comes within a day
SWEPT: Final = 20  # rows looked at, oldest first, each time one is written


def arrival_key(*parts: str) -> str:
    """Return the key of a message: a digest, so that nothing of it can be read from the row."""
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()[:40]


async def seen_arrival(core: Core, tenant: str, key: str) -> int | None:
    """Return when a message came that was seen under a key, microseconds since 1970; None where none is known."""

    async def work(asking: Asking) -> int | None:
        record = await asking.record(KIND, key)
        return record.at if record is not None else None

    at: int | None = await core.ask(tenant, work)
    return at


async def first_arrival(core: Core, tenant: str, key: str, *, is_copy: bool = True) -> int:
    """Return when a message came first, microseconds since 1970; now, and kept, where it was not seen.

    Args:
        core: The door.
        tenant: Whose rows.
        key: Of `arrival_key`.
        is_copy: Whether it may be a copy of one before; else its time is now, whatever was seen under the key.
    """

    async def work(writing: Writing) -> int:
        before = await writing.record(KIND, key)
        if before is not None and is_copy and writing.now - before.at < KEPT_US:
            return before.at
        for old in await writing.records(KIND, limit=SWEPT):
            if writing.now - old.at >= KEPT_US and old.key != key:
                await writing.drop_record(KIND, old.key)
        return (await writing.put_record(KIND, key, "seen", b"")).at

    at: int = await core.transact(tenant, work)
    return at
