"""The one door between the core and its rooms.

A room is a package with `open(core, settings) -> Room`. It may ask what `Core` offers and hand in what
`Room` lists; it imports from the core only this module, `model`, `errors`, and for pages `pages`.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from fhir_server.model import Actor, Change, Entry, Outcome, Record, Reply, Resource, Version, Visibility


class Asking(Protocol):
    """What can be asked of one consistent state; no consent narrows it, so its answers stay inside the hub."""

    tenant: str

    async def resource(self, reference: str) -> Resource | None:
        """Return the current resource of `Type/id`; None when absent or deleted."""
        ...

    async def find(self, query: str) -> list[Resource]:
        """Return what a search finds, e.g. `Observation?patient=1&code=8867-4&_sort=-date&_count=1`."""
        ...

    async def record(self, kind: str, key: str) -> Record | None:
        """Return one of the room's durable rows."""
        ...

    async def records(
        self,
        kind: str,
        *,
        state: str | None = None,
        lane: str | None = None,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Record]:
        """Return durable rows with seq > after, oldest first; with `before` those with seq < before, newest first."""
        ...


class Writing(Asking, Protocol):
    """The same inside a transaction: sees what it wrote; all is committed or nothing."""

    now: int  # microseconds since 1970-01-01T00:00Z

    async def put_record(self, kind: str, key: str, state: str, body: bytes, *, lane: str = "") -> Record:
        """Insert or replace a durable row; a replaced row keeps its seq."""
        ...

    async def drop_record(self, kind: str, key: str) -> None:
        """Remove a durable row, if it is there."""
        ...

    async def look_up(self, references: Sequence[str]) -> None:
        """Take in that these `Type/id` are read or written soon: many are found in one go faster than one by one."""
        ...

    async def records_of(self, kind: str, keys: Sequence[str]) -> dict[str, Record]:
        """Return durable rows by key, those that there are: many are found in one go faster than one by one."""
        ...

    def meanwhile(self, run: Callable[[Callable[[], bool]], None]) -> None:
        """Have something done while the disk is waited for, after this transaction's work: the processor is free then.

        It does not await, asks the store for nothing, and ends soon after what it is given says that the disk has
        answered. It may be done more than once, or not at all.
        """
        ...

    async def submit(
        self, entries: Sequence[Entry], *, actor: Actor, interaction: str = "transaction", enrich: bool = True
    ) -> list[Outcome]:
        """Apply entries as one FHIR transaction (conditional urls, urn:uuid references); validated, audited."""
        ...

    async def merge(self, source: str, target: str, *, by: str) -> list[str]:
        """Make two Patients one, by their ids, as `$merge` does and `$unmerge` undoes; return what changed.

        `by` is the room's name, as `Core.internal` takes it. What permits the source to others stays with it: a merge
        that no person judged opens no record.
        """
        ...


class AccessLine(NamedTuple):
    """One line of a patient's access journal."""

    at: int  # microseconds since 1970
    who: str  # reference of the actor, or the caller's name
    what: str  # the interaction
    target: str  # Type, Type/id or ""
    purpose: str
    outcome: int  # 0 success, 4 minor, 8 serious, 12 major failure


class Page(Protocol):
    """A page of search results that the actor may see."""

    resources: list[Resource]  # matches, in order
    included: list[Resource]
    total: int | None
    next: str | None  # query of the next page


class Pages(Protocol):
    """What HTML pages share; `request` is a starlette Request, what comes back a starlette Response."""

    async def actor(self, request: Any) -> Actor:
        """Return who is signed in (or sent a Bearer token); raise SignInNeeded, which becomes a redirect to /login."""
        ...

    def language(self, request: Any) -> str:
        """Return fr or en: the cookie of the switch, else Accept-Language, else fr."""
        ...

    def render(self, request: Any, template: str, *, actor: Actor | None, status: int = 200, **context: Any) -> Any:
        """Fill `room/name.html` (it extends `layout.html`) and answer it with the headers every page has.

        The context always has: language, t (a function (French, English) -> the one in the page's language),
        actor, menu, csrf (the token every form posts as `csrf`), path, now.
        """
        ...

    async def form(self, request: Any) -> Mapping[str, str]:
        """Read a posted form and check its csrf token; raise Forbidden."""
        ...


class Core(Protocol):
    """What a room may ask of the core: each call is authorised, consented, validated, versioned, audited."""

    base_url: str  # of FHIR, e.g. "http://127.0.0.1:8080/fhir"
    pages: Pages
    calm: Sequence[Calm]  # what all rooms say of it; complete once every room is open

    def internal(self, tenant: str, name: str) -> Actor:
        """Return the actor that a room is when it acts by itself; consent does not narrow it, audit names it."""
        ...

    def tenants(self) -> Sequence[str]:
        """Return the names of all tenants this hub knows."""
        ...

    async def read(self, reference: str, *, actor: Actor) -> Version:
        """Return the current version of `Type/id`; raise NotFound (absent or hidden), Gone, Forbidden."""
        ...

    async def search(self, query: str, *, actor: Actor) -> Page:
        """Search as over HTTP, e.g. `Flag?patient=1&status=active`."""
        ...

    async def submit(
        self, entries: Sequence[Entry], *, actor: Actor, interaction: str = "transaction", enrich: bool = True
    ) -> list[Outcome]:
        """Apply entries as one FHIR transaction; `enrich=False` for history (no triage)."""
        ...

    async def transact(self, tenant: str, work: Callable[[Writing], Awaitable[Any]]) -> Any:
        """Run `work` in one durable transaction; it may run twice, so it changes nothing but by its argument."""
        ...

    async def ask(self, tenant: str, work: Callable[[Asking], Awaitable[Any]]) -> Any:
        """Run `work` over one consistent state."""
        ...

    async def may_see(self, resource: Resource, *, actor: Actor) -> bool:
        """Whether the guards let the actor see this resource, now."""
        ...

    async def authenticate(self, authorization: str) -> Actor:
        """Return the actor of an Authorization header value; raise Unauthorized."""
        ...

    async def journal(self, patient: str, *, actor: Actor, limit: int = 100) -> list[AccessLine]:
        """Return who did what with a Patient's record, newest first; for the patient and the operator."""
        ...

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
        """Append to the audit chain that someone saw a room's own rows (`action` C R U D E); raise Unavailable."""
        ...

    def validate(self, resource: Resource) -> list[Any]:
        """Return the `errors.Issue`s that R4 finds in a resource."""
        ...

    def now(self) -> int:
        """Return microseconds since 1970-01-01T00:00Z, of the hub's clock."""
        ...

    async def call(self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, most: int) -> Reply:
        """Call an address outside the hub, within `outbound_allow`; of its answer at most `most` bytes are read.

        Raises:
            Unavailable: The address may not be called, there was no answer, or a longer one.
        """
        ...


class Guard(Protocol):
    """Decides what an actor may see. Every guard of every room must agree: their answers are intersected."""

    types: frozenset[str]  # writes of these types may change an answer: cached answers are then dropped

    async def visibility(self, asking: Asking, actor: Actor, now: int) -> Visibility:
        """Return what the actor may see; called once for each state, then cached until `types` are written."""
        ...


class Calm(NamedTuple):
    """A measurement that a room judges, and what of it calls for nothing.

    For feeds that choose what goes first: a value outside says only that somebody may be waiting for it.
    """

    system: str  # of its code
    code: str
    low: Decimal | None = None  # the least calm value, in the unit that the room expects; None: no number is calm
    high: Decimal | None = None  # the greatest
    answers: frozenset[str] = frozenset()  # codes and texts that are calm


@dataclass(frozen=True, slots=True)
class Enricher:
    """Asked inside the transaction, after its writes and before its commit; what it returns joins it."""

    types: frozenset[str]  # called only when a change of one of these types is in the transaction
    run: Callable[[Writing, Sequence[Change]], Awaitable[Sequence[Entry]]]


@dataclass(frozen=True, slots=True)
class Check:
    """Asked inside the transaction for each change of `types`, before enrichers; refuses by raising FhirError."""

    types: frozenset[str]
    run: Callable[[Asking, Change, Actor], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Listener:
    """Told after commit, once for each transaction; what it raises is logged and harms nothing."""

    types: frozenset[str]
    run: Callable[[str, Sequence[Change]], Awaitable[None]]  # (tenant, changes)


@dataclass(frozen=True, slots=True)
class Task:
    """Runs as long as the hub does, in one process; started again when it fails."""

    name: str
    run: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class OperationCall:
    """A call of a FHIR operation on an instance, a type or the system."""

    actor: Actor
    type: str  # "" on system level
    id: str  # "" on type and system level
    method: str  # GET or POST, DELETE where the operation takes it
    parameters: Mapping[str, Sequence[str]]  # of the query string
    resource: Resource | None  # the body, where it is FHIR
    accept: str  # the Accept header
    language: str  # fr or en
    body: bytes = b""  # as it was sent; `resource` is None where it is not FHIR
    content_type: str = ""
    preferences: Mapping[str, str] = field(default_factory=dict)  # the Prefer header: {"respond-async": ""}
    request_id: str = ""
    if_match: str = ""  # the If-Match header
    version: str = ""  # of an operation on a version, `Type/id/_history/version/$name`; as it was sent
    parts: AsyncIterator[bytes] | None = None  # the body as it arrives, of an operation that takes it so
    format: str = ""  # `_format` as it was sent, for links to more of the answer
    query: str = ""  # the query string as it was sent


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation answers."""

    status: int
    resource: Resource | None = None  # sent as FHIR
    body: bytes = b""  # sent as it is, where `resource` is None
    media_type: str = "application/fhir+json"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: AsyncIterator[bytes] | None = None  # sent one after the other in place of `body`, where it is large


class OperationParameter(NamedTuple):
    """What an operation takes, or gives back: an element `parameter` of its OperationDefinition."""

    name: str
    type: str  # R4's: string, Reference, ...; "" where it has parts
    documentation: str
    use: str = "in"  # or out
    least: int = 0
    most: str = "1"  # or *
    parts: tuple[OperationParameter, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """A FHIR operation: `/fhir/{type}/{id}/${name}`, `/fhir/{type}/${name}` or `/fhir/${name}`."""

    name: str  # without the $
    type: str  # "*" for every type, "" for the system level
    instance: bool  # on an instance, else on the type or system
    methods: tuple[str, ...]
    needs: str  # the scope action on the type called: r for one that only reads, u that changes; "": it looks itself
    run: Callable[[OperationCall], Awaitable[Answer]]
    documentation: str
    definition: str = ""  # canonical url of its OperationDefinition; "" where it is the hub's own
    takes_any_body: bool = False  # whether a body that is not FHIR JSON is handed over as it is (`body`)
    takes_stream: bool = False  # whether NDJSON is handed over as it arrives (`parts`), however long it is
    is_job: bool = False  # whether it starts a job by itself, so that `Prefer: respond-async` is its own matter
    on_versions: bool = False  # whether one on an instance may be called on a version of it too
    reads_body: bool = False  # whether FHIR JSON is handed over unread (`body`): $validate says itself what is wrong
    parameters: tuple[OperationParameter, ...] = ()  # of one that the hub defines itself; HL7's are in HL7's definition


class Erasure(NamedTuple):
    """What is being erased for good (GDPR Art. 17)."""

    patient: str  # id of the Patient, "" where a resource of nobody is erased
    references: frozenset[str]  # `Type/id` of each resource that goes
    identifiers: frozenset[str]  # values of their identifiers, of at least four characters


@dataclass(frozen=True, slots=True)
class Eraser:
    """Says which of a room's durable rows hold what is erased; the core removes them with it."""

    kind: str  # of the rows
    holds: Callable[[Record, Erasure], bool]  # whether a row holds some of it


@dataclass(frozen=True, slots=True)
class Command:
    """A sub-command of `predmp`; `run` returns 0 done, 1 problems found, 2 bad usage.

    A room's module `room` lists its own as `COMMANDS: tuple[Command, ...]`. Each command has the options
    --store and --json where they make sense; `fhir_server.app.opened(settings)` gives it a Core on the store.
    """

    name: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


@dataclass(frozen=True, slots=True)
class Room:
    """What a room's `open(core, settings)` hands in."""

    name: str
    router: Any = None  # a fastapi.APIRouter: JSON routes and pages
    guards: tuple[Guard, ...] = ()
    checks: tuple[Check, ...] = ()
    enrichers: tuple[Enricher, ...] = ()
    calm: tuple[Calm, ...] = ()  # of each measurement that the room judges
    listeners: tuple[Listener, ...] = ()
    tasks: tuple[Task, ...] = ()
    starts: tuple[Callable[[], Awaitable[None]], ...] = ()  # run before the hub says ready, e.g. bind a port
    stops: tuple[Callable[[], Awaitable[None]], ...] = ()  # run at the end, before the store closes
    operations: tuple[Operation, ...] = ()
    erasers: tuple[Eraser, ...] = ()  # for rooms whose durable rows hold patients' data
    settled: Callable[[], Awaitable[None] | None] | None = None  # what a request awaits to see what the room took in
    templates: Path | None = None  # folder of Jinja2 templates, found under the room's name
    menu: tuple[tuple[str, str, str], ...] = ()  # (path, French title, English title) of pages
    metrics: Callable[[], Mapping[str, float]] | None = None  # name with labels -> value; never an id in a label
