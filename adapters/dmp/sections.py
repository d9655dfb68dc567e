"""What stands in the document, in which order, and how much of it. Pure.

LOINC section codes: R4's value set `doc-section-codes` and the International Patient Summary
(https://hl7.org/fhir/uv/ips/); what neither has goes by its title alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from adapters.dmp.line import moment_of
from adapters.dmp.moment import order
from adapters.dmp.record import CLINICAL, MOST, Record
from fhir_server.model import Resource

MOST_ENTRIES: Final = 100  # of a section; what is left out is counted in its text

OPEN_TASK: Final = frozenset({"requested", "received", "accepted", "ready", "in-progress", "on-hold"})
_VITAL_SIGNS: Final = "vital-signs"
_SCORES: Final = "survey"


class Kind(NamedTuple):
    """A section of the document."""

    key: str
    fr: str
    en: str
    loinc: str  # "" none
    types: tuple[str, ...]
    choose: Callable[[Record], Iterable[Resource]]
    is_live: bool = False  # state of now, not a part of what is validated


class Section(NamedTuple):
    """A section filled."""

    kind: Kind
    shown: tuple[Resource, ...]  # what is going on first, then the newest
    left_out: int  # more of the same that the bound cut
    older: int  # earlier values of what is shown
    mistaken: int  # entered in error
    is_withheld: bool  # the actor's scopes do not cover it


def _all(*types: str) -> Callable[[Record], Iterable[Resource]]:
    return lambda record: record.of(*types)


def _with_status(type: str, *statuses: str) -> Callable[[Record], Iterable[Resource]]:
    return lambda record: (r for r in record.of(type) if r.get("status") in statuses)


def _alerts(record: Record) -> Iterable[Resource]:
    yield from (flag for flag in record.of("Flag") if flag.get("status") == "active")
    yield from (task for task in record.of("Task") if task.get("status") in OPEN_TASK)


def categories(observation: Resource) -> frozenset[str]:
    """Return the category codes of an Observation."""
    concepts = observation.get("category", ())
    return frozenset(str(coding.get("code")) for concept in concepts for coding in concept.get("coding", ()))


def _signs(record: Record) -> Iterable[Resource]:
    return (o for o in record.of("Observation") if categories(o) & {_VITAL_SIGNS, _SCORES})


def _results(record: Record) -> Iterable[Resource]:
    return (o for o in record.of("Observation") if not categories(o) & {_VITAL_SIGNS, _SCORES})


KINDS: Final = (
    Kind("alerts", "Alertes en cours", "Open alerts", "", ("Flag", "Task"), _alerts, is_live=True),
    Kind("problems", "Antécédents et problèmes", "Problems", "11450-4", ("Condition",), _all("Condition")),
    Kind("allergies", "Allergies et intolérances", "Allergies and intolerances", "48765-2", ("AllergyIntolerance",),
         _all("AllergyIntolerance")),
    Kind("procedures", "Actes et interventions", "Procedures", "47519-4", ("Procedure",), _all("Procedure")),
    Kind("immunizations", "Vaccinations", "Immunizations", "11369-6", ("Immunization",), _all("Immunization")),
    Kind("treatments", "Traitements", "Medication", "10160-0", ("MedicationRequest", "MedicationStatement"),
         _all("MedicationRequest", "MedicationStatement")),
    Kind("vital-signs", "Constantes et scores", "Vital signs and scores", "8716-3", ("Observation",), _signs),
    Kind("results", "Résultats", "Results", "30954-2", ("Observation",), _results),
    Kind("reports", "Comptes rendus d’examens", "Reports", "", ("DiagnosticReport",), _all("DiagnosticReport")),
    Kind("encounters", "Venues et hospitalisations", "Encounters", "46240-8", ("Encounter",), _all("Encounter")),
    Kind("care-team", "Équipe de soins", "Care team", "85847-2", ("CareTeam",), _with_status("CareTeam", "active")),
    Kind("consent", "Consentements en vigueur", "Consent in force", "", ("Consent",),
         _with_status("Consent", "active"), is_live=True),
)  # fmt: skip

REST: Final = tuple(type for type in CLINICAL if not any(type in kind.types for kind in KINDS))
"""Clinical types without a section of their own: counted at the end, so that nothing is dropped in silence."""


def fill(record: Record) -> tuple[Section, ...]:
    """Return every section of the document, empty ones too."""
    return tuple(_section(kind, record) for kind in KINDS)


def _section(kind: Kind, record: Record) -> Section:
    every = list(kind.choose(record))
    valid = [resource for resource in every if not is_mistaken(resource)]
    newest = sorted(valid, key=lambda resource: order(moment_of(resource)), reverse=True)
    chosen = _latest(newest)
    # An old treatment that goes on must not fall behind a hundred new ones that ended: sorting is stable.
    chosen.sort(key=is_going_on, reverse=True)
    return Section(
        kind,
        tuple(chosen[:MOST_ENTRIES]),
        max(0, len(chosen) - MOST_ENTRIES),
        len(valid) - len(chosen),
        len(every) - len(valid),
        all(type in record.withheld for type in kind.types),
    )


_GOING_ON: Final = OPEN_TASK | {"active", "recurrence", "relapse", "preparation"}


def is_going_on(resource: Resource) -> bool:
    """Whether a resource says that it still holds: an active problem, a treatment under way."""
    states = resource.get("clinicalStatus", {}).get("coding", ())
    return resource.get("status") in _GOING_ON or any(state.get("code") in _GOING_ON for state in states)


def is_mistaken(resource: Resource) -> bool:
    """Whether a resource says that it was entered in error."""
    if resource.get("status") == "entered-in-error":
        return True
    states = resource.get("verificationStatus", {}).get("coding", ())
    return any(state.get("code") == "entered-in-error" for state in states)


def _latest(newest: list[Resource]) -> list[Resource]:
    """Return, of Observations, only the newest of each code; everything else whole."""
    seen: set[str] = set()
    made = []
    for resource in newest:
        if resource["resourceType"] == "Observation":
            key = _code_key(resource)
            if key in seen:
                continue
            seen.add(key)
        made.append(resource)
    return made


def _code_key(observation: Resource) -> str:
    code = observation.get("code", {})
    for coding in code.get("coding", ()):
        if coding.get("code"):
            return f"{coding.get('system', '')}|{coding['code']}"
    return str(code.get("text", observation["id"]))


def rest(record: Record) -> dict[str, int]:
    """Return how many resources there are of each type without a section, where there are some."""
    return {type: len(record.of(type)) for type in REST if record.of(type)}


def unread(record: Record) -> int:
    """Return how many clinical resources there are beyond the newest that were read."""
    return max(0, record.total - MOST)
