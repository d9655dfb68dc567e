"""The search parameters that a store's SearchParameter resources define.

They belong to the whole hub: they are resources of its own tenant, and every tenant is searched by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from fhir_server.errors import Conflict, Forbidden, Issue, Unprocessable
from fhir_server.indexing.form import index_form
from fhir_server.model import Actor, Change, Record, Resource
from fhir_server.search.definition import (
    Definition,
    clash,
    decode,
    encode,
    is_served_already,
    known_parameters,
    read_definition,
)
from fhir_server.search.registry import Kept, SearchParameters
from fhir_server.store.protocol import Store, Transaction, View

DEFINITION: Final = "search-parameter"  # record: one for each active one, key its resource's id, state as below
INDEX: Final = "search-index"  # record: what there is one of, by the keys below
REVISION: Final = "revision"  # changes with every definition; its body is the time
FORM: Final = "form"  # the digest that all resources were indexed with
PENDING: Final = "pending"
READY: Final = "ready"
MOST: Final = 200  # definitions of a hub
_OPERATORS: Final = "Search parameters belong to the whole hub: they are the operator's to write."

Settled = Sequence[tuple[str, int]]
"""Definitions, by id and by when they took their form."""


class Definitions:
    """Keeps the registry of this process as the store says.

    Args:
        store: Open.
        tenant: Whose SearchParameters count.
        registry: Of this process.
        zone: Of dates that name none; a part of the form of the index.
    """

    def __init__(self, store: Store, tenant: str, registry: SearchParameters, zone: str) -> None:
        self._store, self._tenant, self._registry, self._zone = store, tenant, registry, zone
        self._seen = b""

    async def load(self) -> None:
        """Take in what the store has; a store without any resource is given the form of this release."""
        async with self._store.view(self._tenant) as view:
            self._seen = await _body(view, REVISION)
            records = await _all(view)
            is_new = not await _body(view, FORM) and not await view.log(limit=1)
        self._registry.replace(Kept(decode(record.body), record.state == READY) for record in records)
        if is_new:
            await self._store.transact(self._tenant, self._write_form)

    async def refresh(self) -> None:
        """Take in what another process changed."""
        async with self._store.view(self._tenant) as view:
            revision = await _body(view, REVISION)
        if revision != self._seen:
            await self.load()

    @property
    def pending(self) -> list[Definition]:
        """Definitions that not every resource is indexed by yet."""
        return [kept.definition for kept in self._registry.kept if not kept.is_ready]

    async def is_of_this_form(self) -> bool:
        """Whether every resource was indexed as this release indexes."""
        async with self._store.view(self._tenant) as view:
            return await _body(view, FORM) == self._form

    @property
    def _form(self) -> bytes:
        return index_form(self._zone).encode()

    async def _write_form(self, tx: Transaction) -> None:
        await tx.put_record(INDEX, FORM, "", self._form)

    # --- inside transactions -------------------------------------------------------------------------------

    async def take(self, tx: Transaction, changes: Sequence[Change], actor: Actor) -> None:
        """Keep what written SearchParameters define.

        Raises:
            Forbidden: The caller is not the operator.
            Conflict: Another definition has the code already, or there are too many.
            Unprocessable: A definition cannot be evaluated here; every reason is named.
        """
        own = [change for change in changes if change.version.type == "SearchParameter"]
        if not own:
            return
        if not actor.is_operator:
            raise Forbidden(_OPERATORS)
        kept = {record.key: record for record in await _all(tx)}
        touched = False
        for change in own:
            touched |= await self._take(tx, change, kept)
        if touched:
            await tx.put_record(INDEX, REVISION, "", str(tx.now).encode())

    async def _take(self, tx: Transaction, change: Change, kept: dict[str, Record]) -> bool:
        id, resource = change.version.id, change.resource
        is_active = not change.version.is_deleted and resource.get("status") == "active"
        if not is_active or is_served_already(resource):
            if id in kept:
                await tx.drop_record(DEFINITION, id)
                del kept[id]
                return True
            return False
        made = self._made(tx.tenant, id, resource, kept, tx.now)
        before = decode(kept[id].body) if id in kept else None
        if before is not None and before.name == made.name:  # indexed the same: nothing is to be done anew
            made, state = replace(made, since=before.since), kept[id].state
        else:
            state = PENDING
        kept[id] = await tx.put_record(DEFINITION, id, state, encode(made))
        return True

    def _made(self, tenant: str, id: str, resource: Resource, kept: Mapping[str, Record], now: int) -> Definition:
        """Return what an active SearchParameter defines beside the others; raise what `take` raises."""
        if tenant != self._tenant:
            raise Unprocessable(
                "Active search parameters belong to the whole hub: they are written in its own tenant.",
                expression="SearchParameter.status",
            )
        others = {key: decode(record.body) for key, record in kept.items() if key != id}
        made = read_definition({**resource, "id": id}, known_parameters(_by_url(others)), since=now)
        _check_others(made, others)
        return made

    async def foresee(self, view: View, id: str, resource: Resource, actor: Actor) -> None:
        """Raise what `take` would of a SearchParameter, valid by R4's own rules, that is only planned."""
        if not actor.is_operator:
            raise Forbidden(_OPERATORS)
        if resource.get("status") == "active" and not is_served_already(resource):
            self._made(view.tenant, id, resource, {record.key: record for record in await _all(view)}, 0)

    # --- when resources were indexed anew ------------------------------------------------------------------

    async def settle(self, known: Settled, *, whole: bool) -> None:
        """Let definitions answer, those that are still what they were when indexing began.

        Args:
            known: That all resources of their types are indexed by now.
            whole: Whether resources of every type were indexed anew.
        """

        async def work(tx: Transaction) -> None:
            for id, since in known:
                record = await tx.record(DEFINITION, id)
                if record is not None and record.state == PENDING and decode(record.body).since == since:
                    await tx.put_record(DEFINITION, id, READY, record.body)
            if whole:
                await self._write_form(tx)
            await tx.put_record(INDEX, REVISION, "", str(tx.now).encode())

        await self._store.transact(self._tenant, work)
        await self.load()


def _by_url(others: Mapping[str, Definition]) -> dict[str, Definition]:
    return {definition.url: definition for definition in others.values()}


def _check_others(made: Definition, others: Mapping[str, Definition]) -> None:
    if clash(made, list(others.values())) is not None:
        text = "Another active search parameter has this code for the same type; retire it first."
        raise Conflict(text, issues=[Issue("duplicate", text, "SearchParameter.code")])
    if len(others) >= MOST:
        raise Conflict(f"The hub has {MOST} active search parameters, which is the most it takes.")


async def _body(view: View, key: str) -> bytes:
    record = await view.record(INDEX, key)
    return record.body if record is not None else b""


async def _all(view: View) -> list[Record]:
    return await view.records(DEFINITION, limit=MOST + 1)
