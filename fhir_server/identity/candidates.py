"""Which Patients are compared at all: those that an index finds for one of a few questions, each bounded.

What the caller may not see is not found, so a hidden patient changes no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from fhir_server import gate
from fhir_server.identity.predecessors import replaced_by
from fhir_server.identity.score import Person
from fhir_server.interactions.core import Hub
from fhir_server.model import Resource, Visibility
from fhir_server.store.protocol import View
from fhir_server.store.visibility import is_visible

MOST: Final = 100  # found by one question
_LINKS: Final = 5  # from one merged Patient to the next
_VALUES: Final = 10  # identifiers, names and numbers that are asked for


async def find(hub: Hub, view: View, see: Visibility, person: Person) -> dict[str, Resource]:
    """Return Patients that may be the person, by id."""
    found: dict[str, Resource] = {}
    for pairs in questions(person):
        asked = hub.query("Patient", [*pairs, ("_count", str(MOST)), ("_total", "none")])
        for version in (await view.search(asked, see=see)).versions:
            if version.id not in found:
                found[version.id] = gate.load(version.body)
    return found


async def successors(view: View, see: Visibility, found: Mapping[str, Resource], base_url: str) -> dict[str, Resource]:
    """Return the Patient that stands for each found one, by the id of the found one.

    One that was merged into another "must no longer be used": who replaced it is to be used in its place, where the
    caller may see that one. Source: https://hl7.org/fhir/R4/valueset-link-type.html, replaced-by.
    """
    made = dict(found)
    for id in found:
        for _ in range(_LINKS):
            following = replaced_by(made[id], base_url)
            if not following:
                break
            version = await view.read("Patient", following)
            if version is None or version.is_deleted or not is_visible(version, see):
                break
            made[id] = gate.load(version.body)
    return made


def questions(person: Person) -> Iterator[list[tuple[str, str]]]:
    """Yield searches, the sharpest first."""
    identifiers = [f"{escape(s)}|{escape(v)}" for s, values in person.identifiers.items() for v in sorted(values)]
    if identifiers:
        yield [("identifier", ",".join(identifiers[:_VALUES]))]
    telecoms = [c["value"] for c in person.patient.get("telecom", ()) if c.get("value")]
    if telecoms:
        yield [("telecom", _joined(telecoms))]
    family = _joined([word for name in person.families for word in (name, *_long(name))])
    given = _joined([word for name in person.givens for word in (name, *_long(name))])
    births = _births(person.birth)
    if births and family:
        yield [("birthdate", births), ("family", family)]
    if births and given:
        yield [("birthdate", births), ("given", given)]
    if births and family and given:
        yield [("birthdate", births), ("family", given), ("given", family)]
    if family and given:
        yield [("family", family), ("given", given)]
        yield [("family", given), ("given", family)]
    if person.birth[:4] and family:
        yield [("birthdate", person.birth[:4]), ("family", family)]
    if len(person.birth) == 10:
        yield [("birthdate", person.birth)]
    elif family and not given:
        yield [("family", family)]


def _births(text: str) -> str:
    """Return the date, and with day and month swapped, as values of a search."""
    if len(text) == 10 and text[8:] <= "12" and text[5:7] != text[8:]:
        return f"{text},{text[:4]}-{text[8:]}-{text[5:7]}"
    return text


def _long(name: str) -> Sequence[str]:
    words = name.split()
    return [word for word in words if len(word) > 2] if len(words) > 1 else []


def _joined(words: Sequence[str]) -> str:
    return ",".join(escape(word) for word in dict.fromkeys(words[:_VALUES]))


def escape(text: str) -> str:
    """Return a text as a value of a search (https://hl7.org/fhir/R4/search.html#escaping)."""
    return _SPECIAL.sub(r"\\\g<0>", text)


_SPECIAL: Final = re.compile(r"[\\,|$]")
