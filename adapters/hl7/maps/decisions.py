"""Our decisions about code tables: what fills the guide's blanks, and what replaces a row of it.

Each is a design choice of this project, not a statement of HL7; `reason` says why. A FHIR ConceptMap shows it
with the row (`predmp hl7 maps`), and a test holds that no other row differs from the guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

STATUS: Final = "http://hl7.org/fhir/observation-status"
REPORT_STATUS: Final = "http://hl7.org/fhir/diagnostic-report-status"
NAME_USE: Final = "http://hl7.org/fhir/name-use"
CONTACT_USE: Final = "http://hl7.org/fhir/contact-point-use"
CONTACT_SYSTEM: Final = "http://hl7.org/fhir/contact-point-system"
ENCOUNTER_STATUS: Final = "http://hl7.org/fhir/encounter-status"
REQUEST_PRIORITY: Final = "http://hl7.org/fhir/request-priority"
REQUEST_STATUS: Final = "http://hl7.org/fhir/request-status"
APPOINTMENT_STATUS: Final = "http://hl7.org/fhir/appointmentstatus"
CRITICALITY: Final = "http://hl7.org/fhir/allergy-intolerance-criticality"
DIAGNOSIS_ROLE: Final = "http://terminology.hl7.org/CodeSystem/diagnosis-role"
COMPOSITION_STATUS: Final = "http://hl7.org/fhir/composition-status"
DOCUMENT_STATUS: Final = "http://hl7.org/fhir/document-reference-status"


class Target(NamedTuple):
    """What a v2 code becomes."""

    code: str
    display: str
    system: str


class Decision(NamedTuple):
    """Rows that we decided, and why."""

    reason: str
    rows: Mapping[str, Target]


def _to(reason: str, system: str, **rows: str) -> Decision:
    return Decision(reason, {source: Target(code, "", system) for source, code in rows.items()})


def _kept(reason: str, number: str, *codes: str) -> Decision:
    system = f"http://terminology.hl7.org/CodeSystem/v2-{number}"
    return Decision(reason, {code: Target(code, "", system) for code in codes})


DECIDED: Final[Mapping[str, tuple[Decision, ...]]] = {
    "ObservationResultStatusCodesInterpretation": (
        _to("Blank in the guide: the nearest status that does not say more than was sent", STATUS,
            B="amended", I="registered", N="unknown", O="registered", R="preliminary", S="preliminary"),
        _to("Blank in the guide: verified or final without change of value", STATUS, U="final", V="final"),
    ),
    "ResultStatus[Non-Queries]": (
        _to("Blank in the guide; Y and Z have no row: they say that nothing was found, so there is no report",
            REPORT_STATUS, A="partial", M="preliminary", N="registered"),
    ),
    "NameType": (
        _to("Blank in the guide: assigned names and pseudonyms are no legal names", NAME_USE,
            A="anonymous", S="anonymous"),
        _to("Blank in the guide: a name no longer to be used is one of before", NAME_USE, NOUSE="old"),
    ),
    "TelecommunicationUseCode": (
        _to("Blank in the guide: at home, but not for ever", CONTACT_USE, ORN="temp", VHN="home", EMR="temp"),
    ),
    "TelecommunicationEquipmentType": (
        _to("The guide says mobile, which is a use and no system", CONTACT_SYSTEM, CP="phone"),
    ),
    "Event[EncounterStatus]": (
        _to("The guide's event map says planned, its PV1 map in-progress: in-progress unless PV1-2 is P",
            ENCOUNTER_STATUS, A04="in-progress"),
        _to("Not in the guide: what the event says of the stay", ENCOUNTER_STATUS,
            A06="in-progress", A07="in-progress", A12="in-progress", A14="planned", A17="in-progress",
            A21="onleave", A22="in-progress", A23="entered-in-error", A27="cancelled", A38="cancelled"),
    ),
    "InterpretationCodes": (
        _kept("v3-ObservationInterpretation no longer has it: it keeps its own system", "0078",
              "AC", "HM", "OBX", "QCF", "TOX", "MS", "VS"),
    ),
    "AllergySeverity[AllergyIntolerance.criticality]": (
        _to("Blank in the guide: the sender does not know", CRITICALITY, U="unable-to-assess"),
    ),
    "FillerStatusCodes[Appointment]": (
        _to("Blank in the guide: it will not take place", APPOINTMENT_STATUS, Discontinued="cancelled"),
        _to("Blank in the guide: FHIR has no such status", APPOINTMENT_STATUS, Blocked="pending", Overbook="pending"),
    ),
    "ExtendedPriorityCodes": (
        _to("Blank in the guide: timing critical is urgent", REQUEST_PRIORITY, T="urgent"),
        _to("Blank in the guide: no urgency is stated", REQUEST_PRIORITY, P="routine"),
    ),
    "Priority": (
        _to("No table in the guide (0027): as table 0485", REQUEST_PRIORITY,
            S="stat", A="asap", R="routine", T="urgent", P="routine"),
    ),
    "DiagnosisType": (
        _to("Blank in the guide: a final diagnosis is that of the discharge", DIAGNOSIS_ROLE, F="DD"),
        _kept("Blank in the guide and in diagnosis-role: it keeps its own system", "0052", "W"),
    ),
    "OrderStatus": (_to("Blank in the guide: some results are there, the order runs", REQUEST_STATUS, A="active"),),
    "DocumentCompletionStatus": (
        _to("No table in the guide (0271): authenticated is final, all before is preliminary", COMPOSITION_STATUS,
            AU="final", LA="final", DI="preliminary", DO="preliminary", IN="preliminary", IP="preliminary",
            PA="preliminary"),
    ),
    "DocumentAvailabilityStatus": (
        _to("No table in the guide (0273)", DOCUMENT_STATUS,
            AV="current", UN="current", OB="superseded", CA="entered-in-error"),
    ),
}  # fmt: skip
"""Table, by its name in the guide or ours where it has none -> decisions, later ones win."""

NUMBERS: Final[Mapping[str, str]] = {
    "Priority": "0027",
    "DocumentCompletionStatus": "0271",
    "DocumentAvailabilityStatus": "0273",
}
"""HL7's number of the tables that the guide does not have."""

STRUCTURES: Final[Mapping[str, str]] = {
    **{f"ADT^{event}": "ADT_A30" for event in ("A30", "A34", "A35", "A36", "A46", "A47", "A48", "A49")},
    "ADT^A18": "ADT_A18",
    "ADT^Z99": "ADT_A01",
    "ORU^R40": "ORU_R01",
}
"""Structures of events that the guide's table 0354 leaves out: those withdrawn after 2.5, the French Z99, and alarms
of devices (IHE PCD-04), whose own structure ORU_R40 hl7apy's tables do not have.

General knowledge of HL7 2.5 and of PAM France; not checked against table 0354.
"""
