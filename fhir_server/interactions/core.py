"""The core: what rooms may ask (`interface.Core`) and what HTTP serves, over one store."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from fhir_server import gate
from fhir_server.errors import Forbidden, Gone, Issue, NotFound
from fhir_server.indexing.definitions import Definitions
from fhir_server.interactions import listed, searching
from fhir_server.interactions.apply import Applier, Done
from fhir_server.interactions.asking import Ask, RoomTransaction, RoomView, split_query
from fhir_server.interactions.cursor import Cursors
from fhir_server.interactions.resolve import SettledStore
from fhir_server.interactions.sight import Sight
from fhir_server.interactions.steps import forbidden
from fhir_server.interface import AccessLine, Asking, Calm, Check, Eraser, Listener, Operation, Writing
from fhir_server.jobs import Jobs
from fhir_server.model import Actor, Change, Entry, Outcome, Reply, Resource, Version, Visibility
from fhir_server.profiles import Judge
from fhir_server.search.query import Query
from fhir_server.search.registry import SearchParameters
from fhir_server.search.values import Indexed
from fhir_server.security.scopes import ALL
from fhir_server.store.protocol import AuditRow, HistoryQuery, Store, Transaction, View
from fhir_server.store.visibility import is_visible
from fhir_server.terminology import Terminology

log = logging.getLogger("predmp")


@dataclass(frozen=True, slots=True)
class Found:
    """`interface.Page`."""

    resources: list[Resource]
    included: list[Resource]
    total: int | None
    next: str | None


class Hub:
    """The core over one store; what rests on rooms and pages is set by the composition root.

    Args:
        store: Open already.
        ask: (type or comma-separated types, pairs) -> Query.
        authenticate: Authorization header -> Actor.
        cursors: Page links.
        clock: Returns microseconds since 1970.
        base_url: Of FHIR.
        validate: Resource -> issues.
        index: Resource -> index values.
        registry: The search parameters.
        tenant: The tenant that feeds without one belong to.
        types: The resource types of R4.
        update_create: Whether a PUT over HTTP may make a resource under an id that was never used.
    """

    pages: Any
    terminology: Terminology
    profiles: Judge
    jobs: Jobs  # long-running work
    definitions: Definitions  # search parameters that the store defines
    query_written: Ask  # as `query`, of one resource that is written just now (`SearchParameters.written`)
    sight: Sight  # these four rest on the rooms, which are opened over this core
    applier: Applier
    listeners: tuple[Listener, ...] = ()
    operations: tuple[Operation, ...] = ()
    erasers: tuple[Eraser, ...] = ()
    calm: Sequence[Calm] = ()
    checks: Sequence[Check] = ()  # of rooms: what they refuse of writes
    call_out: Callable[..., Awaitable[Reply]]  # set by subscriptions, which have the one way out

    def __init__(
        self,
        *,
        store: Store,
        ask: Ask,
        authenticate: Callable[[str], Actor],
        cursors: Cursors,
        clock: Callable[[], int],
        base_url: str,
        validate: Callable[[Resource], list[Issue]],
        index: Callable[[Resource], Indexed],
        registry: SearchParameters,
        tenant: str,
        types: frozenset[str],
        update_create: bool = True,
    ) -> None:
        self.terminology = Terminology()
        self.store = cast(Store, SettledStore(store, self.terminology, index))
        self.query = self.query_written = ask
        self.cursors, self.base_url, self.validate, self.index = cursors, base_url, validate, index
        self.types, self.update_create, self.registry = types, update_create, registry
        self._authenticate, self._clock, self._tenant = authenticate, clock, tenant

    def internal(self, tenant: str, name: str) -> Actor:
        """Return the actor that a room is when it acts by itself."""
        return Actor(tenant, name, ALL)

    def tenants(self) -> Sequence[str]:
        """Return the tenant that feeds without one belong to, first, and the others this hub knows."""
        return (self._tenant,)

    def now(self) -> int:
        """Return microseconds since 1970-01-01T00:00Z."""
        return self._clock()

    async def call(self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, most: int) -> Reply:
        """Call an address outside the hub, within `outbound_allow`; raise Unavailable."""
        return await self.call_out(method, url, headers, body, most=most)

    async def authenticate(self, authorization: str) -> Actor:
        """Return the actor of an Authorization header value; raise Unauthorized."""
        return self._authenticate(authorization)

    # --- reading ---------------------------------------------------------------
    async def see(self, view: View, actor: Actor) -> Visibility:
        """Return what the actor may see in the state of a view."""
        return await self.sight.of(view, actor)

    async def read(self, reference: str, *, actor: Actor) -> Version:
        """Return the current version of `Type/id`; raise NotFound (absent or hidden), Gone, Forbidden."""
        type, _, id = reference.partition("/")
        return await self.read_one(type, id, actor=actor)

    async def read_one(
        self, type: str, id: str, *, actor: Actor, version: int | None = None, request_id: str = ""
    ) -> Version:
        """Return the current version, or the one asked for."""
        if not actor.may("r", type):
            raise forbidden()
        async with self.store.view(actor.tenant) as view:
            found = await (view.read(type, id) if version is None else view.vread(type, id, version))
            if found is None or not (actor.is_operator or is_visible(found, await self.see(view, actor))):
                self.audit(actor, "R", "read", f"{type}/{id}", (), 4, request_id)
                raise NotFound("There is no such resource.")
        self.audit(actor, "R", "read" if version is None else "vread", f"{type}/{id}", found.owners, 0, request_id)
        if found.is_deleted:
            raise Gone("The resource was deleted.")
        return found

    async def search(self, query: str, *, actor: Actor) -> Found:
        """Search as over HTTP; `next` is the query of the next page."""
        type, pairs = split_query(query)
        results = await self.search_page(type, pairs, actor=actor)
        following = None
        if results.after is not None:
            rest = "&".join(part for part in query.partition("?")[2].split("&") if not part.startswith("_cursor="))
            cursor = self.cursors.write(results.after, actor, self.signature(results.query))
            following = f"{type}?{rest}{'&' if rest else ''}_cursor={cursor}"
        return Found(
            [gate.load(v.body) for v in results.matches],
            [gate.load(v.body) for v in results.included],
            results.total,
            following,
        )

    async def search_page(
        self,
        types: str,
        pairs: list[tuple[str, str]],
        *,
        actor: Actor,
        query: Query | None = None,
        request_id: str = "",
    ) -> searching.Results:
        """Run a search and return its page; `query` where it is parsed already."""
        cursor = next((value for name, value in pairs if name == "_cursor"), None)
        asked = query or self.query(types, [pair for pair in pairs if pair[0] != "_cursor"])
        for type in asked.types:
            if not actor.may("s", type):
                raise forbidden()
        if cursor is not None:
            asked = replace(asked, after=self.cursors.read(cursor, actor, self.signature(asked)))
        async with self.store.view(actor.tenant) as view:
            results = await searching.search(view, asked, await self.see(view, actor), self.index, self.registry)
        patients = {owner for version in (*results.matches, *results.included) for owner in version.owners}
        text = "&".join(f"{name}={value}" for name, value in asked.text)
        self.audit(actor, "E", "search", asked.within or types, tuple(sorted(patients)), 0, request_id, text)
        return results

    def signature(self, query: Query) -> str:
        """Return what a page link is bound to beside its caller: the query without its page."""
        return f"{query.within} {','.join(query.types)}?{'&'.join(f'{name}={value}' for name, value in query.text)}"

    async def history(
        self, query: HistoryQuery, *, actor: Actor, request_id: str = "", of_list: str = ""
    ) -> tuple[list[Version], int, bool]:
        """Return a page of versions that the actor may see, newest first, how many there are, and if more follow.

        With `of_list`, the id of a List, only those that the List refers to.
        """
        if not actor.may("r" if query.id else "s", query.type or "*"):
            raise forbidden()
        async with self.store.view(actor.tenant) as view:
            see = await self.see(view, actor)
            asked = replace(query, count=query.count + 1) if query.count else query  # one more: is there a next page?
            if of_list:
                versions, total = await listed.history(view, asked, see, of_list, self.index)
            else:
                versions, total = await view.history(asked, see=see)
        has_more = len(versions) > query.count
        versions = versions[: query.count]
        patients = {owner for version in versions for owner in version.owners}
        target = f"{query.type}/{query.id}" if query.id else query.type
        self.audit(actor, "R", "history", target, tuple(sorted(patients)), 0, request_id)
        return versions, total, has_more

    async def may_see(self, resource: Resource, *, actor: Actor) -> bool:
        """Whether the guards let the actor see this resource, now."""
        version = Version(resource["resourceType"], "", 0, 0, "", gate.write(resource), 0, self.index(resource).owners)
        async with self.store.view(actor.tenant) as view:
            return is_visible(version, await self.see(view, actor))

    async def journal(self, patient: str, *, actor: Actor, limit: int = 100) -> list[AccessLine]:
        """Return who did what with a Patient's record, newest first; for the patient and the operator."""
        if not actor.is_operator and actor.patient != patient:
            raise Forbidden("The access journal is for the patient and the operator.")
        rows: list[tuple[int, AuditRow]] = []
        async with self.store.view(actor.tenant) as view:
            after = 0
            while page := await view.audits(patient=patient, after=after, limit=1000):
                rows, after = (rows + page)[-limit:], page[-1][0]
        return [
            AccessLine(row.at, row.actor or row.subject, row.interaction, row.target, row.purpose, row.outcome)
            for _, row in reversed(rows)
        ]

    def audit(
        self,
        actor: Actor,
        action: str,
        interaction: str,
        target: str,
        patients: tuple[str, ...],
        outcome: int,
        request_id: str,
        query: str = "",
    ) -> None:
        """Append an access to the audit chain; raise Unavailable when it cannot be kept."""
        at, who, purpose = self._clock(), _who(actor), actor.purpose
        row = AuditRow(
            at, actor.subject, who, action, interaction, target, patients, outcome, purpose, request_id, query
        )
        self.store.audit_soon(actor.tenant, row)

    # --- writing ---------------------------------------------------------------
    async def submit(
        self, entries: Sequence[Entry], *, actor: Actor, interaction: str = "transaction", enrich: bool = True
    ) -> list[Outcome]:
        """Apply entries as one FHIR transaction."""
        return await self.write(entries, actor=actor, interaction=interaction, enrich=enrich, bundled=len(entries) > 1)

    async def write(
        self,
        entries: Sequence[Entry],
        *,
        actor: Actor,
        interaction: str,
        enrich: bool = True,
        bundled: bool = False,
        request_id: str = "",
    ) -> list[Outcome]:
        """Validate entries, apply them in one durable transaction, tell the listeners."""
        prepared = [self.applier.prepare(entries, actor, bundled=bundled)]

        async def work(tx: Transaction) -> Done:
            steps = prepared.pop() if prepared else self.applier.reread(entries, bundled=bundled)
            return await self.applier.apply(tx, steps, actor, interaction, enrich=enrich, request_id=request_id)

        done = await self.store.transact(actor.tenant, work)
        await self.tell(actor.tenant, done.changes)
        return done.outcomes

    async def tell(self, tenant: str, changes: Sequence[Change]) -> None:
        """Tell the listeners what was committed."""
        for listener in self.listeners:
            concerned = [change for change in changes if change.version.type in listener.types]
            if concerned:
                try:
                    await listener.run(tenant, concerned)
                except Exception:  # a supervisor: the write is durable whatever a listener does
                    log.exception("a listener failed")

    async def forget(self, type: str, id: str, *, actor: Actor, request_id: str = "") -> int:
        """Remove every version of a resource but its newest, for the operator; return how many."""
        if not actor.may("d", type):
            raise forbidden()
        if not actor.is_operator:
            raise Forbidden("Earlier versions are removed by the operator only.")

        async def work(tx: Transaction) -> int:
            newest = await tx.read(type, id)
            if newest is None:
                raise NotFound("There is no such resource.")
            what = ("D", "delete-history", f"{type}/{id}", newest.owners, 0, actor.purpose, request_id)
            await tx.audit(AuditRow(self._clock(), actor.subject, _who(actor), *what))
            return await tx.forget(type, id)

        return await self.store.transact(actor.tenant, work)

    # --- rooms' own ------------------------------------------------------------
    async def transact(self, tenant: str, work: Callable[[Writing], Awaitable[Any]]) -> Any:
        """Run `work` in one durable transaction."""
        changes: list[Change] = []

        async def run(tx: Transaction) -> Any:
            changes.clear()

            async def apply(
                tx: Transaction, entries: Sequence[Entry], actor: Actor, interaction: str, enrich: bool
            ) -> list[Outcome]:
                steps = self.applier.prepare(entries, actor, bundled=len(entries) > 1)
                done = await self.applier.apply(tx, steps, actor, interaction, enrich=enrich)
                changes.extend(done.changes)
                return done.outcomes

            return await work(cast(Writing, RoomTransaction(tx, self.query, apply, self.base_url)))

        made = await self.store.transact(tenant, run)
        await self.tell(tenant, changes)
        return made

    async def ask(self, tenant: str, work: Callable[[Asking], Awaitable[Any]]) -> Any:
        """Run `work` over one consistent state."""
        async with self.store.view(tenant) as view:
            return await work(cast(Asking, RoomView(view, self.query)))


def _who(actor: Actor) -> str:
    """Return whom audit names as the caller."""
    return actor.reference or (actor.patient and f"Patient/{actor.patient}")
