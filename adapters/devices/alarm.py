"""What a reading tells beside its value: an event opens an alert, a suspicion of an artefact is written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.devices import artefact
from adapters.devices.alert import Alarm, alarmed, build_issue
from adapters.devices.artefact import Suspicion
from adapters.devices.instant import spoken
from adapters.devices.observation import Filing
from fhir_server.interface import Writing
from fhir_server.model import Entry

LATE: Final = 86_400_000_000  # microseconds after which an event is told as history, at a low rank (own)
LATE_RANK: Final = "4"
ARTEFACT_RANK: Final = "4"


async def told(writing: Writing, filing: Filing, references: Sequence[str], suspicion: Suspicion | None) -> list[Entry]:
    """Return what joins a reading's transaction; nothing for a test or what was entered in error."""
    if filing.is_of_test or any(status.status == "entered-in-error" for status in filing.statuses):
        return []
    if filing.measured.alert and not any(status.absent for status in filing.statuses):
        return await alarmed(writing, event(filing, references[0], writing.now))
    if suspicion is None:
        return []
    alarm = suspect(filing, references[0], suspicion)
    issue = Entry("POST", "DetectedIssue", build_issue(alarm, writing.now))
    return [issue, *await alarmed(writing, alarm)]


def event(filing: Filing, reference: str, now: int) -> Alarm:
    """Return the alarm of an event: at its rank, or low where it is told late."""
    measured = filing.measured
    is_late = now - filing.when.instant > LATE
    line = f"{measured.text} : signal d'un appareil, {spoken(filing.when.at)}."
    if is_late:
        line = f"Événement ancien, reçu tard. {line}"
    return Alarm(
        filing.patient,
        measured.local,
        LATE_RANK if is_late else measured.alert,
        measured.text,
        line,
        filing.device,
        reference,
        (("measurement", reference),),
        key=reference,
    )


def suspect(filing: Filing, reference: str, suspicion: Suspicion) -> Alarm:
    """Return the alarm of a suspicion."""
    return Alarm(
        filing.patient,
        artefact.FAMILY,
        ARTEFACT_RANK,
        f"Mesure douteuse : {suspicion.fr.lower()}",
        f"{suspicion.fr} sur « {filing.measured.text} » : vérifier le capteur avant de conclure.",
        filing.device,
        reference,
        (("measurement", reference),),
        key=reference,
    )
