"""A physician's validation: what it writes, and whether one holds for the record as it is now.

A validation is a Composition (final, with its attester and the record's fingerprint) and a Provenance, written in one
transaction with a durable row of this room. The row is what counts: a Composition that somebody else wrote with the
same fingerprint, or changed afterwards, validates nothing.

The Composition has no sections: its readers may be allowed less than the physician was, and a copy of the texts, or
even the list of what there is, would show them what is hidden. It says what was validated by the fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from adapters.dmp.document import AUTHOR, CLASSES, FINGERPRINT, LOINC, TITLE, TYPE
from adapters.dmp.moment import written
from adapters.dmp.record import Record, fingerprint, may_read, read_record
from fhir_server import gate
from fhir_server.errors import Conflict, Forbidden
from fhir_server.interface import Asking, Core, Erasure, Writing
from fhir_server.model import Actor, Entry, Resource, Scope
from fhir_server.model import Record as Row

KIND: Final = "pre-dmp-validation"
PHYSICIANS: Final = ("Practitioner/", "PractitionerRole/")
_ID: Final = "urn:uuid:7d0c1c53-6f0a-4c58-9d4c-2a8d5f4a9b01"  # links Provenance to Composition inside the transaction
_AGENT: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_COMPLETION: Final = "http://terminology.hl7.org/CodeSystem/v3-DocumentCompletion"


def is_physician(actor: Actor) -> bool:
    """Whether the actor is a professional in person; the profession itself is the token's issuer to know."""
    return actor.reference.startswith(PHYSICIANS) and not actor.patient


def may_validate(actor: Actor) -> bool:
    """Whether the actor may validate a record that it may see: in person, and with the right to change it."""
    return is_physician(actor) and (actor.may("u", "Composition") or actor.may("u", "Patient"))


async def standing(core: Core, record: Record, *, actor: Actor) -> Resource | None:
    """Return the Composition of the validation that holds for the record as the actor sees it now; None for a draft.

    Who sees more or less than the physician saw, sees another record: for them it is a draft.
    """
    key = _key(record, fingerprint(record))

    async def work(asking: Asking) -> tuple[str, str] | None:
        row = await asking.record(KIND, key)
        return None if row is None else (gate.load(row.body)["composition"], row.state)

    found: tuple[str, str] | None = await core.ask(actor.tenant, work)
    if found is None:
        return None
    able = replace(actor, scopes=(*actor.scopes, Scope("system", "Composition", "r")))
    composition = await may_read(core, found[0], actor=able)
    if composition is None or composition["meta"]["versionId"] != found[1] or composition["status"] != "final":
        return None
    return composition


async def validate(core: Core, patient: str, *, actor: Actor, seen: str = "") -> tuple[Resource, bool]:
    """Validate a record in the name of the actor.

    Args:
        core: The door.
        patient: Id of the Patient.
        actor: The physician.
        seen: Fingerprint of the record that was read before validating; "" where none is named.

    Returns:
        The Composition of the validation, and whether it is new: validating again changes nothing.

    Raises:
        Forbidden: The actor is no professional in person, or may not change the record.
        NotFound: There is no such Patient for the actor.
        Conflict: The record changed since it was read.
    """
    if not may_validate(actor):
        raise Forbidden("Only a physician, in person and allowed to change the record, validates it.")
    record = await read_record(core, patient, actor=actor)
    mark = fingerprint(record)
    if seen and seen != mark:
        raise Conflict("The record changed since it was read; read it again before validating.")
    if (held := await standing(core, record, actor=actor)) is not None:
        return held, False
    now = core.now()
    writer = replace(actor, scopes=(*actor.scopes, *(Scope("system", t, "c") for t in ("Composition", "Provenance"))))
    entries = (
        Entry("POST", "Composition", composition_of(record, mark, actor.reference, now), full_url=_ID),
        Entry("POST", "Provenance", provenance_of(actor.reference, now)),
    )

    async def work(writing: Writing) -> bytes:
        made = await writing.submit(entries, actor=writer, interaction="validate-pre-dmp")
        version = made[0].version
        assert version is not None
        row = gate.write({"composition": version.reference, "by": actor.reference, "at": now})
        await writing.put_record(KIND, _key(record, mark), str(version.version), row, lane=patient)
        return version.body

    body: bytes = await core.transact(actor.tenant, work)
    return gate.load(body), True


async def has_validation(asking: Asking, patient: str) -> bool:
    """Whether the record of a Patient was ever validated: where not, nobody needs its fingerprint."""
    return bool(await asking.records(KIND, lane=patient, limit=1))


def composition_of(record: Record, mark: str, physician: str, now: int) -> Resource:
    """Return the Composition that states a validation."""
    at = written(now)
    return {
        "resourceType": "Composition",
        "language": "fr-FR",
        "identifier": {"system": FINGERPRINT, "value": mark},
        "status": "final",
        "type": {"coding": [{"system": LOINC, "code": TYPE}], "text": TITLE[0]},
        "category": [{"coding": [{"system": CLASSES, "code": "11", "display": "Synthèse"}]}],
        "subject": {"reference": record.reference},
        "date": at,
        "author": [{"display": AUTHOR[0]}],
        "title": f"{TITLE[0]} (validé)",
        "confidentiality": "N",
        # The CDA header's legalAuthenticator, once the record goes to the DMP.
        "attester": [{"mode": "legal", "time": at, "party": {"reference": physician}}],
    }


def provenance_of(physician: str, now: int) -> Resource:
    """Return who validated and when; no electronic signature is claimed."""
    agent: Mapping[str, Any] = {
        "type": {"coding": [{"system": _AGENT, "code": "attester"}]},
        "who": {"reference": physician},
    }
    return {
        "resourceType": "Provenance",
        "target": [{"reference": _ID}],
        "recorded": written(now),
        "activity": {"coding": [{"system": _COMPLETION, "code": "LA"}]},
        "agent": [agent],
    }


def _key(record: Record, mark: str) -> str:
    return f"{record.reference}|{mark}"


def is_of(record: Row, erasure: Erasure) -> bool:
    """Whether a row is about the Patient that is erased (`interface.Eraser`)."""
    return record.lane == erasure.patient
