"""Hierarchies of resources: `Location?partof:below=1`, `Encounter?location:below=Location/1`.

"When the reference establishes a strict hierarchy, the modifiers :above and :below may be used to search
transitively through the hierarchy": https://hl7.org/fhir/R4/search.html#recursive
"""

from __future__ import annotations

from typing import Final

from fhir_server.errors import BadParameter, TooCostly
from fhir_server.model import Visibility
from fhir_server.search.parameters import parameter
from fhir_server.search.query import Ask, Clause, Has, Match, Parameter, Query
from fhir_server.search.values import Reference, Token
from fhir_server.store.protocol import View

MOST: Final = 5_000  # resources of one hierarchy that are followed
_STEP: Final = 1_000
_PART_OF: Final = ("partof", "part-of")  # what R4 calls the parameters that make a resource part of its own kind


def upward(type: str) -> Parameter | None:
    """Return the parameter by which resources of a type are part of each other; None where there is none."""
    found = [one for code in _PART_OF if (one := parameter(type, code)) is not None and type in one.targets]
    return found[0] if found else None


async def related(view: View, start: Reference, *, below: bool, see: Visibility) -> list[Reference]:
    """Return a resource and all those below it, or above it, that may be seen.

    Raises:
        BadParameter: Resources of its type have no hierarchy.
        TooCostly: It has more than 5,000.
    """
    up = upward(start.type) if start.type else None
    if up is None:
        raise BadParameter("A search asks for a hierarchy (:above, :below) of what has none.")
    known, fresh = {start.id}, [start.id]
    while fresh:
        found = await _next(view, start.type, up, fresh, below, see)
        fresh = [id for id in found if id not in known]
        known |= set(fresh)
        if len(known) > MOST:
            raise TooCostly(f"The hierarchy has more than {MOST:,} resources. Ask for one further down.")
    return [Reference(start.type, id) for id in sorted(known)]


async def _next(view: View, type: str, up: Parameter, ids: list[str], below: bool, see: Visibility) -> list[str]:
    """Return the ids one step down, or up."""
    itself = parameter(type, "_id")
    assert itself is not None
    made: list[str] = []
    for start in range(0, len(ids), _STEP):
        part = ids[start : start + _STEP]
        where: Clause = Match(up, tuple(Ask(Reference(type, id)) for id in part))
        if not below:
            where = Has(type, up, Match(itself, tuple(Ask(Token(None, id)) for id in part)))
        found = await view.search(Query((type,), (where,), count=MOST + 1, total="none"), see=see)
        made += [version.id for version in found.versions]
    return made
