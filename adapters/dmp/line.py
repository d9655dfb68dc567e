"""One line for each resource: what, when, how much. What a narrative and a page show. Pure.

Texts are those of the resource; where it has only a LOINC code that the hub knows, the hub's own words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from adapters.dmp.moment import shown
from adapters.dmp.words import LOINC_WORDS, UNIT_WORDS, word
from fhir_server.model import Resource


class Line(NamedTuple):
    """What people read of one resource; empty where there is nothing to say."""

    what: str
    when: str
    detail: str


def concept(value: Any, language: str) -> str:
    """Return what a CodeableConcept says: its text, a display, the hub's words for its LOINC code, or its code."""
    if not isinstance(value, dict):
        return ""
    if value.get("text"):
        return str(value["text"])
    codings = value.get("coding", [])
    for coding in codings:
        if coding.get("display"):
            return str(coding["display"])
    for coding in codings:
        if coding.get("system") == "http://loinc.org" and (known := LOINC_WORDS.get(coding.get("code", ""))):
            return known[language == "en"]
    return next((str(coding["code"]) for coding in codings if coding.get("code")), "")


def quantity(value: Any) -> str:
    """Return a Quantity as written: comparator, digits, unit; a UCUM code that nobody reads in its usual form."""
    if not isinstance(value, dict) or "value" not in value:
        return ""
    number = value["value"]
    digits = getattr(number, "text", None) or str(number)
    unit = str(value.get("unit") or value.get("code") or "")
    return " ".join(f"{value.get('comparator', '')}{digits} {UNIT_WORDS.get(unit, unit)}".split())


def measured(element: Mapping[str, Any], language: str) -> str:
    """Return the value of an Observation or of one of its components, or why it has none."""
    for key, value in element.items():
        if key.startswith("value"):
            return _value(key, value, language)
    if reason := concept(element.get("dataAbsentReason"), language):
        return f"({reason})"
    return ""


def _value(key: str, value: Any, language: str) -> str:
    if key == "valueQuantity":
        return quantity(value)
    if key == "valueCodeableConcept":
        return concept(value, language)
    if key == "valueBoolean":
        return {True: ("oui", "yes"), False: ("non", "no")}[bool(value)][language == "en"]
    if key == "valueRange":
        return " – ".join(part for part in (quantity(value.get("low")), quantity(value.get("high"))) if part)
    if key == "valueRatio":
        return " / ".join(
            part for part in (quantity(value.get("numerator")), quantity(value.get("denominator"))) if part
        )
    if key == "valuePeriod":
        return _period(value, language)
    if key == "valueDateTime":
        return shown(str(value), language)
    if key == "valueSampledData":
        return ("courbe", "waveform")[language == "en"]
    return str(value)


def _period(value: Any, language: str) -> str:
    if not isinstance(value, dict):
        return ""
    start, end = (shown(value.get(key, ""), language) for key in ("start", "end"))
    return f"{start} – {end}" if start and end else start or (f"– {end}" if end else "")


_TIMES: Final = """
    effectiveDateTime effectiveInstant effectivePeriod onsetDateTime onsetPeriod onsetString performedDateTime
    performedPeriod performedString occurrenceDateTime occurrenceString period authoredOn dateAsserted recordedDate
    recorded issued date dateTime authored sent received created
"""
_WHEN: Final = tuple(_TIMES.split())


def moment_of(resource: Resource) -> str:
    """Return when it happened, else when it was written down, as a FHIR date; "" where the resource does not say."""
    for key in _WHEN:
        value = resource.get(key)
        if isinstance(value, dict):
            value = value.get("start") or value.get("end")
        if isinstance(value, str) and value:
            return value
    return ""


def _when(resource: Resource, language: str) -> str:
    for key in _WHEN:
        value = resource.get(key)
        if isinstance(value, dict) and (text := _period(value, language)):
            return text
        if isinstance(value, str) and value:
            return shown(value, language)
    return ""


def line_of(resource: Resource, language: str, names: Mapping[str, str]) -> Line:
    """Return the line of a resource.

    Args:
        resource: Any of the record.
        language: fr or en.
        names: What people and organisations are called, by `Type/id`.
    """
    make = _DETAILS.get(resource["resourceType"])
    what, detail = make(resource, language, names) if make else (_what(resource, language), _status(resource, language))
    return Line(what or resource["resourceType"], _when(resource, language), detail)


def _what(resource: Resource, language: str) -> str:
    value = resource.get("code") or resource.get("type")
    return concept(value[0] if isinstance(value, list) and value else value, language)


def _status(resource: Resource, language: str) -> str:
    return word(str(resource.get("status", "")), language)


def _joined(*parts: str) -> str:
    return " ; ".join(part for part in parts if part)


def _condition(resource: Resource, language: str, _: Mapping[str, str]) -> tuple[str, str]:
    states = (_state(resource.get(key), language) for key in ("clinicalStatus", "verificationStatus"))
    return _what(resource, language), _joined(*states)


def _state(value: Any, language: str) -> str:
    code = next((c["code"] for c in (value or {}).get("coding", ()) if c.get("code")), "")
    return word(code, language) if code else concept(value, language)


def _allergy(resource: Resource, language: str, names: Mapping[str, str]) -> tuple[str, str]:
    what, states = _condition(resource, language, names)
    reactions = (concept(m, language) for r in resource.get("reaction", ()) for m in r.get("manifestation", ()))
    return what, _joined(*reactions, str(resource.get("criticality", "")), states)


def _medication(resource: Resource, language: str, names: Mapping[str, str]) -> tuple[str, str]:
    drug = concept(resource.get("medicationCodeableConcept"), language) or _name(
        resource.get("medicationReference"), names
    )
    doses = resource.get("dosageInstruction") or resource.get("dosage") or ()
    return drug, _joined(*(str(dose.get("text", "")) for dose in doses), _status(resource, language))


def _immunization(resource: Resource, language: str, _: Mapping[str, str]) -> tuple[str, str]:
    return concept(resource.get("vaccineCode"), language), _status(resource, language)


def _observation(resource: Resource, language: str, _: Mapping[str, str]) -> tuple[str, str]:
    own = measured(resource, language)
    # A score's components say how it came about; those of a panel are its values.
    parts = () if own and not own.startswith("(") else resource.get("component", ())
    colon = (" :", ":")[language == "en"]
    values = (f"{concept(part.get('code'), language)}{colon} {measured(part, language)}" for part in parts)
    state = "" if resource.get("status") == "final" else _status(resource, language)
    return _what(resource, language), _joined(own, *values, state)


def _report(resource: Resource, language: str, _: Mapping[str, str]) -> tuple[str, str]:
    return _what(resource, language), _joined(str(resource.get("conclusion", "")), _status(resource, language))


def _flag(resource: Resource, language: str, _: Mapping[str, str]) -> tuple[str, str]:
    return _what(resource, language), f"{('signalement', 'flag')[language == 'en']} {_status(resource, language)}"


def _task(resource: Resource, language: str, _: Mapping[str, str]) -> tuple[str, str]:
    return _what(resource, language), _joined(str(resource.get("description", "")), _status(resource, language))


def _encounter(resource: Resource, language: str, names: Mapping[str, str]) -> tuple[str, str]:
    kind = resource.get("class", {})
    what = concept((resource.get("type") or [{}])[0], language) or kind.get("display") or kind.get("code") or ""
    where = _name(resource.get("serviceProvider"), names)
    return str(what), _joined(where, _status(resource, language))


def _care_team(resource: Resource, language: str, names: Mapping[str, str]) -> tuple[str, str]:
    members = []
    for participant in resource.get("participant", ()):
        role = concept((participant.get("role") or [{}])[0], language)
        member = _name(participant.get("member"), names)
        members.append(f"{member} ({role})" if role and member else member or role)
    title = ("Équipe de soins", "Care team")[language == "en"]
    return str(resource.get("name") or title), _joined(*members, _status(resource, language))


def _consent(resource: Resource, language: str, names: Mapping[str, str]) -> tuple[str, str]:
    provision = resource.get("provision", {})
    kind = {"permit": ("autorise", "permits"), "deny": ("refuse", "denies")}.get(provision.get("type", ""))
    actors = (_name(actor.get("reference"), names) for actor in provision.get("actor", ()))
    title = ("Consentement", "Consent")[language == "en"]
    return title, _joined(kind[language == "en"] if kind else "", *actors, _status(resource, language))


def _name(reference: Any, names: Mapping[str, str]) -> str:
    if not isinstance(reference, dict):
        return ""
    where = str(reference.get("reference", ""))
    return str(reference.get("display") or names.get(where) or where)


_DETAILS: Final[Mapping[str, Callable[[Resource, str, Mapping[str, str]], tuple[str, str]]]] = MappingProxyType(
    {
        "Condition": _condition,
        "AllergyIntolerance": _allergy,
        "MedicationRequest": _medication,
        "MedicationStatement": _medication,
        "Immunization": _immunization,
        "Observation": _observation,
        "DiagnosticReport": _report,
        "Flag": _flag,
        "Task": _task,
        "Encounter": _encounter,
        "CareTeam": _care_team,
        "Consent": _consent,
    }
)


def person(resource: Resource) -> str:
    """Return what a Patient, Practitioner, RelatedPerson or Organization is called; "" where it has no name."""
    if isinstance(resource.get("name"), str):
        return str(resource["name"])
    for name in resource.get("name", ()):
        if name.get("text"):
            return str(name["text"])
        whole = " ".join((*name.get("prefix", ()), str(name.get("family", "")), *name.get("given", ())))
        if whole.strip():
            return " ".join(whole.split())
    return ""
