"""A measured reading as a FHIR Observation.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/observation-vitalsigns.html and, for MDC beside LOINC,
https://hl7.org/fhir/uv/phd/
"""

from __future__ import annotations

from typing import Any, Final

from adapters.devices.identity import CONTENT, READING
from adapters.devices.instant import written
from adapters.devices.reading import Measured, Part, Sample
from adapters.devices.unit import unit_of
from fhir_server.model import Resource

LOINC: Final = "http://loinc.org"
MDC: Final = "urn:iso:std:iso:11073:10101"
UCUM: Final = "http://unitsofmeasure.org"
CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
TRANSLATION: Final = "http://hl7.org/fhir/StructureDefinition/iso21090-PQ-translation"


def build_observation(
    measured: Measured, *, key: str, content: str, patient: str, device: str, received: int
) -> Resource:
    """Return the Observation of a reading.

    Args:
        measured: What was measured.
        key: What makes it the same reading (`identity.key_of`).
        content: Digest of what it says (`identity.content_of`).
        patient: `Patient/ID`.
        device: `Device/ID`.
        received: When it came, microseconds since 1970; also its time where the device has no clock.
    """
    made: Resource = {
        "resourceType": "Observation",
        "identifier": [{"system": READING, "value": key}, {"system": CONTENT, "value": content}],
        "status": "final",
    }
    if measured.category:
        made["category"] = [{"coding": [{"system": CATEGORY, "code": measured.category}]}]
    made["code"] = _code(measured.loinc, measured.mdc, measured.text)
    made["subject"] = {"reference": patient}
    made["effectiveDateTime"] = measured.at or written(received)
    made["issued"] = written(received)
    made["device"] = {"reference": device}
    if measured.is_panel:
        made["component"] = [
            {"code": _code(part.loinc, part.mdc, part.text), "valueQuantity": _quantity(part)}
            for part in measured.parts
        ]
    else:
        made["valueQuantity"] = _quantity(measured.parts[0])
    return made


def _code(loinc: tuple[str, ...], mdc: str, text: str) -> dict[str, Any]:
    coding = [{"system": LOINC, "code": code} for code in loinc]
    if mdc:
        coding.append({"system": MDC, "code": mdc})
    return {"coding": coding, "text": text}


def _quantity(part: Part) -> dict[str, Any]:
    made: dict[str, Any] = {"value": part.value, "unit": part.unit, "system": UCUM, "code": part.ucum}
    if part.original is not None:
        made["extension"] = [{"url": TRANSLATION, "valueQuantity": _original(part.original)}]
    return made


def _original(sample: Sample) -> dict[str, Any]:
    unit = unit_of(sample.unit)
    assert unit is not None
    return {"value": sample.value, "unit": sample.unit, "system": UCUM, "code": unit.code}
