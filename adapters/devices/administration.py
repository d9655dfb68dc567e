"""A dispenser's report as MedicationAdministration.

A dispenser tells what it gave out, not what was swallowed: the status is that of its feedback where it has any, and
"completed" else. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/medicationadministration.html; the feedback's words
are this hub's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from adapters.devices.observation import Filing, absent, code_of, coded, frame, notes_of, quantity
from fhir_server.model import Resource

# (status of the administration) by the code of the feedback.
FEEDBACK: Final[Mapping[str, str]] = MappingProxyType(
    {
        "taken": "completed",
        "dispensed": "completed",
        "missed": "not-done",
        "not-taken": "not-done",
        "late": "completed",
        "failed": "stopped",
        "unknown": "unknown",
    }
)


def build_administration(filing: Filing) -> Resource:
    """Return the MedicationAdministration of a dispenser's reading."""
    measured = filing.measured
    made = frame(filing, "MedicationAdministration")
    feedback = measured.coded
    made["status"] = FEEDBACK.get(feedback.code, "unknown") if feedback is not None else "completed"
    if feedback is not None:
        made["statusReason"] = [coded(feedback)]
    medication = coded(measured.medication) if measured.medication is not None else {"text": measured.text}
    made["medicationCodeableConcept"] = medication
    made["subject"] = {"reference": filing.patient}
    if filing.encounter:
        made["context"] = {"reference": filing.encounter}
    made["effectiveDateTime"] = filing.when.at
    made["device"] = [{"reference": filing.device}]
    made["category"] = code_of(measured)
    if notes := notes_of(measured):
        made["note"] = notes
    if dosage := _dosage(filing):
        made["dosage"] = dosage
    return made


def _dosage(filing: Filing) -> dict[str, Any]:
    if not filing.measured.parts:
        return {}
    part = filing.measured.parts[0]
    return {"dose": quantity(part)} if part.value is not None else {"text": absent(part.absent)["coding"][0]["code"]}
