"""The record as a FHIR document: a Bundle that starts with its Composition. Pure.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/documents.html. Type 60591-5 is "synthèse médicale" among the types
that the CI-SIS allows for a shared document (JDV_J07), category 11 "synthèse" in TRE_A03.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from adapters.dmp.line import line_of
from adapters.dmp.moment import written
from adapters.dmp.narrative import notes_of, say, table
from adapters.dmp.record import Record, fingerprint
from adapters.dmp.sections import Section, fill, rest, unread
from fhir_server.model import Resource

LOINC: Final = "http://loinc.org"
FINGERPRINT: Final = "urn:predmp:dmp:fingerprint"  # identifier system: of the record that a Composition is about
TYPE: Final = "60591-5"
CLASSES: Final = "urn:oid:1.2.250.1.213.1.1.4.1"  # TRE_A03, by its OID
EMPTY: Final = "http://terminology.hl7.org/CodeSystem/list-empty-reason"
TITLE: Final = ("Dossier pré-DMP", "Pre-DMP record")
AUTHOR: Final = ("Plateforme de télémédecine, assemblage automatique", "Telemedicine hub, assembled automatically")


@dataclass(frozen=True, slots=True)
class Making:
    """What a document needs beside the record."""

    base_url: str  # of FHIR
    id: str  # a UUID for this document
    now: int  # microseconds since 1970
    language: str  # fr or en
    validated: Resource | None = None  # the Composition of the validation that holds for this very record
    attester: Resource | None = None  # who validated, where the caller may read it


def build_document(record: Record, making: Making) -> Resource:
    """Return the document Bundle of a record: preliminary, or final where a validation holds for it."""
    sections = fill(record)
    composition = _composition(record, sections, making)
    resources = [record.patient, *_shown(sections), *record.people]
    if making.attester is not None:
        resources.append(making.attester)
    return {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{making.id}"},
        "type": "document",
        "timestamp": written(making.now),
        "entry": [
            {"fullUrl": f"urn:uuid:{making.id}", "resource": composition},
            *({"fullUrl": url, "resource": resource} for url, resource in _once(resources, making.base_url).items()),
        ],
    }


def _once(resources: Iterable[Resource], base_url: str) -> dict[str, Resource]:
    """Return each resource once, under its absolute url."""
    return {f"{base_url}/{r['resourceType']}/{r['id']}": r for r in resources}


def _shown(sections: Iterable[Section]) -> list[Resource]:
    return [resource for section in sections for resource in section.shown]


def _composition(record: Record, sections: tuple[Section, ...], making: Making) -> Resource:
    language, is_final = making.language, making.validated is not None
    title = say(language, *TITLE)
    state = say(language, "validé", "validated") if is_final else say(language, "brouillon", "draft")
    made: Resource = {
        "resourceType": "Composition",
        "id": making.id,
        "language": say(language, "fr-FR", "en"),
        "identifier": {"system": FINGERPRINT, "value": fingerprint(record)},
        "status": "final" if is_final else "preliminary",
        "type": {"coding": [{"system": LOINC, "code": TYPE}], "text": title},
        "category": [{"coding": [{"system": CLASSES, "code": "11", "display": "Synthèse"}]}],
        "subject": {"reference": f"{making.base_url}/{record.reference}"},
        "date": written(making.now),
        "author": [{"display": say(language, *AUTHOR)}],
        "title": f"{title} ({state})",
        "confidentiality": "N",
    }
    if making.validated is not None:
        made["date"] = making.validated["date"]
        made["attester"] = [_absolute(attester, making.base_url) for attester in making.validated["attester"]]
    made["section"] = [_section(section, record, making) for section in sections]
    if others := _others(record, language):
        made["section"].append(others)
    return made


def _absolute(attester: dict[str, Any], base_url: str) -> dict[str, Any]:
    """Return an attester whose party is found from a Composition that has no address of its own."""
    party = attester.get("party", {})
    if "reference" not in party:
        return attester
    return {**attester, "party": {**party, "reference": f"{base_url}/{party['reference']}"}}


def _section(section: Section, record: Record, making: Making) -> dict[str, Any]:
    language, kind = making.language, section.kind
    title = say(language, kind.fr, kind.en)
    lines = [line_of(resource, language, record.names) for resource in section.shown]
    notes = notes_of(section, language, is_final=making.validated is not None)
    made: dict[str, Any] = {"title": title, "code": {"text": title}}
    if kind.loinc:
        made["code"] = {"coding": [{"system": LOINC, "code": kind.loinc}], "text": title}
    made["text"] = {"status": "generated", "div": table(lines, notes, language)}
    if section.shown:
        made["entry"] = [{"reference": f"{making.base_url}/{r['resourceType']}/{r['id']}"} for r in section.shown]
    else:
        made["emptyReason"] = _empty(section, language)
    return made


def _empty(section: Section, language: str) -> dict[str, Any]:
    """Return why a section is empty: never "nothing known", which only a clinician may say."""
    if section.is_withheld:
        return {"coding": [{"system": EMPTY, "code": "withheld"}]}
    text = say(language, "Aucune donnée reçue par la plateforme.", "The hub received no data.")
    return {"coding": [{"system": EMPTY, "code": "unavailable"}], "text": text}


def _others(record: Record, language: str) -> dict[str, Any] | None:
    """Return the section that says what else is in the record, if something is."""
    notes = [f"{type} : {count}" for type, count in rest(record).items()]
    if more := unread(record):
        notes.append(
            say(
                language,
                f"Éléments plus anciens, non relus pour ce document : {more}",
                f"Older elements, not read for this document: {more}",
            )
        )
    if not notes:
        return None
    title = say(language, "Autres éléments du dossier, non repris", "Also in the record, not shown")
    return {"title": title, "text": {"status": "generated", "div": table((), notes, language)}}
