"""A transaction applied: conditions, references, versions, checks, enrichment, audit: all or nothing.

Every write of the hub comes here: over HTTP, from an adapter, from a batch. Source: FHIR R4 4.0.1,
https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from fhir_server import gate
from fhir_server.errors import (
    BadRequest,
    Conflict,
    FhirError,
    Forbidden,
    Issue,
    MethodNotAllowed,
    NotFound,
    Unprocessable,
)
from fhir_server.interactions import conditions, links
from fhir_server.interactions.asking import Ask, RoomTransaction, RoomView, split_query
from fhir_server.interactions.body import is_same, stamped
from fhir_server.interactions.links import Links
from fhir_server.interactions.preconditions import check_none, check_version
from fhir_server.interactions.sight import Sight
from fhir_server.interactions.steps import (
    Step,
    check_overlap,
    check_resources,
    check_scopes,
    criteria,
    placed_issues,
    read_step,
)
from fhir_server.interface import Check, Enricher
from fhir_server.model import EVERYTHING, Actor, Change, Entry, Outcome, Resource, Version, Visibility
from fhir_server.patch import settled
from fhir_server.search.query import Query
from fhir_server.search.values import NOTHING, Indexed
from fhir_server.security.scopes import ALL
from fhir_server.store.protocol import AuditRow, Transaction, Write
from fhir_server.store.visibility import is_visible

ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2}
Matcher = Callable[[Transaction, Sequence[Change], Actor], Awaitable[None]]
Judging = Callable[[Transaction, Sequence[Change]], Awaitable[list[tuple[Change, list[Issue]]]]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What applying needs of the rest of the core."""

    types: frozenset[str]
    validate: Callable[[Resource], list[Issue]]
    index: Callable[[Resource], Indexed]
    ask: Ask
    sight: Sight
    new_id: Callable[[], str]
    checks: tuple[Check, ...] = ()
    enrichers: tuple[Enricher, ...] = ()
    watched: frozenset[str] = frozenset()  # types whose writes change what is kept in memory of a tenant
    most_deleted: int = 1  # resources that a conditional delete may delete where it does not say how many
    judge: Judging | None = None  # profiles: what is wrong with changes, asked once for each transaction
    written: Callable[[Resource, bytes], Indexed] | None = None  # as `index`, for a store that takes patterns
    matchers: tuple[Matcher, ...] = ()  # told inside the transaction, after all its writes: subscriptions


@dataclass(slots=True)
class Applied:
    """A transaction under way: for whom, and what it did so far."""

    actor: Actor
    see: Visibility  # judged before the transaction's own writes, which may be about just that
    named: Links = field(default_factory=Links)
    met: dict[tuple[object, ...], str] = field(default_factory=dict)  # ids made for conditions that nothing met before
    gone: dict[str, set[str]] = field(default_factory=dict)  # type -> ids that the transaction deletes
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)


_ROUNDS: Final = 3  # in which what waits for others of its transaction is tried again
_LOOKED_AT: Final = 20  # matches of a create's condition among which one is looked for that is hidden


@dataclass(frozen=True, slots=True)
class Done:
    """What an applied transaction came to."""

    outcomes: list[Outcome]  # one for each entry, in order
    changes: list[Change]  # of the entries and of what enrichers added


class _Unmet(Unprocessable):
    """A conditional reference matches nothing, or what a create on the same condition found is not stored, yet."""

    def __init__(self, type: str) -> None:
        super().__init__("A conditional reference matches nothing.")
        self.type = type


class Applier:
    """Applies entries inside a store's transaction."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def prepare(self, entries: Sequence[Entry], actor: Actor, *, bundled: bool) -> list[Step]:
        """Read, authorise and validate entries before a transaction begins.

        Raises:
            FhirError: With the place of the entry, and every issue of every resource.
        """
        steps = self.reread(entries, bundled=bundled)
        check_scopes(steps, actor)
        check_resources(steps, self._parts.validate)
        return steps

    def reread(self, entries: Sequence[Entry], *, bundled: bool) -> list[Step]:
        """Read entries that were prepared before, for one run of a transaction: a run changes its steps."""
        steps = []
        for number, entry in enumerate(entries):
            place = f"Bundle.entry[{number}]" if bundled else ""
            try:
                steps.append(read_step(entry, place, self._parts.types))
            except FhirError as error:
                raise error.placed(place) from None
        return steps

    async def run(
        self, tx: Transaction, entries: Sequence[Entry], actor: Actor, interaction: str, enrich: bool
    ) -> list[Outcome]:
        """Prepare and apply entries inside a transaction that is under way."""
        steps = self.prepare(entries, actor, bundled=len(entries) > 1)
        return (await self.apply(tx, steps, actor, interaction, enrich=enrich)).outcomes

    async def apply(
        self,
        tx: Transaction,
        steps: Sequence[Step],
        actor: Actor,
        interaction: str,
        *,
        enrich: bool = True,
        request_id: str = "",
    ) -> Done:
        """Apply prepared steps; the caller's transaction commits them."""
        done = Applied(actor, await self._parts.sight.of(tx, actor, keep=False))
        await self._write(tx, steps, done)
        own = list(done.changes)
        if self._parts.judge is not None and (refused := await self._parts.judge(tx, own)):
            raise Unprocessable("The resource does not conform to a profile.", issues=placed_issues(refused, steps))
        await self.conclude(tx, done, enrich=enrich)
        await tx.audit(_audit_row(tx, actor, interaction, steps, own, request_id))
        return Done([done.outcomes[n] for n in range(len(steps))], done.changes)

    async def judged(self, tx: Transaction, changes: Sequence[Change]) -> list[tuple[Change, list[Issue]]]:
        """Return what profiles find wrong with changes."""
        return [] if self._parts.judge is None else await self._parts.judge(tx, changes)

    async def conclude(self, tx: Transaction, done: Applied, *, enrich: bool) -> None:
        """Do what follows every write, in its transaction: checks, enrichers, watchers of types, subscriptions."""
        own = list(done.changes)
        await self._check(tx, own, done.actor)
        if enrich and own:
            await self._enrich(tx, own, done)
        if any(change.version.type in self._parts.watched for change in done.changes):
            await tx.bump_epoch()
        for matcher in self._parts.matchers:
            await matcher(tx, done.changes, done.actor)

    async def _write(self, tx: Transaction, steps: Sequence[Step], done: Applied) -> None:
        for step in sorted(steps, key=lambda step: step.method != "DELETE") if len(steps) > 1 else steps:
            try:
                await self._identify(tx, step, done)
            except FhirError as error:
                raise error.placed(step.place) from None
        if len(steps) > 1:
            check_overlap(steps)
        for step in steps:
            if step.entry.full_url and step.id:
                done.named.add(step.entry.full_url, step.reference)
        order = sorted(range(len(steps)), key=lambda n: ORDER[steps[n].method]) if len(steps) > 1 else [0] * len(steps)
        rounds = _ROUNDS
        while order:
            left = await self._put_all(tx, steps, order, done, rounds)
            order, rounds = left, rounds - 1 if len(left) < len(order) else 0

    async def _put_all(
        self, tx: Transaction, steps: Sequence[Step], order: Sequence[int], done: Applied, rounds: int
    ) -> list[int]:
        """Write steps; return those that refer, by condition, to what another of them may have stored after them.

        So does a create whose condition another entry makes true.

        R4 resolves conditional references after all writes (https://hl7.org/fhir/R4/http.html#trules).
        """
        waiting = []
        for number in order:
            step = steps[number]
            try:
                done.outcomes[number] = await self._put(tx, step, done)
            except FhirError as error:
                if not (rounds and isinstance(error, _Unmet) and any(error.type == other.type for other in steps)):
                    raise error.placed(step.place) from None
                waiting.append(number)
        return waiting

    async def _identify(self, tx: Transaction, step: Step, done: Applied) -> None:
        """Find the id that a step is about; conditions are judged in the state before the transaction.

        What one create makes for a condition, another on the same condition finds: else both would make it. What the
        transaction deletes, which R4 does first, no create finds.
        """
        if step.condition is None:
            step.id = step.id or self._parts.new_id()
            if step.method == "DELETE":
                done.gone.setdefault(step.type, set()).add(step.id)
            return
        if step.method == "DELETE":
            most = max(step.most, self._parts.most_deleted)
            asked = self._ask(step.type, step.condition, most + 1)
            step.id, *others = await conditions.all_matches(tx, asked, done.see, most=most) or [""]
            step.others, step.absent = tuple(others), not step.id
            done.gone.setdefault(step.type, set()).update((step.id, *others))
            return
        condition = (step.type, *sorted(step.condition))
        gone = done.gone.get(step.type, ()) if step.method == "POST" else ()
        found = done.met.get(condition) or await self._match(tx, step.type, step.condition, done.see, gone)
        given = str((step.entry.resource or {}).get("id", ""))
        if found:
            step.id = found
            step.exists = step.method == "POST"
            if step.method == "PUT" and given and given != found:
                raise BadRequest("The resource's id is not the one of the resource that matches.")
        elif step.method == "PATCH":
            raise NotFound("There is no such resource.")
        else:
            if not done.see.is_total:
                asked = self._ask(step.type, step.condition, _LOOKED_AT + len(gone))
                await conditions.check_free(tx, asked, done.see, gone)
            step.unmatched = step.method == "PUT" and bool(given)
            step.id = done.met[condition] = given if step.unmatched else self._parts.new_id()

    def _ask(self, type: str, condition: list[tuple[str, str]], count: int) -> Query:
        return self._parts.ask(type, [*condition, ("_count", str(count))])

    async def _match(
        self,
        tx: Transaction,
        type: str,
        condition: list[tuple[str, str]],
        see: Visibility,
        gone: Collection[str] = (),
    ) -> str:
        return await conditions.one_match(tx, self._ask(type, condition, 2 + len(gone)), see, gone)

    async def _put(self, tx: Transaction, step: Step, done: Applied) -> Outcome:
        current = None if step.method == "POST" and not step.exists else await tx.read(step.type, step.id)
        if step.exists:
            if current is None:
                raise _Unmet(step.type)
            return Outcome(200, current, changed=False)
        if current is not None and not current.is_deleted and _is_hidden(current, done.see):
            if step.method == "DELETE" or step.entry.if_match:
                current = None  # answered as if it were not there
            else:
                raise NotFound("There is no such resource.")
        if step.method == "PATCH" and (current is None or current.is_deleted):
            raise NotFound("There is no such resource.")
        if step.unmatched and current is not None and not current.is_deleted:  # which R5 says, and R4 leaves open
            raise Conflict("The condition matches nothing, and the resource's id is that of another one.")
        if step.entry.if_match:
            check_version(step.entry.if_match, current)
        if step.entry.if_none_match and step.method == "PUT":
            check_none(step.entry.if_none_match, current)
        if step.method == "DELETE":
            return await self._delete(tx, step, current, done)
        if step.entry.must_exist and current is None and step.id == (step.entry.resource or {}).get("id"):
            raise MethodNotAllowed("This server gives the ids: an update needs a resource that was there before.")
        if step.patch is not None and current is not None:
            self._patch(step, current)
        return await self._store(tx, step, current, done)

    def _patch(self, step: Step, current: Version) -> None:
        """Make the resource of a step from the current version and its patch; raise Unprocessable."""
        assert step.patch is not None
        before = gate.load(current.body)
        step.entry = replace(step.entry, resource=settled(before, step.patch(before)))
        check_resources([step], self._parts.validate)

    async def _delete(self, tx: Transaction, step: Step, current: Version | None, done: Applied) -> Outcome:
        if step.absent or current is None or current.is_deleted:
            return Outcome(204, None, changed=False)
        version = await self._remove(tx, current, done)
        for id in step.others:
            other = await tx.read(step.type, id)
            assert other is not None, "what a condition found is there"
            if step.entry.if_match:
                check_version(step.entry.if_match, other)
            await self._remove(tx, other, done)
        return Outcome(204, version if not step.others else None, written=1 + len(step.others))

    async def _remove(self, tx: Transaction, current: Version, done: Applied) -> Version:
        before = gate.load(current.body)
        version = await tx.put(Write(current.type, current.id, current.version + 1, tx.now, "DELETE", b"", NOTHING))
        done.changes.append(Change(version._replace(owners=current.owners), before, before))
        return version

    async def _store(self, tx: Transaction, step: Step, current: Version | None, done: Applied) -> Outcome:
        resource = step.entry.resource
        assert resource is not None
        if step.place:
            resource = await self._relinked(tx, step, resource, done)
        exists = current is not None and not current.is_deleted
        if current is not None and exists and is_same(resource, step.id, current.version, current.at, current.body):
            return Outcome(200, current, changed=False)
        number = 1 if current is None else current.version + 1
        complete = stamped(resource, step.id, number, tx.now)
        body = gate.write(complete)
        if not step.place and b"?" in body and step.type != "Bundle" and links.conditional_references(resource):
            step.entry = replace(step.entry, resource=await self._relinked(tx, step, resource, done))
            return await self._store(tx, step, current, done)
        written = self._parts.written if tx.takes_patterns else None
        indexed = self._parts.index(complete) if written is None else written(complete, body)
        patient = done.actor.patient
        if patient and any(owner != patient for owner in indexed.owners):
            raise Forbidden("A patient's token writes to that patient's record only.")
        write = Write(step.type, step.id, number, tx.now, step.method, body, indexed)
        version = await tx.put(write)
        done.changes.append(
            Change(version, complete, gate.load(current.body) if current is not None and exists else None)
        )
        return Outcome(200 if exists else 201, version)

    async def _relinked(self, tx: Transaction, step: Step, resource: Resource, done: Applied) -> Resource:
        async def find(reference: str) -> str:
            type, pairs = split_query(reference)
            if type not in self._parts.types:
                raise BadRequest("A conditional reference names no resource type.")
            id = await self._match(tx, type, criteria(pairs), done.see)
            if not id:
                raise _Unmet(type)
            return f"{type}/{id}"

        return await links.resolve(resource, done.named.of(step.entry.full_url), find)

    async def _enrich(self, tx: Transaction, changes: list[Change], done: Applied) -> None:
        for enricher in self._parts.enrichers:
            concerned = [c for c in changes if c.version.type in enricher.types]
            if not concerned:
                continue
            writing = RoomTransaction(tx, self._parts.ask, self.run)
            entries = await enricher.run(writing, concerned)
            if entries:
                actor = Actor(tx.tenant, "enricher", ALL)
                steps = self.prepare(entries, actor, bundled=True)
                more = Applied(actor, EVERYTHING)
                await self._write(tx, steps, more)
                done.changes += more.changes

    async def _check(self, tx: Transaction, changes: Sequence[Change], actor: Actor) -> None:
        view = RoomView(tx, self._parts.ask)
        for check in self._parts.checks:
            for change in changes:
                if change.version.type in check.types:
                    await check.run(view, change, actor)


def _is_hidden(version: Version, see: Visibility) -> bool:
    """Whether consent hides what is to be written by its id; scopes that let it be written need not let it be read."""
    return not is_visible(version, see) and (see.types is None or not is_visible(version, replace(see, types=None)))


def _audit_row(
    tx: Transaction, actor: Actor, interaction: str, steps: Sequence[Step], changes: Sequence[Change], request_id: str
) -> AuditRow:
    one = steps[0] if len(steps) == 1 else None
    action = {"POST": "C", "PUT": "U", "PATCH": "U", "DELETE": "D"}[one.method] if one else "E"
    if len(changes) == 1:
        patients = tuple(sorted(changes[0].version.owners))
    else:
        patients = tuple(sorted({owner for change in changes for owner in change.version.owners}))
    target = one.reference if one else ""
    return AuditRow(
        tx.now,
        actor.subject,
        actor.reference or (actor.patient and f"Patient/{actor.patient}"),
        action,
        interaction,
        target,
        patients,
        0,
        actor.purpose,
        request_id,
    )
