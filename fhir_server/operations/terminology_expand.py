"""`ValueSet/$expand`: the codes of a value set, for a list to choose from or for another program.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/valueset-operation-expand.html
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from fhir_server.definitions import property as element_of
from fhir_server.errors import BadParameter, TooCostly
from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import write_instant
from fhir_server.interface import Answer, OperationCall
from fhir_server.model import Resource
from fhir_server.operations.inputs import Inputs, flag, text, texts
from fhir_server.operations.terminology_inputs import (
    bounded,
    canonical,
    check_date,
    given_resource,
    instance,
    needed,
    only_one,
    opened,
    read_call,
    read_pins,
    size,
    unknown,
)
from fhir_server.operations.terminology_wish import FLAGS, Wish, chosen, read_wish
from fhir_server.terminology import display, valueset
from fhir_server.terminology.codesystem import CodeSystem, Designation
from fhir_server.terminology.expansion import Expansion, expand
from fhir_server.terminology.grammar import LANGUAGES
from fhir_server.terminology.library import Library
from fhir_server.terminology.valueset import Member, ValueSet, split

MOST: Final = 10_000
"""Codes of one answer."""

KNOWN: Final = (
    "url", "valueSet", "valueSetVersion", "context", "contextDirection", "filter", "date", "offset", "count",
    "includeDesignations", "designation", "includeDefinition", "activeOnly", "excludeNested", "excludeNotForUI",
    "excludePostCoordinated", "displayLanguage", "exclude-system", "system-version", "check-system-version",
    "force-system-version",
)  # fmt: skip

_UNCLOSED: Final = "http://hl7.org/fhir/StructureDefinition/valueset-unclosed"
_STRUCTURES: Final = "http://hl7.org/fhir/StructureDefinition/"
_DEEPEST: Final = 30


class Expanding:
    """Answers `$expand`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def run(self, call: OperationCall) -> Answer:
        """Expand the value set of the url, the id or the body.

        Raises:
            BadRequest: No value set is named.
            NotFound: Nobody has loaded it.
            NotLoaded: It takes codes from a code system of which too little is loaded.
            TooCostly: It has more codes than one answer holds.
        """
        inputs = read_call(call, KNOWN, "valueSet")
        check_date(self._hub, inputs)
        wish = read_wish(inputs)
        resource = await instance(self._hub, call, inputs) or given_resource(self._hub, inputs, "valueSet", "ValueSet")
        async with opened(self._hub, call, [resource], read_pins(inputs)) as library:
            value_set = valueset.decode(resource) if resource else await named(library, inputs)
            expansion = await expand(library, value_set)
            systems = {s: await library.code_system(s) for s in {m.system for m in expansion.members.values()}}
        members = await chosen(expansion.members.values(), wish, systems, value_set.language)
        return Answer(200, self._answer(value_set, expansion, members, wish, inputs, systems))

    def _answer(
        self,
        value_set: ValueSet,
        expansion: Expansion,
        members: Sequence[Member],
        wish: Wish,
        inputs: Inputs,
        systems: Mapping[str, CodeSystem | None],
    ) -> Resource:
        is_whole = flag(inputs, "includeDefinition")
        made = {k: v for k, v in value_set.resource.items() if is_whole or k not in ("compose", "contained")}
        made = {"resourceType": "ValueSet"} | made | {"status": value_set.resource.get("status", "active")}
        if value_set.url:
            made["url"] = value_set.url
        page = paged(members, wish)
        parameters = _parameters(inputs, expansion, wish, page)
        about: Resource = {
            "identifier": uuid.uuid5(uuid.NAMESPACE_URL, f"{value_set.url}|{self._hub.now()}").urn,
            "timestamp": write_instant(self._hub.now()),
            "total": len(members),
        }
        if wish.offset or wish.most is not None:
            about["offset"] = wish.offset
        if expansion.is_unclosed:
            about = {"extension": [{"url": _UNCLOSED, "valueBoolean": True}], **about}
        if parameters:
            about["parameter"] = parameters
        shown = nested(page, systems, wish) if wish.is_nested else [contained(member, wish) for member in page]
        return made | {"expansion": about | ({"contains": shown} if shown else {})}


async def named(library: Library, inputs: Inputs) -> ValueSet:
    """Return the value set that a call names by url, or by the element that is bound to it."""
    only_one(inputs, "url", "context")
    url = canonical(inputs, "url", "valueSetVersion")
    if context := bounded(inputs, "context"):
        by_name = bound(context)
        url = split(by_name)[0] + url if url else by_name  # of the version that is asked for
    if not split(url)[0]:
        raise needed("Name the value set: url, valueSet or context; or call the operation on one by its id.")
    found = await library.value_set(url)
    if found is None:
        raise unknown("ValueSet")
    return found


def bound(context: str) -> str:
    """Return the value set that an element of R4 is bound to.

    Args:
        context: `http://hl7.org/fhir/StructureDefinition/Observation#Observation.status`, or `Observation.status`.
    """
    path = context.removeprefix(_STRUCTURES).rpartition("#")[2]
    parent, _, name = path.rpartition(".")
    try:
        found = element_of(parent, name)
    except KeyError:
        found = None
    if found is None or not found[0].binding:
        raise BadParameter("The context is an element of R4 that is bound to a value set, e.g. Observation.status.")
    return found[0].binding


def paged(members: Sequence[Member], wish: Wish) -> Sequence[Member]:
    """Return the page asked for.

    Raises:
        TooCostly: It holds more than 10,000 codes.
    """
    end = len(members) if wish.most is None else wish.offset + wish.most
    page = members[wish.offset : end]
    if len(page) > MOST:
        raise TooCostly(
            f"The expansion has more than {MOST} codes. Ask for pages by count and offset, or for less by filter."
        )
    return page


def contained(member: Member, wish: Wish) -> dict[str, Any]:
    """Return one entry of expansion.contains."""
    made: dict[str, Any] = {"system": member.system} if member.system else {}
    if member.is_abstract:
        made["abstract"] = True
    if member.is_inactive:
        made["inactive"] = True
    if member.version:
        made["version"] = member.version
    made["code"] = member.code
    if member.display:
        made["display"] = member.display
    if wish.with_designations and (found := [designated(d) for d in member.designations if _wanted(d, wish)]):
        made["designation"] = found
    return made


def designated(designation: Designation) -> dict[str, Any]:
    """Return a designation as JSON."""
    made = {"language": designation.language, "use": designation.use, "value": designation.value}
    return {key: value for key, value in made.items() if value}


def _wanted(designation: Designation, wish: Wish) -> bool:
    if not wish.designations:
        return True
    use = designation.use or {}
    return any(
        display.is_of(designation.language, code)
        if system == LANGUAGES and designation.language
        else (use.get("system"), use.get("code")) == (system, code)
        for system, code in wish.designations
    )


def nested(page: Sequence[Member], systems: Mapping[str, CodeSystem | None], wish: Wish) -> list[dict[str, Any]]:
    """Return the members inside each other as their code systems say; each stands once, in its first parent.

    Flat, where the hierarchy has a cycle or is deeper than 30.
    """
    entries = {(member.system, member.code): contained(member, wish) for member in page}
    above = {key: _parent(key, entries.keys(), systems) for key in entries}
    if any(_is_too_deep(key, above) for key in entries):
        return list(entries.values())
    for key, entry in entries.items():
        if (parent := above[key]) is not None:
            entries[parent].setdefault("contains", []).append(entry)
    return [entry for key, entry in entries.items() if above[key] is None]


def _parent(
    key: tuple[str, str], entries: Collection[tuple[str, str]], systems: Mapping[str, CodeSystem | None]
) -> tuple[str, str] | None:
    system, code = key
    known = systems.get(system)
    parents = known.parents.get(code, ()) if known else ()
    return next(((system, parent) for parent in parents if (system, parent) in entries), None)


def _is_too_deep(key: tuple[str, str] | None, above: Mapping[tuple[str, str], tuple[str, str] | None]) -> bool:
    for _ in range(_DEEPEST):
        if key is None:
            return False
        key = above[key]
    return True


def _parameters(inputs: Inputs, expansion: Expansion, wish: Wish, page: Sequence[Member]) -> list[dict[str, Any]]:
    """Return what the expansion rests on: the parameters of the call and the versions of code systems."""
    made: list[dict[str, Any]] = []
    for name in ("filter", "displayLanguage"):
        if value := text(inputs, name):
            made.append({"name": name, "valueString" if name == "filter" else "valueCode": value})
    for name in ("offset", "count"):
        if (number := size(inputs, name)) is not None:
            made.append({"name": name, "valueInteger": number})
    made += [{"name": name, "valueBoolean": flag(inputs, name)} for name in FLAGS if name in inputs]
    for name in ("designation", "exclude-system", "system-version", "check-system-version", "force-system-version"):
        type = "valueString" if name == "designation" else "valueUri"
        made += [{"name": name, type: value} for value in texts(inputs, name)]
    return made + [{"name": "version", "valueUri": used} for used in expansion.versions]
