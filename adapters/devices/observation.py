"""A measured reading as a FHIR Observation.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/observation-vitalsigns.html and, for MDC beside LOINC, gateways, status
bits and supplemental types, the Personal Health Device guide, https://hl7.org/fhir/uv/phd/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.devices import measures
from adapters.devices.correction import REFERENCE, Effective
from adapters.devices.instant import written
from adapters.devices.reading import Coded, Measured, Part, Sample
from adapters.devices.status import INTERPRETATION, STATUSES, Status
from adapters.devices.unit import unit_of
from fhir_server.model import Resource

LOINC: Final = "http://loinc.org"
MDC: Final = "urn:iso:std:iso:11073:10101"
SNOMED: Final = "http://snomed.info/sct"
UCUM: Final = "http://unitsofmeasure.org"
LOCAL: Final = "urn:predmp:devices:code"
CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
PHD_CATEGORY: Final = "http://hl7.org/fhir/uv/phd/CodeSystem/PhdObservationCategories"
ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
TRANSLATION: Final = "http://hl7.org/fhir/StructureDefinition/iso21090-PQ-translation"
GATEWAY: Final = "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice"
SUPPLEMENTAL: Final = "68193"  # MDC_ATTR_SUPPLEMENTAL_TYPES


@dataclass(frozen=True, slots=True)
class Filing:
    """What goes into a record: what was measured, of whom, by what, when, and how it is known again."""

    measured: Measured
    identifiers: Sequence[dict[str, Any]]
    patient: str  # Patient/ID
    device: str  # Device/ID
    when: Effective
    received: int  # microseconds since 1970
    gateway: dict[str, Any] | None = None  # a Reference
    coincident: str = ""  # reference of the Observation that tells of the device's clock
    encounter: str = ""  # Encounter/ID
    is_test: bool = False

    @property
    def statuses(self) -> list[Status]:
        """The status bits' meanings."""
        return [STATUSES[name] for name in self.measured.statuses]

    @property
    def is_of_test(self) -> bool:
        """Whether it is no patient's data."""
        return self.is_test or any(status.is_test for status in self.statuses)


def build_observation(filing: Filing) -> Resource:
    """Return the Observation of a reading that is neither a wave nor media nor a medication."""
    measured = filing.measured
    made = frame(filing, "Observation")
    made["status"] = next((status.status for status in filing.statuses if status.status), "final")
    made["category"] = categories(measured)
    made["code"] = code_of(measured)
    made |= {"subject": {"reference": filing.patient}, **effective_of(filing), "issued": written(filing.received)}
    if not made["category"]:
        del made["category"]
    if filing.encounter:
        made["encounter"] = {"reference": filing.encounter}
    made |= {name: coded(value) for name, value in _manner(measured) if value is not None}
    made["device"] = {"reference": filing.device}
    extensions = _extensions(filing)
    if extensions:
        made["extension"] = extensions
    made |= _interpreted(filing)
    return {**made, **_value(filing)}


def frame(filing: Filing, type: str) -> Resource:
    """Return what resources of every type begin with: type, test label, identifiers."""
    made: Resource = {"resourceType": type}
    if filing.is_of_test:
        made["meta"] = {"security": [{"system": REASON, "code": "HTEST"}]}
    made["identifier"] = list(filing.identifiers)
    return made


def effective_of(filing: Filing) -> dict[str, Any]:
    """Return effectiveDateTime, or effectivePeriod where it took a time."""
    if filing.when.end:
        return {"effectivePeriod": {"start": filing.when.at, "end": filing.when.end}}
    return {"effectiveDateTime": filing.when.at}


def categories(measured: Measured) -> list[dict[str, Any]]:
    """Return the category of R4, and the guide's where a personal health device's code is known."""
    made = [{"coding": [{"system": CATEGORY, "code": measured.category}]}] if measured.category else []
    return [*made, {"coding": [{"system": PHD_CATEGORY, "code": "phd-observation"}]}] if measured.mdc else made


def code_of(measured: Measured) -> dict[str, Any]:
    """Return the code of a measurement, in every system that it is known in."""
    made = concept(measured.loinc, measured.mdc, measured.text)
    if measured.snomed:
        made["coding"].append({"system": SNOMED, "code": measured.snomed})
    if measured.local:
        made["coding"].append({"system": LOCAL, "code": measured.local})
    return made


def concept(loinc: tuple[str, ...], mdc: str, text: str) -> dict[str, Any]:
    """Return a CodeableConcept of LOINC and MDC codes."""
    coding = [{"system": LOINC, "code": code} for code in loinc]
    if mdc:
        coding.append({"system": MDC, "code": mdc})
    return {"coding": coding, "text": text}


def coded(value: Coded) -> dict[str, Any]:
    """Return a CodeableConcept of a code as it was sent, with what the table calls it."""
    text = value.text or (measures.RHYTHMS.get(value.code, ("",))[0] if value.system == MDC else "")
    made: dict[str, Any] = {"coding": [{"system": value.system, "code": value.code}]} if value.code else {}
    return {**made, "text": text} if text else made


def absent(code: str) -> dict[str, Any]:
    """Return why a value is not there."""
    return {"coding": [{"system": ABSENT, "code": code}]}


def _manner(measured: Measured) -> tuple[tuple[str, Coded | None], ...]:
    return ("bodySite", measured.site), ("method", measured.method)


def notes_of(measured: Measured) -> list[dict[str, Any]]:
    """Return what status bits and the sender say in words."""
    told = [STATUSES[name].note for name in measured.statuses if STATUSES[name].note]
    return [{"text": text} for text in (*told, *measured.notes)]


def _extensions(filing: Filing) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if filing.gateway:
        made.append({"url": GATEWAY, "valueReference": filing.gateway})
    if filing.coincident:
        made.append({"url": REFERENCE, "valueReference": {"reference": filing.coincident}})
    return made


def _interpreted(filing: Filing) -> dict[str, Any]:
    found = [status.interpretation for status in filing.statuses if status.interpretation]
    made: dict[str, Any] = {}
    if found:
        made["interpretation"] = [{"coding": [{"system": INTERPRETATION, "code": code}]} for code in found]
    if notes := notes_of(filing.measured):
        made["note"] = notes
    return made


def _value(filing: Filing) -> dict[str, Any]:
    """Return the value or why there is none, and the components."""
    measured = filing.measured
    why = next((status.absent for status in filing.statuses if status.absent), "")
    types = [_type(code) for code in measured.types]
    if measured.is_panel:
        made = {"component": [*(_component(part, why) for part in measured.parts), *types]}
        if why:
            made["dataAbsentReason"] = absent(why)  # type: ignore[assignment]
        return made
    made = {"component": types} if types else {}
    if why:
        return {**made, "dataAbsentReason": absent(why)}
    if measured.coded is not None:
        return {**made, "valueCodeableConcept": coded(measured.coded)}
    if measured.parts:
        return {**made, **_quantity_or_absent(measured.parts[0])}
    return {**made, "valueBoolean": True}  # an event: it happened


def _component(part: Part, why: str) -> dict[str, Any]:
    code = concept(part.loinc, part.mdc, part.text)
    return {"code": code, **({"dataAbsentReason": absent(why)} if why else _quantity_or_absent(part))}


def _quantity_or_absent(part: Part) -> dict[str, Any]:
    return {"dataAbsentReason": absent(part.absent)} if part.value is None else {"valueQuantity": quantity(part)}


def _type(code: str) -> dict[str, Any]:
    return {
        "code": {"coding": [{"system": MDC, "code": SUPPLEMENTAL}]},
        "valueCodeableConcept": {"coding": [{"system": MDC, "code": code}]},
    }


def quantity(part: Part) -> dict[str, Any]:
    """Return a Quantity, with what was sent where that was converted."""
    made: dict[str, Any] = {"value": part.value, "unit": part.unit, "system": UCUM, "code": part.ucum}
    if part.original is not None:
        made["extension"] = [{"url": TRANSLATION, "valueQuantity": _original(part.original)}]
    return made


def _original(sample: Sample) -> dict[str, Any]:
    unit = unit_of(sample.unit)
    assert unit is not None
    shown = unit.code if sample.unit.strip().isdigit() else sample.unit  # an MDC code is for no reader
    return {"value": sample.value, "unit": shown, "system": UCUM, "code": unit.code}
