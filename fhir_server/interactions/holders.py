"""Chains that go into contained resources: `MedicationRequest?medication.code=x` where the Medication is contained.

"By default, search results only include resources that are not contained in other resources. A chained condition will
be evaluated inside contained resources." The index tells which resources contain one of a type; their bodies are read,
each contained resource is indexed as one of its own would be, and the ids of what holds a match stand beside the chain.
`Bundle?composition.patient=x` goes into the first entry of a document in the same way, `message` into a message's.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#contained and https://hl7.org/fhir/R4/bundle.html#search
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from fhir_server import gate
from fhir_server.definitions import resource_types
from fhir_server.errors import TooCostly
from fhir_server.interactions.contained import CONTAINS, MOST_READ
from fhir_server.interactions.includes import Index
from fhir_server.model import Resource, Version, Visibility
from fhir_server.search.match import Node, matches
from fhir_server.search.parameters import parameter
from fhir_server.search.query import AllOf, AnyOf, Ask, Chain, Clause, Match, Parameter, Query
from fhir_server.search.values import Reference, Token, Value
from fhir_server.store.protocol import View
from fhir_server.store.visibility import is_visible

MOST_HOLDERS: Final = 5_000  # resources that hold a match, of one chain
_PAGE: Final = 200
_TURN: Final = 10  # resources read before others have their turn
_MARK: Final = "...contained..."  # begins the id by which what is contained stands in an index
_LARGE: Final = 50_000  # bytes of a body that count as another one read
_FIRST: Final = {
    "composition": "document",
    "message": "message",
}  # of a Bundle: what leads into its first entry, by type
_ROUNDS: Final = 6  # of reading what contained resources refer to: deeper than any chain


class Holders:
    """Finds what holds a match of a chain within itself.

    Args:
        view: The state.
        see: What may be seen: a contained resource is seen where its container is.
        index: Gives the values of a resource.
    """

    def __init__(self, view: View, see: Visibility, index: Index) -> None:
        self._view, self._see, self._index = view, see, index
        self._outside = _Outside()

    async def beside(self, types: Sequence[str], chain: Chain, narrowing: Iterable[Clause] = ()) -> Clause:
        """Return the chain, with the resources beside it that hold a match within themselves.

        Args:
            types: Of the resources that the chain begins at.
            chain: As a store can answer it.
            narrowing: What else must hold for them.

        Raises:
            TooCostly: Too many resources contain one of the types that the chain leads to.
        """
        asked = Query(tuple(types), (_kind(types, chain), *narrowing), count=_PAGE, total="none")
        found: list[Version] = []
        read = 0
        while True:
            page = await self._view.search(asked, see=self._see)
            read += sum(1 + len(version.body) // _LARGE for version in page.versions)
            if read > MOST_READ or len(found) > MOST_HOLDERS:
                raise TooCostly(
                    f"More than {MOST_READ:,} resources, or {MOST_HOLDERS:,} that match, contain what the chain "
                    f"'{chain.parameter.code}' leads to. Narrow the search by parameters beside it, such as patient."
                )
            for number, version in enumerate(page.versions):
                if not number % _TURN:
                    await asyncio.sleep(0)  # others are served meanwhile
                if await self._holds(chain, version):
                    found.append(version)
            if page.after is None:
                return AnyOf((chain, *_named(types, found))) if found else chain
            asked = replace(asked, after=page.after)

    async def _holds(self, chain: Chain, version: Version) -> bool:
        resource = gate.load(version.body)
        code = chain.parameter.code
        if version.type == "Bundle":
            entries = Entries(resource, self._index)
            around, inside = _Within(entries, self._outside), entries.first(chain.targets)
        else:
            around = _Within(_nodes(resource, self._index), self._outside)
            values = self._index(_local(resource, _marks(resource))).values.get(code, ())
            inside = tuple(one for one in values if isinstance(one, Reference) and one.id.startswith(_MARK))
        node = Node(version.type, version.id, {code: inside})
        for _ in range(_ROUNDS if inside else 0):
            holds = matches(chain, node, around)
            if not self._outside.asked:
                return holds
            await self._fetch()
        return False

    async def _fetch(self) -> None:
        """Read what contained resources refer to outside of their container."""
        for type, id in self._outside.asked:
            version = await self._view.read(type, id)
            seen = version is not None and not version.is_deleted and is_visible(version, self._see)
            self._outside.known[type, id] = self._node(version) if seen and version is not None else None
        self._outside.asked.clear()

    def _node(self, version: Version) -> Node:
        return _node(version.id, gate.load(version.body), version.body, self._index)


class _Outside:
    """Resources of their own that contained ones refer to, and those that are still to be read."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Node | None] = {}
        self.asked: set[tuple[str, str]] = set()


class _Inside(Protocol):
    """The resources inside another, by type and id."""

    def get(self, key: tuple[str, str], /) -> Node | None:
        """Return that resource, None where there is none."""
        ...


class Entries:
    """The resources of a Bundle, each looked into once it is asked for.

    Args:
        bundle: A document or a message.
        index: Gives the values of a resource.
    """

    def __init__(self, bundle: Resource, index: Index) -> None:
        self._index = index
        self._held: list[Resource] = []
        self._places: dict[tuple[str, str], int] = {}
        self._marks: dict[str, str] = {}
        self._made: dict[int, Node] = {}
        for number, entry in enumerate(bundle.get("entry", ())):
            resource, url = entry.get("resource") or {}, entry.get("fullUrl", "")
            type = resource.get("resourceType", "")
            self._held.append(resource)
            self._places[type, f"{_MARK}{number}"] = number
            if url.startswith("urn:"):
                self._marks.setdefault(url, f"{type}/{_MARK}{number}")
            elif url.endswith(f"{type}/{resource.get('id')}"):
                self._places.setdefault((type, resource["id"]), number)

    def first(self, types: Sequence[str]) -> tuple[Reference, ...]:
        """Return what refers to the first entry, where it is of one of these types."""
        type = self._held[0].get("resourceType", "") if self._held else ""
        return (Reference(type, f"{_MARK}0"),) if type in types else ()

    def get(self, key: tuple[str, str], /) -> Node | None:
        """Return an entry's resource; references to a `urn:` of the Bundle lead to its entries."""
        if (place := self._places.get(key)) is None:
            return None
        if place not in self._made:
            resource = self._held[place]
            local = _local(resource, self._marks)
            made = _node(str(resource.get("id", "")), local, gate.write(resource), self._index)
            self._made[place] = made._replace(id=f"{_MARK}{place}")
        return self._made[place]


class _Within:
    """What is around a contained resource: the others of its container, and what they refer to."""

    def __init__(self, inside: _Inside, outside: _Outside) -> None:
        self._inside, self._outside = inside, outside

    def target(self, type: str, id: str) -> Node | None:
        """Return that resource; None also of one that is still to be read."""
        key = (type, id)
        if (found := self._inside.get(key)) is not None or id.startswith(_MARK):
            return found
        if type in resource_types() and key not in self._outside.known:
            self._outside.asked.add(key)
        return self._outside.known.get(key)

    def sources(self, type: str, code: str, to: Node) -> Iterable[Node]:
        """Return nothing: only its container refers to what is contained."""
        return ()


def _kind(types: Sequence[str], chain: Chain) -> Clause:
    """Return what holds for resources that have within themselves what a chain may lead to."""
    if tuple(types) == ("Bundle",) and (kind := _FIRST.get(chain.parameter.code)) and chain.parameter.base == "Bundle":
        of_bundle = parameter("Bundle", "type")
        assert of_bundle is not None, "R4 has it"
        return Match(of_bundle, (Ask(Token(None, kind)),))
    return Match(CONTAINS, tuple(Ask(Token(None, type)) for type in chain.targets))


def _marks(resource: Resource) -> dict[str, str]:
    """Return, by `#id`, the reference by which a contained resource stands in an index."""
    given = resource.get("contained")
    held = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    return {f"#{one.get('id', '')}": f"{one.get('resourceType', '')}/{_MARK}{n}" for n, one in enumerate(held)}


def _nodes(resource: Resource, index: Index) -> dict[tuple[str, str], Node]:
    marks = _marks(resource)
    made: dict[tuple[str, str], Node] = {}
    for one in resource["contained"]:
        if isinstance(one, dict):
            type, _, id = marks[f"#{one.get('id', '')}"].partition("/")
            local = _local(one, marks)
            made[type, id] = _node(str(one.get("id", "")), local, gate.write(one), index)._replace(id=id)
    return made


def _node(id: str, resource: Resource, body: bytes, index: Index) -> Node:
    values: dict[str, tuple[Value, ...]] = {**index(resource).values, "_id": (Token("", id),)}
    return Node(str(resource.get("resourceType", "")), id, values, body)


def _local(value: Any, marks: dict[str, str]) -> Any:
    """Return a resource whose references to what is contained are such as an index takes."""
    if isinstance(value, dict):
        return {
            name: marks.get(item, item) if name == "reference" and isinstance(item, str) else _local(item, marks)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_local(item, marks) for item in value]
    return value


def _named(types: Sequence[str], found: Sequence[Version]) -> list[Clause]:
    """Return clauses for which these resources hold and no other."""
    made: list[Clause] = []
    for type in types:
        asks = tuple(Ask(Token(None, version.id)) for version in found if version.type == type)
        if asks:
            itself: Clause = Match(Parameter("_id", "token", type, "id"), asks)
            kind = Match(Parameter("_type", "token", type, "type"), (Ask(Token(None, type)),))
            made.append(itself if len(types) == 1 else AllOf((kind, itself)))
    return made
