"""Data types of HL7 v2 to those of FHIR: identifiers, codes, names, addresses, telecom, places, people.

Each converter takes one repetition and notes in the context what it could not carry; none raises.
Source: HL7/v2-to-fhir at 8c9b414, mappings/datatypes (the map of each function is named in its docstring).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from adapters.hl7.codes import ROOT, sources_of, table_sources, table_systems
from adapters.hl7.context import Context, urn_part
from adapters.hl7.maps.tables import Target, table
from adapters.hl7.maps.tables import number as table_number
from adapters.hl7.systems import CODE_SYSTEMS, KNOWN, OIDS, spelt
from adapters.hl7.tokens import Parts, Segment, part

Json: TypeAlias = dict[str, Any]
Convert: TypeAlias = Callable[[Context, Segment, int, Parts], Json | None]

_OID = re.compile(r"[0-2](\.(0|[1-9]\d*))+", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
TABLE_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
FR_IDENTIFIER_TYPES = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"

INS_TYPES = {
    "urn:oid:1.2.250.1.213.1.4.8": "INS-NIR",
    "urn:oid:1.2.250.1.213.1.4.9": "INS-NIA",
    "urn:oid:1.2.250.1.213.1.4.10": "INS-NIR-TEST",
    "urn:oid:1.2.250.1.213.1.4.11": "INS-NIR-DEMO",
}
"""Identifier systems of the French national identity (INS) -> type. Source: FR Core 2.1.0, fr-core-patient-ins."""

TRIPLETS = ((1, 7, 14), (4, 8, 17), (10, 13, 20))
"""Of a coded element: where each code stands, its system's version, its system's OID."""


def universal(identifier: str, kind: str) -> str:
    """Return the URI of a universal id (HD.2 by HD.3), "" where it is none."""
    kind = kind.upper()
    if (kind == "ISO" or (not kind and identifier.count(".") > 2)) and _OID.fullmatch(identifier):
        return f"urn:oid:{identifier}"
    if kind in ("UUID", "GUID") and _UUID.fullmatch(identifier):
        return f"urn:uuid:{identifier.lower()}"
    if kind == "URI" and identifier and not re.search(r"\s", identifier):
        return identifier
    if kind == "DNS" and (name := urn_part(identifier)):
        return f"urn:dns:{name}"
    return ""


def authority(context: Context, segment: Segment, number: int, leaves: list[str]) -> str:
    """Return the identifier system of an assigning authority (HD), "" where it names none.

    Its universal id, else the configured system of its namespace, else one made from the sending
    facility and the namespace: two senders may use one namespace for different things.
    """
    name, identifier, kind = [*leaves, "", "", ""][:3]
    name = "" if name == '""' else name
    if found := universal(identifier, kind) or context.authorities.get(name, ""):
        return found
    if identifier or kind:
        context.note(segment, number, "authority-unreadable")
    if not name and not identifier:
        return ""
    context.note(segment, number, "authority-not-registered", name)
    return f"{context.facility_system}:{urn_part(name or identifier)}"


def identifier(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert CX. Source: CX[Identifier]; a value without authority belongs to the sending facility."""
    value = part(parts, 1).strip()
    if not value:
        return None
    leaves = parts[3] if len(parts) > 3 else [""]
    system = authority(context, segment, number, leaves)
    if not system:
        system = context.facility_system
        context.note(segment, number, "authority-missing")
    made: Json = {"system": system, "value": value}
    if system in INS_TYPES:
        made = {"use": "official", "type": _type(FR_IDENTIFIER_TYPES, INS_TYPES[system]), **made}
    elif kind := part(parts, 5):
        made = {"type": _identifier_type(context, segment, number, kind), **made}
    if period := context.period(segment, number, part(parts, 7), part(parts, 8)):
        made["period"] = period
    if name := leaves[0]:
        made["assigner"] = {"display": name}
    return made


def _type(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def _identifier_type(context: Context, segment: Segment, number: int, code: str) -> Json:
    if code in table("IdentifierType"):
        return _type(TABLE_0203, code)
    context.note(segment, number, "identifier-type-unknown", code)
    return {"text": code}


def entity(
    context: Context, segment: Segment, number: int, parts: Parts, kind: str, *, own: str = "orders"
) -> Json | None:
    """Convert EI to an identifier. Source: EI[Identifier-Extension].

    Args:
        context: Where problems are noted.
        segment: Where it stands.
        number: In which field.
        parts: The repetition.
        kind: Its type in table 0203; "" for none.
        own: What the sending facility's own numbers of this sort are called, where it names no authority.
    """
    value = part(parts, 1).strip()
    if not value:
        return None
    leaves = [part(parts, n) for n in (2, 3, 4)]
    system = authority(context, segment, number, leaves) or f"{context.facility_system}:{own}"
    made: Json = {"type": _type(TABLE_0203, kind)} if kind else {}
    return {**made, "system": system, "value": value}


def code_system(context: Context, segment: Segment, number: int, name: str, oid: str = "") -> str:
    """Return the system of a coding system's name (table 0396), "" where none is named."""
    known = CODE_SYSTEMS.get(name)
    if known:
        return known
    if name.startswith("HL7") and name[3:].isdigit() and len(name) == 7:
        return f"http://terminology.hl7.org/CodeSystem/v2-{name[3:]}"
    if oid and (found := OIDS.get(oid) or universal(oid, "ISO")):
        return found
    if not name:
        return ""
    if "." in name and (found := OIDS.get(name) or universal(name, "ISO")):
        return found
    if name in KNOWN:  # the address itself
        return name
    if found := spelt(name):
        context.note(segment, number, "code-system-assumed", name)
        return found
    if name not in ("L", "99LAB") and not name.startswith("99"):
        context.note(segment, number, "code-system-unknown", name)
    return f"{context.facility_system}:codes" + ("" if name == "L" else f":{urn_part(name)}")


def coded(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert CWE, CE, CNE, CF. Source: CWE[CodeableConcept]."""
    codings: list[Json] = []
    names: list[str] = []
    given = len(parts)
    for at, version, oid in TRIPLETS:
        if at > given:
            break
        code = part(parts, at).strip()
        if not code:
            continue
        coding = {"code": " ".join(code.split())}
        name = part(parts, at + 2).strip()
        if system := code_system(context, segment, number, name, part(parts, oid) if given >= oid else ""):
            coding["system"] = system
        names.append(name)
        if given >= version and (text := part(parts, version).strip()):
            coding["version"] = text
        if text := part(parts, at + 1).strip():
            coding["display"] = text
        codings.append(coding)
    if codings:
        if context.codes:
            codings += _translated(context, segment, number, codings, names)
        elif number in _OBSERVED.get(segment.name, ()):
            _miss(context, segment, number, codings)
    text = part(parts, 9) if given >= 9 else ""
    if not text and not part(parts, 1).strip():
        text = part(parts, 2)
    made: Json = {"coding": codings} if codings else {}
    if text.strip():
        made["text"] = text
    return made or None


_OBSERVED = {"OBX": (3,), "OBR": (4,)}
"""Fields that say what was measured or asked for: a code of the sender's own there is counted where no map knows it."""


def _translated(context: Context, segment: Segment, number: int, codings: list[Json], names: list[str]) -> list[Json]:
    """Return the codings that ConceptMaps add to the sender's own; what they say against them is noted.

    A code without a code system is looked up only where it says what was measured: elsewhere the same short
    code may stand for anything.
    """
    made: list[Json] = []
    is_observed = number in _OBSERVED.get(segment.name, ())
    given = {(coding.get("system", ""), coding["code"]) for coding in codings}
    is_known = any(system and not system.startswith(ROOT) for system, _ in given)
    for coding, name in zip(codings, names, strict=True):
        system, code = coding.get("system", ""), coding["code"]
        if not system and not is_observed:
            continue
        answer = context.codes.answer(context.facility, sources_of(system, name, context.facility), code)
        if answer.rule:
            context.note(segment, number, answer.rule, code)
        is_known = is_known or bool(answer.targets) or answer.is_declared
        for target in (mapped.target for mapped in answer.targets):
            if target.system not in {system for system, _ in given}:
                made += [added] if (added := coding_of(target)) not in made else []
            elif (target.system, target.code) not in given:
                context.note(segment, number, "code-map-differs", code)
    if is_observed and not is_known:
        context.miss(segment, number, codings[0].get("system", ""), codings[0]["code"])
    return made


def _miss(context: Context, segment: Segment, number: int, codings: Sequence[Json]) -> None:
    """Count what was measured where only the sender knows its code."""
    if all(coding.get("system", ROOT).startswith(ROOT) for coding in codings):
        context.miss(segment, number, codings[0].get("system", ""), codings[0]["code"])


def coding_of(target: Target) -> Json:
    """Return a table's target as a Coding."""
    return {k: v for k, v in (("system", target.system), ("code", target.code), ("display", target.display)) if v}


def code_text(text: str) -> str:
    """Return a text as a FHIR code may be written: single spaces, and none at its ends."""
    return " ".join(text.split())


def missing_code() -> Json:
    """Return a required CodeableConcept that the message does not give."""
    url = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
    return {"extension": [{"url": url, "valueCode": "unknown"}]}


def target_of(context: Context, segment: Segment, number: int, name: str, code: str) -> Target | None:
    """Return what a v2 code becomes: by the sender's own map, else by the guide's table; else it is noted.

    Args:
        context: Where problems are noted; it knows the sender's maps.
        segment: Where the code stands.
        number: In which field.
        name: The guide's name of the table.
        code: The code as sent; "" gives None without a note.
    """
    if not code:
        return None
    if context.codes:
        answer = context.codes.answer(
            context.facility, table_sources(name, context.facility), code, to=table_systems(name)
        )
        if answer.rule:
            context.note(segment, number, answer.rule, code)
        if answer.targets:
            return answer.targets[0].target
        if answer.is_declared:
            return None
    found = table(name).get(code)
    if found is None:
        context.note(segment, number, "code-not-mapped", code)
        context.miss(segment, number, f"HL7{table_number(name)}", code)
    return found


def mapped(name: str) -> Convert:
    """Return a converter to a CodeableConcept by one of the guide's tables; the sender's coding stays beside it."""

    def convert(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
        made = coded(context, segment, number, parts)
        code = part(parts, 1)
        if not made or not code:
            return made
        target = target_of(context, segment, number, name, code)
        if target is None:
            return made
        own = [c for c in made["coding"] if c.get("system", target.system) != target.system]
        return {**made, "coding": [coding_of(target), *own]}

    return convert


def code_of(context: Context, segment: Segment, number: int, name: str, code: str) -> str | None:
    """Return the FHIR code of a v2 code by one of the guide's tables; a code without a row is noted."""
    target = target_of(context, segment, number, name, code)
    return target.code if target else None
