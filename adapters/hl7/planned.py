"""What a message's transaction will hold, and the clocks that keep older events from undoing newer ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from adapters.hl7.draft import Draft
from adapters.hl7.faults import Problem
from adapters.hl7.times import micros
from fhir_server.interface import Writing
from fhir_server.model import Entry, Resource

CLOCK = "hl7-clock"
"""Kind of the records that hold when a sender's last applied event on a resource was."""

SUBJECT = ("subject", "encounter")
LINKS = {
    "AllergyIntolerance": ("patient", "encounter"),
    "Binary": ("securityContext", ""),
    "Consent": ("patient", ""),
    "Coverage": ("beneficiary", ""),
    "DocumentReference": ("subject", ""),  # its stays are a list in context
    "Immunization": ("patient", "encounter"),
    "RelatedPerson": ("patient", ""),
    "Specimen": ("subject", ""),
    **dict.fromkeys(
        (
            "Appointment",
            "Device",
            "DeviceMetric",
            "Location",
            "Organization",
            "Practitioner",
            "PractitionerRole",
            "Provenance",
        ),
        ("", ""),
    ),
}
"""Type -> the elements that hold its patient and its stay; `SUBJECT` where it is not here, "" where it has none."""


def identified(type: str, key: tuple[str, str]) -> str:
    """Return the query that finds a resource by its identifier."""
    system, value = (
        text.replace("\\", "\\\\").replace("|", "\\|").replace(",", "\\,").replace("$", "\\$") for text in key
    )
    return f"{type}?identifier={quote(system, safe='')}%7C{quote(value, safe='')}"


@dataclass(slots=True)
class Plan:
    """What is to be written, and what was found on the way."""

    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    outdated: bool = False  # some part was older than what is stored
    references: dict[tuple[str, str, str], str] = field(default_factory=dict)  # type, system, value -> reference
    aliases: dict[str, str] = field(default_factory=dict)  # `Type/id` of the message -> under which it is stored
    written: dict[str, int] = field(default_factory=dict)  # `Type/id` -> which entry writes it
    merged: list[str] = field(default_factory=list)  # what merges changed, already in the transaction

    def write(self, one: Entry) -> None:
        """Add an entry under `Type/id`; a resource that comes up twice is written once, as it came last."""
        at = self.written.setdefault(one.url, len(self.entries))
        if at < len(self.entries):
            self.entries[at] = one
        else:
            self.entries.append(one)

    def rename(self) -> None:
        """Refer to what is stored under another id than the message's by that id."""
        for number, one in enumerate(self.entries):
            if one.resource is not None:
                self.entries[number] = replace(one, resource=_renamed(one.resource, self.aliases))

    def planned(self, reference: str) -> Resource | None:
        """Return what is already planned to be written under `Type/id`."""
        at = self.written.get(reference)
        return None if at is None else self.entries[at].resource


async def is_outdated(
    writing: Writing, draft: Draft, sender: str, type: str, key: tuple[str, str], *, keep: bool = True
) -> bool:
    """Whether the sender already reported a newer event on this resource; else this one's time is kept (`keep`)."""
    if draft.at is None:
        return False
    name = "|".join((type, *key, sender))
    before = await writing.record(CLOCK, name)
    at = micros(draft.at)
    if before is not None and int(before.body) > at + draft.doubt:
        return True
    if keep and (before is None or int(before.body) < at):
        await writing.put_record(CLOCK, name, "", str(at).encode())
    return False


def _renamed(value: Any, aliases: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            name: aliases.get(item, item) if name == "reference" and isinstance(item, str) else _renamed(item, aliases)
            for name, item in value.items()
        }
    return [_renamed(item, aliases) for item in value] if isinstance(value, list) else value


def _is_patient(participant: Resource) -> bool:
    return str(participant.get("actor", {}).get("reference", "")).startswith(("Patient/", "urn:uuid:"))


def entry(resource: Resource, patient: str, encounter: Resource | None) -> Entry:
    """Return the entry that stores a resource of the message under its own id, with its patient and its stay."""
    type = resource["resourceType"]
    owner, stay = LINKS.get(type, SUBJECT)
    linked = {**resource, owner: {"reference": patient}} if owner else dict(resource)
    if encounter and stay:
        linked[stay] = encounter
    if type == "Appointment":
        others = [p for p in resource.get("participant", ()) if not _is_patient(p)]
        linked["participant"] = [{"actor": {"reference": patient}, "status": "accepted"}, *others]
    elif type == "Provenance":
        told = resource.get("target", ())
        linked["target"] = [*told, {"reference": patient}, *([encounter] if encounter and not told else [])]
    elif type == "DocumentReference" and encounter:
        linked["context"] = {**resource.get("context", {}), "encounter": [encounter]}
    return Entry("PUT", f"{type}/{resource['id']}", linked)
