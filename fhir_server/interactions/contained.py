"""Searches for contained resources: `_contained=true|both`, `_containedType=container|contained`.

The index tells which resources contain one of a type; their bodies are then read, and each contained resource is
indexed and compared as a resource of its own would be. Source: FHIR R4 4.0.1,
https://hl7.org/fhir/R4/search.html#contained
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fhir_server import gate
from fhir_server.errors import BadParameter, TooCostly
from fhir_server.interactions.includes import Index
from fhir_server.model import Resource, Version, Visibility
from fhir_server.search.match import Alone, Node, matches
from fhir_server.search.query import AllOf, AnyOf, Ask, Chain, Clause, Has, Match, Not, Parameter, Query
from fhir_server.search.values import Reference, Token
from fhir_server.store.protocol import View

CONTAINS: Final = Parameter("_contained", "token", "Resource", "")
"""The types of what a resource contains, as the extractor finds them."""

MOST_READ: Final = 10_000  # resources that contain others, of one search
_PAGE: Final = 200
_PHASE: Final = "contained"  # first part of the cursor of a page of these
START: Final = (_PHASE, 1 << 62, -1)
"""The cursor before all of them."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of what is contained, or of what contains it."""

    versions: list[Version]
    after: tuple[object, ...] | None
    total: int


async def search(view: View, query: Query, see: Visibility, index: Index, types: frozenset[str]) -> Page:
    """Return a page of the resources that contain a match, newest first, or of the matches themselves.

    Args:
        view: The state.
        query: With `contained` true or both; checked, and as it can be answered from values alone.
        see: What may be seen: a contained resource is seen where its container is.
        index: Gives the values of a resource.
        types: Those that may contain others.

    Raises:
        TooCostly: Too many resources contain one of these types.
    """
    page: list[Version] = []
    places: list[tuple[int, int]] = []
    start, total, read = _start(query.after), 0, 0
    asked: Query | None = _containers(query, types)
    while asked is not None:
        found = await view.search(asked, see=see)
        read += len(found.versions)
        if read > MOST_READ:
            raise TooCostly(
                f"More than {MOST_READ:,} resources contain one of this type; search them by their own type."
            )
        for container, number, resource in _found(found.versions, query, index):
            total += 1
            place = (container.seq, number)
            if (start is None or _comes_after(place, start)) and len(page) <= query.count:
                page.append(container if query.contained_type == "container" else _own(container, resource))
                places.append(place)
        asked = None if found.after is None else replace(asked, after=found.after)
    more = len(page) > query.count
    after = (_PHASE, *places[query.count - 1]) if more and query.count else None
    return Page(page[: query.count], after, total)


def as_source(version: Version) -> Version:
    """Return a match as what includes begin at: a contained resource is of its own type there."""
    return version._replace(type=str(gate.load(version.body)["resourceType"])) if "#" in version.id else version


def is_phase(after: tuple[object, ...] | None) -> bool:
    """Whether a cursor stands among contained resources."""
    return bool(after) and after[0] == _PHASE  # type: ignore[index]


def _start(after: tuple[object, ...] | None) -> tuple[int, int] | None:
    if after is None:
        return None
    match after:
        case (str(), int(seq), int(number)):
            return seq, number
    raise BadParameter("The page link is of another search.")


def _comes_after(place: tuple[int, int], start: tuple[int, int]) -> bool:
    """Containers come newest first, and what each contains in its own order."""
    return place[0] < start[0] or (place[0] == start[0] and place[1] > start[1])


def check(query: Query) -> None:
    """Raise BadParameter where a search follows references or is sorted: what is contained has no place of its own."""
    if query.sort or query.within or any(map(_follows, query.where)):
        raise BadParameter(
            "A search with _contained takes no chains, no _has, no _sort, no full text, no compartment, and no :above "
            "or :below of versions and media types: ask for what contains others, or leave _contained out."
        )


def _follows(clause: Clause) -> bool:
    match clause:
        case Chain() | Has():
            return True
        case Not():
            return _follows(clause.clause)
        case AllOf() | AnyOf():
            return any(map(_follows, clause.clauses))
        case Match():
            return clause.is_full_text or (clause.is_open and any(map(_stands_in_store, clause.asks)))


def _stands_in_store(ask: Ask) -> bool:
    """Whether what is above or below a value is read from stored resources: a canonical's version, a media type."""
    if isinstance(ask.value, Reference):
        return bool(ask.value.url)
    return isinstance(ask.value, Token) and ask.value.system is None


def _containers(query: Query, types: frozenset[str]) -> Query:
    """Return the search of what contains resources of the types asked for."""
    asks = tuple(Ask(Token(None, type)) for type in query.types)
    return Query(tuple(sorted(types)), (Match(CONTAINS, asks),), count=_PAGE, total="none")


def _found(containers: Sequence[Version], query: Query, index: Index) -> Iterator[tuple[Version, int, Resource]]:
    """Yield (container, place, contained resource); a container once where containers are asked for."""
    for container in containers:
        for number, resource in enumerate(gate.load(container.body).get("contained", ())):
            if resource.get("resourceType") in query.types and _holds(query, resource, index):
                yield container, number, resource
                if query.contained_type == "container":
                    break


def _holds(query: Query, resource: Resource, index: Index) -> bool:
    id = str(resource.get("id", ""))
    node = Node(resource["resourceType"], id, {**index(resource).values, "_id": (Token("", id),)})
    return all(matches(clause, node, Alone()) for clause in query.where)


def _own(container: Version, resource: Resource) -> Version:
    """Return what is contained as a match: its fullUrl is that of its container with `#id`."""
    return container._replace(id=f"{container.id}#{resource.get('id', '')}", body=gate.write(resource))
