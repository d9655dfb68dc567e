"""A store that is being filled by `predmp move`: marked until all of it is there, so that nobody serves half of it."""

from __future__ import annotations

from typing import Final

from fhir_server.errors import Unavailable
from fhir_server.store.protocol import Store, Transaction

COPY: Final = "copy"  # kind of record; it is no part of what is copied
_KEY: Final = "under-way"


async def mark(tx: Transaction) -> None:
    """Say that a tenant is not wholly there yet."""
    await tx.put_record(COPY, _KEY, "", b"")


async def unmark(tx: Transaction) -> None:
    """Say that it is."""
    await tx.drop_record(COPY, _KEY)


async def is_marked(store: Store) -> bool:
    """Whether the store is a copy that has not ended."""
    for tenant in await store.tenants():
        async with store.view(tenant) as view:
            if await view.record(COPY, _KEY) is not None:
                return True
    return False


async def check_whole(store: Store) -> None:
    """Raise Unavailable where the store is a copy that has not ended."""
    if await is_marked(store):
        raise Unavailable("The store is a copy that was broken off: the same predmp move again goes on with it.")
