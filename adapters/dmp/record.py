"""The record of a patient as one actor may see it, and its fingerprint.

Everything comes through the core's search with the caller's own actor: what consent hides is not here, not counted,
and not in the fingerprint.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from adapters.dmp.line import person
from fhir_server import gate
from fhir_server.errors import FhirError
from fhir_server.interface import Core
from fhir_server.model import Actor, Resource, Scope

_CLINICAL: Final = """
    AllergyIntolerance CarePlan CareTeam ClinicalImpression Communication Condition DetectedIssue DeviceUseStatement
    DiagnosticReport DocumentReference Encounter EpisodeOfCare FamilyMemberHistory Goal ImagingStudy Immunization
    Media MedicationAdministration MedicationDispense MedicationRequest MedicationStatement NutritionOrder
    Observation Procedure QuestionnaireResponse ServiceRequest Specimen
"""
CLINICAL: Final = tuple(_CLINICAL.split())
"""What a physician validates; a change of one of these makes the record a draft again."""

LIVE: Final = ("Consent", "Flag", "Task")
"""What the hub works with from minute to minute: shown with its state of now, not a part of what is validated.

An alert that is taken, or a consent given to one more service, does not change what is known of the patient; a new
alert comes with a measurement, which does. RiskAssessment, Composition and Provenance are left out for the same reason.
"""

MOST: Final = 5_000  # clinical resources read, newest first; the number of all is in the fingerprint
MOST_LIVE: Final = 1_000
_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Record:
    """What an actor may see of a patient's record."""

    patient: Resource
    resources: Mapping[str, tuple[Resource, ...]]  # by type, newest write first
    total: int  # clinical resources there are; more than were read where it passes MOST
    withheld: frozenset[str]  # types that the actor's scopes do not cover
    names: Mapping[str, str]  # what people and organisations are called, by Type/id
    people: tuple[Resource, ...]  # those the care team and consents name, where the actor may read them

    @property
    def reference(self) -> str:
        """`Patient/ID`."""
        return f"Patient/{self.patient['id']}"

    def of(self, *types: str) -> list[Resource]:
        """Return the resources of these types."""
        return [resource for type in types for resource in self.resources.get(type, ())]


def reading(actor: Actor) -> Actor:
    """Return the actor with the right to search what it may read: who reads a record needs no second right for it."""
    types = [type for type in ("Patient", *CLINICAL, *LIVE, *_PEOPLE) if actor.may("r", type)]
    return replace(actor, scopes=(*actor.scopes, *(Scope("system", type, "s") for type in types)))


async def read_record(core: Core, patient: str, *, actor: Actor) -> Record:
    """Return what the actor may see of a patient's record.

    Args:
        core: The door.
        patient: Id of the Patient.
        actor: Who asks.

    Raises:
        FhirError: NotFound where the patient is absent or hidden, Gone, Forbidden.
    """
    version = await core.read(f"Patient/{patient}", actor=actor)
    able = reading(actor)
    clinical, total = await _search(core, CLINICAL, patient, able, MOST)
    live, _ = await _search(core, LIVE, patient, able, MOST_LIVE)
    grouped: dict[str, list[Resource]] = {}
    for resource in (*clinical, *live):
        grouped.setdefault(resource["resourceType"], []).append(resource)
    people = await _people(core, grouped, able)
    own = gate.load(version.body)
    named = {f"{p['resourceType']}/{p['id']}": name for p in (own, *people) if (name := person(p))}
    withheld = frozenset(type for type in (*CLINICAL, *LIVE) if not able.may("s", type))
    made = {type: tuple(found) for type, found in grouped.items()}
    return Record(own, made, total, withheld, named, people)


async def _search(
    core: Core, types: Iterable[str], patient: str, actor: Actor, most: int
) -> tuple[list[Resource], int]:
    """Return resources of a patient, newest write first, at most `most`, and how many there are."""
    allowed = [type for type in types if actor.may("s", type)]
    if not allowed:
        return [], 0
    found: list[Resource] = []
    query: str | None = f"?_type={','.join(allowed)}&patient={patient}&_count={_PAGE}"
    total = 0
    while query is not None and len(found) < most:
        page = await core.search(query, actor=actor)
        found += page.resources
        total = max(total, page.total or 0)
        query = page.next
    return found[:most], max(total, len(found))


_PEOPLE: Final = ("Practitioner", "PractitionerRole", "Organization", "RelatedPerson")
_MOST_PEOPLE: Final = 100
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)


async def _people(core: Core, grouped: Mapping[str, list[Resource]], actor: Actor) -> tuple[Resource, ...]:
    """Return who the care teams, consents and encounters name, as far as the actor may read them."""
    named: dict[str, list[str]] = {}
    for reference in dict.fromkeys(_references(grouped)):
        type, _, id = reference.partition("/")
        # A reference is text that somebody wrote: only what is an id goes into a query.
        if type in _PEOPLE and _ID.fullmatch(id) and actor.may("s", type):
            named.setdefault(type, []).append(id)
    made: list[Resource] = []
    for type, ids in named.items():
        page = await core.search(f"{type}?_id={','.join(ids[:_MOST_PEOPLE])}&_count={_MOST_PEOPLE}", actor=actor)
        made += page.resources
    return tuple(made)


def _references(grouped: Mapping[str, list[Resource]]) -> Iterable[str]:
    for team in grouped.get("CareTeam", ()):
        yield from (_target(participant.get("member")) for participant in team.get("participant", ()))
    for consent in grouped.get("Consent", ()):
        yield from (_target(actor.get("reference")) for actor in consent.get("provision", {}).get("actor", ()))
    for encounter in grouped.get("Encounter", ()):
        yield _target(encounter.get("serviceProvider"))


def _target(reference: object) -> str:
    return str(reference.get("reference", "")) if isinstance(reference, dict) else ""


def fingerprint(record: Record) -> str:
    """Return the fingerprint of the clinical record: equal as long as nothing in it changed.

    SHA-256 over the sorted (reference, version) of the Patient and of every clinical resource read, and over the
    number there are: beyond MOST, a write comes among the newest and a deletion changes the number.
    """
    parts = [_versioned(record.patient), *(_versioned(resource) for resource in record.of(*CLINICAL))]
    text = "\n".join((*sorted(parts), str(record.total)))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _versioned(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}/_history/{resource['meta']['versionId']}"


async def may_read(core: Core, reference: str, *, actor: Actor) -> Resource | None:
    """Return a resource where it is there for the actor, else None."""
    try:
        return gate.load((await core.read(reference, actor=actor)).body)
    except FhirError as error:
        if error.status >= 500:
            raise
        return None
