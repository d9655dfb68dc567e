"""An export as a job: what was current at one instant, type by type, page by page, as its caller may see it.

The pages are of the history of a type, newest first, narrowed to what was current at the instant. Versions never
move, so no write that happens meanwhile hides, doubles or changes a line, and a page needs no more memory than its
resources. The instant is that of a transaction: what was committed before it is there.
Source: Bulk Data Access 2.0, https://hl7.org/fhir/uv/bulkdata/STU2/export.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fhir_server import gate
from fhir_server.bulk.request import Asked
from fhir_server.errors import Issue, NotFound
from fhir_server.interactions.asking import split_query
from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import write_instant
from fhir_server.interactions.sight import intersect
from fhir_server.interactions.subset import subset
from fhir_server.jobs import JobContext, Kind, Mark
from fhir_server.model import Actor, Version, Visibility
from fhir_server.outcome import outcome
from fhir_server.search.parameters import parameters_of
from fhir_server.search.query import AllOf, AnyOf, Ask, Clause, Match, Query
from fhir_server.search.readers import reference_parser
from fhir_server.search.values import Token
from fhir_server.store.protocol import HistoryQuery, Transaction, View

KIND: Final = "export"
PAGE: Final = 500  # versions looked at between two checkpoints


class Place(msgspec.Struct):
    """How far an export came."""

    at: int  # the instant, microseconds since 1970
    total: int | None
    type: int = 0  # index of the type under way
    before: int | None = None  # versions with a smaller seq are left
    done: int = 0


def export_input(asked: Asked, *, group: str, scope: str) -> dict[str, Any]:
    """Return an export as the input of its job.

    Args:
        asked: What it is asked for.
        group: Id of the Group, "" for none.
        scope: system, patient or group.
    """
    made: dict[str, Any] = msgspec.to_builtins(asked)
    return made | {"group": group, "scope": scope}


class Export:
    """Runs exports.

    Args:
        hub: The core.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.kind = Kind(KIND, self.run, is_bulk=True)

    async def run(self, context: JobContext) -> None:
        """Run one export, from its last checkpoint."""
        given = context.input
        asked = msgspec.convert({k: v for k, v in given.items() if k not in ("group", "scope")}, Asked)
        place = msgspec.json.decode(context.state, type=Place) if context.state else await self._begin(context, asked)
        one = _One(self._hub, context, asked, given["scope"], await self._members(context.actor, asked, given["group"]))
        while place.type < len(asked.types):
            await one.page(place)
            if context.has_lines or place.type == len(asked.types):  # types without resources cost no transaction
                await context.checkpoint(msgspec.json.encode(place), place.done, place.total)
        context.result = {"transactionTime": write_instant(place.at)}

    async def _begin(self, context: JobContext, asked: Asked) -> Place:
        """Fix the instant: it is later than all that was committed before."""
        if asked.ignored:
            text = "Left out, since they are not known here or cannot be read: " + ", ".join(asked.ignored)
            note = outcome([Issue("not-supported", text, severity="warning")])
            context.write_output("OperationOutcome", [gate.write(note)], group="error")

        async def work(tx: Transaction) -> int:
            return tx.now

        at = await context.transact(work, lambda _: Mark(b"", 0))
        async with self._hub.store.view(context.actor.tenant) as view:
            see = await self._hub.see(view, context.actor)
            total = None
            if see.patients is None and asked.since is None and not asked.filters:
                total = await view.count(asked.types, ())
        return Place(at, total)

    async def _members(self, actor: Actor, asked: Asked, group: str) -> frozenset[str] | None:
        """Return the ids of the Patients whose records are asked for; None for all.

        Raises:
            NotFound: The Group is not there any more.
        """
        if not group:
            return frozenset(asked.patients) or None
        members = await group_members(self._hub, actor, group)
        return members & frozenset(asked.patients) if asked.patients else members


async def group_members(hub: Hub, actor: Actor, id: str, *, request_id: str = "") -> frozenset[str]:
    """Return the ids of the Patients that are active members of a Group; raise NotFound where there is none."""
    group = gate.load((await hub.read_one("Group", id, actor=actor, request_id=request_id)).body)
    parse = reference_parser(hub.base_url)
    active = (member for member in group.get("member", ()) if not member.get("inactive", False))
    named = [parse(member.get("entity", {}).get("reference", "")) for member in active]
    return frozenset(one.id for one in named if one is not None and one.type == "Patient" and one.id)


async def check_patients(hub: Hub, actor: Actor, ids: Sequence[str], members: frozenset[str] | None) -> None:
    """Raise NotFound where one of the Patients is not there for the caller, or is no member of the Group."""
    async with hub.store.view(actor.tenant) as view:
        see = await hub.see(view, actor)
        for id in ids:
            known = members is None or id in members
            version = await view.read("Patient", id) if known and _may_see(see, id) else None
            if version is None or version.is_deleted:
                raise NotFound("A patient that is asked for is not there, or no member of the group.")


def _may_see(see: Visibility, patient: str) -> bool:
    return see.patients is None or patient in see.patients or patient in see.partial


class _One:
    """One run of one export."""

    def __init__(self, hub: Hub, context: JobContext, asked: Asked, scope: str, members: frozenset[str] | None) -> None:
        self._hub, self._context, self._asked, self._members = hub, context, asked, members
        self._owned = scope != "system"  # whether only what belongs to a patient is asked for
        self._filters = {type: self._filter(type, queries) for type, queries in asked.filters.items()}

    def _filter(self, type: str, queries: Sequence[str]) -> Clause:
        return AnyOf(tuple(AllOf(self._hub.query(type, split_query(query)[1]).where) for query in queries))

    async def page(self, place: Place) -> None:
        """Write a page of lines and move the place on."""
        type, asked, actor = self._asked.types[place.type], self._asked, self._context.actor
        query = HistoryQuery(
            type, since=asked.since, at=(place.at, place.at + 1), before_seq=place.before, count=PAGE, total=False
        )
        async with self._hub.store.view(actor.tenant) as view:
            see = await self._hub.see(view, actor)
            if self._members is not None:
                see = intersect(see, Visibility(self._members))
            versions, _ = await view.history(query, see=see)
            found = [v for v in versions if v.owners or not self._owned]
            kept = await self._filtered(view, type, [v for v in found if not v.is_deleted], see)
        self._write(type, kept, [v for v in found if v.is_deleted])
        place.done += len(kept)
        if len(versions) < PAGE:
            place.type, place.before = place.type + 1, None
        else:
            place.before = versions[-1].seq

    async def _filtered(self, view: View, type: str, versions: list[Version], see: Visibility) -> list[Version]:
        """Return those that a query of _typeFilter finds, where there is one for the type."""
        clause = self._filters.get(type)
        if clause is None or not versions:
            return versions
        id = parameters_of(type)["_id"]
        ids = Match(id, tuple(Ask(Token(None, version.id)) for version in versions))
        found = await view.search(Query((type,), (ids, clause), count=len(versions), total="none"), see=see)
        matched = {version.id for version in found.versions}
        return [version for version in versions if version.id in matched]

    def _write(self, type: str, versions: Sequence[Version], deleted: Sequence[Version]) -> None:
        elements = self._asked.elements_of(type)
        bodies = [version.body for version in versions]
        if elements:
            bodies = [gate.write(subset(gate.load(body), "false", elements)) for body in bodies]
        self._context.write_output(type, bodies)
        if self._asked.since is not None and deleted:
            self._context.write_output("Bundle", [_deletion(version) for version in deleted], group="deleted")
        owners = {owner for version in versions for owner in version.owners}
        if versions:
            actor, job = self._context.actor, self._context.id
            self._hub.audit(actor, "R", KIND, type, tuple(sorted(owners)), 0, job)


def _deletion(version: Version) -> bytes:
    """Return a line of the files of what was deleted.

    Source: https://hl7.org/fhir/uv/bulkdata/STU2/export.html#response---complete-status ("deleted")
    """
    entry = {"request": {"method": "DELETE", "url": version.reference}}
    return gate.write({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
