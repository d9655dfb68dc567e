"""Names of this hub's own code systems and codes, in one place, and of those of others that it uses.

The hub's own are urns, so that they mean the same on every hub whatever its address.
"""

from __future__ import annotations

from typing import Any, Final

LOINC: Final = "http://loinc.org"
SNOMED: Final = "http://snomed.info/sct"
UCUM: Final = "http://unitsofmeasure.org"
CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
FLAG_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/flag-category"
ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"

RULE: Final = "urn:predmp:triage:rule"  # news2, with its version
FAMILY: Final = "urn:predmp:triage:family"  # vitals, vitals-history
RANK: Final = "urn:predmp:triage:rank"  # 1 2 3A 3B 4 5
SCORE: Final = "urn:predmp:triage:score"  # news2, and its parts
LEVEL: Final = "urn:predmp:triage:level"  # low low-medium medium high
TASK: Final = "urn:predmp:triage:task"  # alert-review, failure-in-auto-processing
INPUT: Final = "urn:predmp:triage:input"  # what a Task.input or Task.output is
OUTCOME: Final = "urn:predmp:triage:outcome"  # how an alert was closed
SIGN: Final = "urn:predmp:triage:sign"  # acvpu, on-oxygen
ACVPU: Final = "urn:predmp:triage:acvpu"  # A C V P U
SETTING: Final = "urn:predmp:triage:setting"  # news2-spo2-scale-2: of a Flag that a clinician sets
DEVICE: Final = "urn:predmp:triage:device"  # identifier system of the engine's Device
EPISODE: Final = "urn:predmp:triage:episode"  # identifier system of alert Tasks
LIFECYCLE: Final = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"  # what a Provenance says was done

EXTENSION_RANK: Final = "urn:predmp:triage:extension:worklist-rank"  # integer, 1 first
EXTENSION_TRACK: Final = "urn:predmp:triage:extension:track"  # acute | chronic
EXTENSION_SCORE: Final = "urn:predmp:triage:extension:episode-score"  # integer: the highest of the episode

ALERT_REVIEW: Final = "alert-review"
ENGINE_FAILURE: Final = "failure-in-auto-processing"
SCALE_2: Final = "news2-spo2-scale-2"

OPEN: Final = ("requested", "received", "accepted", "in-progress", "on-hold")  # Task.status of an open alert
CLOSED: Final = ("completed", "rejected", "cancelled", "failed", "entered-in-error")


def coding(system: str, code: str, display: str = "", version: str = "") -> dict[str, Any]:
    """Return a Coding."""
    made = {"system": system, "version": version, "code": code, "display": display}
    return {key: value for key, value in made.items() if value}


def concept(*codings: dict[str, Any], text: str = "") -> dict[str, Any]:
    """Return a CodeableConcept."""
    made: dict[str, Any] = {"coding": list(codings)} if codings else {}
    return {**made, "text": text} if text else made


def codes_of(value: Any, system: str) -> list[str]:
    """Return the codes that a CodeableConcept holds of one system."""
    if not isinstance(value, dict):
        return []
    found = (item.get("code") for item in value.get("coding", ()) if item.get("system") == system)
    return [code for code in found if isinstance(code, str)]


def extension_of(resource: dict[str, Any], url: str) -> Any:
    """Return the value of a resource's extension; None where it has none."""
    for item in resource.get("extension", ()):
        if item.get("url") == url:
            return next((value for key, value in item.items() if key.startswith("value")), None)
    return None
