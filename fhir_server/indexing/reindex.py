"""Indexing anew: page by page, over all tenants, while others read and write.

A page is read in one state and written in a transaction that looks again: what changed since then was indexed by who
changed it. So nothing is lost, and a page that is done twice is only done twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from fhir_server import gate
from fhir_server.indexing.definitions import Definitions
from fhir_server.model import Resource, Version
from fhir_server.search.query import Query
from fhir_server.search.registry import SearchParameters
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import Store, Transaction

PAGE: Final = 100  # resources of a transaction
GRACE: Final = 2_000_000  # microseconds in which every process has noticed a new definition (`room.POLL_S`)


class State(msgspec.Struct):
    """How far a run has come; all of it is JSON."""

    types: list[str]
    places: list[tuple[str, str]]  # (tenant, type) that are left, the first under way
    known: list[tuple[str, int]]  # definitions that this run indexes, by id and since when
    not_before: int  # microseconds since 1970: when every process knows them
    after: list[Any] | None = None  # cursor in the first place
    done: int = 0
    total: int = 0


encode = msgspec.json.encode
decode: Final = msgspec.json.Decoder(State).decode


class Reindexing:
    """Indexes the resources of a store anew.

    Args:
        store: Open.
        index: Resource -> index values, by all that is defined in this process.
        registry: What is defined.
        definitions: Of the store.
        types: Every resource type.
    """

    def __init__(
        self,
        store: Store,
        index: Callable[[Resource], Indexed],
        registry: SearchParameters,
        definitions: Definitions,
        types: frozenset[str],
    ) -> None:
        self._store, self._index, self._registry, self._definitions = store, index, registry, definitions
        self._types = types

    async def begin(self, types: Sequence[str] = ()) -> State:
        """Return the state of a run over these types; over all where none is named."""
        await self._definitions.load()
        chosen = sorted(set(types) or self._types)
        known = [kept.definition for kept in self._registry.kept if set(kept.definition.base) <= set(chosen)]
        tenants = await self._store.tenants()
        state = State(
            types=chosen,
            places=[(tenant, type) for tenant in tenants for type in chosen],
            known=[(definition.id, definition.since) for definition in known],
            not_before=max((definition.since for definition in known), default=-GRACE) + GRACE,
        )
        for tenant in tenants:
            async with self._store.view(tenant) as view:
                state.total += await view.count(tuple(chosen), ())
        return state

    async def step(self, state: State) -> bool:
        """Index one page and note it in the state; False where nothing is left."""
        if not state.places:
            return False
        tenant, type = state.places[0]
        after = None if state.after is None else tuple(state.after)
        async with self._store.view(tenant) as view:
            found = await view.search(Query((type,), count=PAGE, total="none", after=after))
        if found.versions:
            await self.write(tenant, found.versions)
            state.done += len(found.versions)
        if found.after is None:
            del state.places[0]
        state.after = None if found.after is None else list(found.after)
        return bool(state.places)

    async def write(self, tenant: str, versions: Sequence[Version]) -> None:
        """Replace the index values of current versions; those that are current no more are left alone."""
        made = [(version, self._index(gate.load(version.body))) for version in versions]

        async def work(tx: Transaction) -> None:
            for version, indexed in made:
                current = await tx.read(version.type, version.id)
                if current is not None and current.seq == version.seq:
                    await tx.reindex(version.type, version.id, indexed)

        await self._store.transact(tenant, work)

    async def end(self, state: State) -> None:
        """Let what was defined when the run began answer from now on."""
        await self._definitions.settle(state.known, whole=set(state.types) >= self._types)
