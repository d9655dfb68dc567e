"""The sections of a patient summary: what each is called and what belongs into it.

Codes and sections are those of the International Patient Summary, https://hl7.org/fhir/uv/ips/ (Composition (IPS)):
three are required and say so where they are empty, the others stand only where there is something in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from fhir_server.model import Resource

MOST_SHOWN: Final = 200  # resources of a section, the newest

_EMPTY: Final = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/list-empty-reason",
            "code": "unavailable",
            "display": "Unavailable",
        }
    ]
}


@dataclass(frozen=True, slots=True)
class Section:
    """One section."""

    code: str  # LOINC
    title: tuple[str, str]  # French, English
    queries: tuple[str, ...]  # searches below the patient, newest first
    takes: Callable[[Resource], bool]
    is_required: bool = False
    is_latest: bool = False  # whether only the newest Observation of each code is shown


def _codes(resource: Resource, name: str) -> set[str]:
    value = resource.get(name) or {}
    concepts = value if isinstance(value, list) else [value]
    return {str(coding.get("code")) for concept in concepts for coding in concept.get("coding", ())}


def _is_held_true(resource: Resource) -> bool:
    return not _codes(resource, "verificationStatus") & {"entered-in-error", "refuted"}


def _is_over(resource: Resource) -> bool:
    return bool(_codes(resource, "clinicalStatus") & {"inactive", "remission", "resolved"})


def _status(*allowed: str) -> Callable[[Resource], bool]:
    return lambda resource: resource.get("status") in allowed


_FINAL: Final = _status("final", "amended", "corrected")

SECTIONS: Final = (
    Section(
        "10160-0",
        ("Traitements", "Medication summary"),
        ("MedicationStatement", "MedicationRequest?_sort=-authoredon"),
        _status("active", "intended", "on-hold", "unknown"),
        is_required=True,
    ),
    Section(
        "48765-2",
        ("Allergies et intolérances", "Allergies and intolerances"),
        ("AllergyIntolerance?_sort=-date",),
        lambda resource: _is_held_true(resource) and not _is_over(resource),
        is_required=True,
    ),
    Section(
        "11450-4",
        ("Problèmes", "Problem list"),
        ("Condition?_sort=-recorded-date",),
        lambda resource: _is_held_true(resource) and not _is_over(resource),
        is_required=True,
    ),
    Section("11369-6", ("Vaccinations", "Immunizations"), ("Immunization?_sort=-date",), _status("completed")),
    Section(
        "47519-4",
        ("Actes", "History of procedures"),
        ("Procedure?_sort=-date",),
        _status("completed", "in-progress"),
    ),
    Section("46264-8", ("Dispositifs médicaux", "Medical devices"), ("DeviceUseStatement",), _status("active")),
    Section(
        "30954-2",
        ("Résultats", "Results"),
        ("Observation?category=laboratory&_sort=-date",),
        _FINAL,
        is_latest=True,
    ),
    Section(
        "8716-3",
        ("Signes vitaux", "Vital signs"),
        ("Observation?category=vital-signs&_sort=-date",),
        _FINAL,
        is_latest=True,
    ),
    Section(
        "29762-2",
        ("Mode de vie", "Social history"),
        ("Observation?category=social-history&_sort=-date",),
        _FINAL,
        is_latest=True,
    ),
    Section(
        "11348-0",
        ("Antécédents", "History of past illness"),
        ("Condition?_sort=-recorded-date",),
        lambda resource: _is_held_true(resource) and _is_over(resource),
    ),
    Section("18776-5", ("Plan de soins", "Plan of care"), ("CarePlan?_sort=-date",), _status("active")),
)


def written(section: Section, shown: Sequence[Resource], base_url: str, language: str, *, is_cut: bool) -> Resource:
    """Return a section of the Composition, with its narrative."""
    title = section.title[0 if language == "fr" else 1]
    made: Resource = {
        "title": title,
        "code": {"coding": [{"system": "http://loinc.org", "code": section.code}]},
        "text": {"status": "generated", "div": _narrative(shown, language, is_cut)},
    }
    if shown:
        made["entry"] = [{"reference": f"{base_url}/{one['resourceType']}/{one['id']}"} for one in shown]
    else:
        made["emptyReason"] = _EMPTY
    return made


def _narrative(shown: Sequence[Resource], language: str, is_cut: bool) -> str:

    def say(french: str, english: str) -> str:
        return french if language == "fr" else english

    if not shown:
        return _div(f"<p>{say('Rien n’est disponible ici.', 'Nothing is available here.')}</p>")
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _row(one))}</tr>" for one in shown)
    head = "".join(
        f"<th>{title}</th>" for title in (say("Quoi", "What"), say("Valeur", "Value"), say("État", "Status"), "Date")
    )
    note = say(f"Les {MOST_SHOWN} derniers.", f"The newest {MOST_SHOWN}.")
    more = f"<p>{note}</p>" if is_cut else ""
    return _div(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}")


def _div(inside: str) -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{inside}</div>'


def _row(one: Resource) -> tuple[str, str, str, str]:
    """Return what a resource is about, its value, its status and its date, as text."""
    status = one.get("status") or " ".join(sorted(_codes(one, "clinicalStatus")))
    return words(_about(one)), _value(one), str(status), _date(one)


def _about(one: Resource) -> Any:
    names = ("code", "medicationCodeableConcept", "medicationReference", "vaccineCode", "device", "title", "category")
    return next((one[name] for name in names if name in one), {})


def words(value: Any) -> str:
    """Return a concept, a reference or a text as people read it: its text, else a display, else a code."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(words, value)))
    if not isinstance(value, dict):
        return str(value)
    if "reference" in value or "identifier" in value:
        return str(value.get("display") or value.get("reference") or "")
    codings = [coding for coding in value.get("coding", ()) if coding]
    shown = [coding.get("display") or coding.get("code") for coding in codings]
    return str(value.get("text") or next((text for text in shown if text), ""))


def _value(one: Resource) -> str:
    parts = [f"{words(part.get('code'))} {_value(part)}" for part in one.get("component", ())]
    for name, value in one.items():
        if name == "valueQuantity":
            number = value.get("value", "")
            parts.insert(0, f"{value.get('comparator', '')}{number} {value.get('unit', value.get('code', ''))}".strip())
        elif name in ("valueCodeableConcept", "valueString", "valueInteger", "valueDateTime"):
            parts.insert(0, words(value))
    dosage = [str(each["text"]) for each in (one.get("dosage") or one.get("dosageInstruction") or ()) if "text" in each]
    return "; ".join((*parts, *dosage))


def _date(one: Resource) -> str:
    names = ("effectiveDateTime", "onsetDateTime", "performedDateTime", "occurrenceDateTime", "authoredOn",
             "recordedDate", "dateAsserted", "recordedOn", "created")  # fmt: skip
    found = next((str(one[name]) for name in names if name in one), "")
    if found:
        return found[:16].replace("T", " ")
    period: Any = next((one[name] for name in ("effectivePeriod", "performedPeriod", "period") if name in one), {})
    return str(period.get("start", ""))[:10]
