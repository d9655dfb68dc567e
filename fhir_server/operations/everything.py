"""`$everything`: the record of a patient, or all of an encounter, page by page, with what it refers to.

Each page stands by itself: matches are of the compartment, in a fixed order and each given once; includes are what
the matches of that page refer to. Source: FHIR R4 4.0.1,
https://hl7.org/fhir/R4/patient-operation-everything.html and
https://hl7.org/fhir/R4/encounter-operation-everything.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from fhir_server.errors import Forbidden, Issue
from fhir_server.interactions import bundle
from fhir_server.interactions.core import Hub
from fhir_server.interface import Answer, Operation, OperationCall
from fhir_server.model import Version, Visibility
from fhir_server.operations.compartment import Compartment, Span, check_span, read_types
from fhir_server.operations.inputs import Inputs, read_inputs, refuse_empty, text, texts, whole
from fhir_server.operations.references import References
from fhir_server.search.parameters import parameter
from fhir_server.search.query import Ask, Match, Query
from fhir_server.search.values import Period, Reference
from fhir_server.settings import Settings
from fhir_server.store.protocol import View

DEFAULT_COUNT: Final = 500  # matches on a page
MOST_COUNT: Final = 1_000
MOST_ASKED: Final = 999_999_999
MOST_SUPPORT: Final = 1_000  # includes on a page
MOST_PATIENTS: Final = 25  # that one page goes through, on type level
_STEP: Final = 100  # references, or matches behind a full page, asked for at once

_INPUTS: Final = {
    "Patient": ("start", "end", "_since", "_type", "_count", "_cursor"),
    "Encounter": ("_since", "_type", "_count", "_cursor"),
}
_DOCUMENTATION: Final = {
    "Patient": "The patient's record: its compartment, tasks and devices, and what these refer to; in pages.",
    "Encounter": "The encounter's compartment and what it refers to; in pages.",
}


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$everything` of a patient, of the patients of the caller, and of an encounter."""
    everything = Everything(hub)
    return tuple(
        Operation(
            name="everything",
            type=type,
            instance=instance,
            methods=("GET", "POST"),
            needs="r",
            run=everything.run,
            documentation=_DOCUMENTATION[type],
            definition=f"http://hl7.org/fhir/OperationDefinition/{type}-everything",
        )
        for type, instance in (("Patient", True), ("Patient", False), ("Encounter", True))
    )


class Position(NamedTuple):
    """Where the next page begins."""

    root: str  # id of the resource whose compartment is walked
    patients: Sequence[Any] | None = None  # on type level: the store's cursor behind this patient, None at the end
    step: int = 0  # of its compartment
    after: Sequence[Any] | None = None  # the store's cursor in that step


class _Scope(NamedTuple):
    """What one compartment may give."""

    span: Span
    owners: frozenset[str]  # the patients whose record the root belongs to: what is another's does not support it


@dataclass(slots=True)
class _Page:
    """A page while it is filled."""

    room: int
    matches: list[Version] = field(default_factory=list)
    included: list[Version] = field(default_factory=list)
    cut: bool = False
    next: Position | None = None


class Everything:
    """Answers `$everything`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._references = References(hub.base_url)

    async def run(self, call: OperationCall) -> Answer:
        """Return one page.

        Raises:
            NotFound, Gone: The patient or encounter is not there for the caller.
            Forbidden: Type level, for a caller who is neither a patient nor the operator.
        """
        inputs = read_inputs(call, _INPUTS[call.type])
        refuse_empty(inputs)
        span = check_span(
            Span(
                text(inputs, "start"), text(inputs, "end"), text(inputs, "_since"), read_types(texts(inputs, "_type"))
            ),
            self._hub.query,
        )
        count = whole(inputs, "_count", default=DEFAULT_COUNT, most=MOST_ASKED)
        page = _Page(min(count, MOST_COUNT))
        if count > MOST_COUNT:  # a page has less, as that of a search, and its links say so: nothing is lost
            inputs = {**inputs, "_count": [MOST_COUNT]}
        path, kept = "/".join((call.type, *filter(None, (call.id, "$everything")))), _kept(inputs)
        signature = f"{path}?{urlencode(kept)}"
        begin = self._begin(call, text(inputs, "_cursor"), signature)
        await self._check(call)
        async with self._hub.store.view(call.actor.tenant) as view:
            see = await self._hub.see(view, call.actor)
            await self._fill(page, view, see, begin, span, call)
        patients = {owner for version in (*page.matches, *page.included) for owner in version.owners}
        target = f"{call.type}/{call.id}" if call.id else call.type
        self._hub.audit(
            call.actor, "R", "$everything", target, tuple(sorted(patients)), 0, call.request_id, urlencode(kept)
        )
        shown = [*kept, ("_format", call.format)] if call.format else kept  # a walk keeps its format
        links = [("self", f"{self._hub.base_url}/{path}?{urlencode(shown)}".rstrip("?"))]
        if page.next is not None:
            cursor = self._hub.cursors.write(page.next, call.actor, signature)
            links.append(("next", f"{self._hub.base_url}/{path}?{urlencode([*shown, ('_cursor', cursor)])}"))
        return Answer(200, body=_bundle(self._hub, page, links, is_whole=not text(inputs, "_cursor")))

    def _begin(self, call: OperationCall, cursor: str, signature: str) -> Position | None:
        """Return where to begin; None at the first of all patients."""
        if cursor:
            return Position(*self._hub.cursors.read(cursor, call.actor, signature))
        root = call.id or call.actor.patient
        return Position(root) if root else None

    async def _check(self, call: OperationCall) -> None:
        """Raise unless the caller may have it: the very resource, or on type level the patients that are theirs."""
        if root := call.id or call.actor.patient:
            await self._hub.read_one(call.type, root, actor=call.actor, request_id=call.request_id)
        elif not call.actor.is_operator:
            raise Forbidden("Everything of every patient is for the operator: name a patient, Patient/ID/$everything.")

    async def _fill(
        self, page: _Page, view: View, see: Visibility, begin: Position | None, span: Span, call: OperationCall
    ) -> None:
        where = begin
        for _ in range(MOST_PATIENTS):
            if where is None:
                where = await self._patient(view, see, None)
                if where is None:
                    return
            inside = Compartment(call.type, where.root, span, self._hub.query, self._hub.index)
            root = await view.read(call.type, where.root)
            owners = frozenset(root.owners if root is not None else ())
            stop = await self._walk(page, view, see, where, inside, _Scope(span, owners))
            if stop is not None:
                page.next = stop
                return
            if where.patients is None:
                return
            where = await self._patient(view, see, where.patients)
            if where is None:
                return
        page.next = where

    async def _patient(self, view: View, see: Visibility, after: Sequence[Any] | None) -> Position | None:
        found = await view.search(
            Query(("Patient",), count=1, after=tuple(after) if after is not None else None, total="none"), see=see
        )
        return Position(found.versions[0].id, found.after) if found.versions else None

    async def _walk(
        self, page: _Page, view: View, see: Visibility, begin: Position, inside: Compartment, scope: _Scope
    ) -> Position | None:
        """Add matches of one compartment until the page is full; return where it stopped, None at its end."""
        before, full, known = len(page.matches), None, 0
        step, after = begin.step, begin.after
        while step < len(inside.steps):
            asked, room = inside.steps[step], page.room - len(page.matches)
            if see.types is not None and asked.type not in see.types:
                step, after = step + 1, None
                continue
            if room <= 0 and full is None:
                full = begin._replace(step=step, after=after)  # a next page begins here, where anything is left for it
            found = await view.search(
                Query(
                    (asked.type,),
                    asked.where,
                    count=room if full is None else _STEP,
                    after=tuple(after) if after is not None else None,
                    total="none",
                ),
                see=see,
            )
            new = [version for version in found.versions if not inside.has(version, before=step)]
            if full is None:
                page.matches += new
            elif new or (known := known + len(found.versions)) > MOST_COUNT:
                break
            step, after = (step, found.after) if found.after is not None else (step + 1, None)
            await asyncio.sleep(0)  # others are served between searches
        else:
            full = None
        await self._support(page, view, see, page.matches[before:], inside, scope)
        if scope.span.types is not None:
            page.matches[before:] = [v for v in page.matches[before:] if v.type in scope.span.types]
        return full

    async def _support(
        self, page: _Page, view: View, see: Visibility, starts: list[Version], inside: Compartment, scope: _Scope
    ) -> None:
        """Add what the matches refer to, and who vouches for them, but what is a match in its own turn."""
        span = scope.span
        known = {(version.type, version.id) for version in (*page.matches, *page.included)}
        takes = partial(_takes, owners=scope.owners, inside=inside)
        followed = await self._references.follow(view, see, starts, takes=takes, most=MOST_SUPPORT - len(page.included))
        found = followed.versions + await self._provenances(view, see, starts, inside)
        since = _since(self._hub, span)
        for version in found:
            fits = (span.types is None or version.type in span.types) and version.at >= since
            if fits and (version.type, version.id) not in known:
                known.add((version.type, version.id))
                page.included.append(version)
        page.cut = page.cut or followed.cut

    async def _provenances(
        self, view: View, see: Visibility, starts: list[Version], inside: Compartment
    ) -> list[Version]:
        """Return the Provenances of the matches; "servers should consider returning" them."""
        target = parameter("Provenance", "target")
        assert target is not None
        made: list[Version] = []
        for begin in range(0, len(starts), _STEP):
            asks = tuple(Ask(Reference(v.type, v.id)) for v in starts[begin : begin + _STEP])
            found = await view.search(
                Query(("Provenance",), (Match(target, asks),), count=MOST_SUPPORT, total="none"), see=see
            )
            made += [version for version in found.versions if not inside.has(version)]
        return made


def _takes(version: Version, *, owners: frozenset[str], inside: Compartment) -> bool:
    """Whether a resource supports a record: it is nobody else's, and no match in its own turn."""
    return owners.issuperset(version.owners) and not inside.has(version)


def _since(hub: Hub, span: Span) -> int:
    if not span.since:
        return -(2**63)
    clause = hub.query("Patient", [("_lastUpdated", f"ge{span.since}")]).where[0]
    assert isinstance(clause, Match) and isinstance(clause.asks[0].value, Period)
    return clause.asks[0].value.lo


def _kept(inputs: Inputs) -> list[tuple[str, str]]:
    """Return the parameters that a page link repeats, in a fixed order."""
    return [(name, str(value)) for name in sorted(inputs) if name != "_cursor" for value in inputs[name]]


def _bundle(hub: Hub, page: _Page, links: list[tuple[str, str]], *, is_whole: bool) -> bytes:
    notes = [Issue("too-costly", f"The first {MOST_SUPPORT} resources referred to are included.", severity="warning")]
    matches = {version.reference: version for version in page.matches}  # of two patients a resource may be both's
    return bundle.searchset(
        hub.base_url,
        list(matches.values()),
        [version for version in page.included if version.reference not in matches],
        query=Query(()),
        total=len(matches) if is_whole and page.next is None else None,
        links=links,
        notes=notes if page.cut else (),
    )
