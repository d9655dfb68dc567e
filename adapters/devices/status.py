"""Status bits of a measurement, and what they make of its Observation.

Source: HL7 Personal Health Device guide, "Measurement Status", https://hl7.org/fhir/uv/phd/; the codes of
interpretation are those of the Point-of-Care Device guide (https://hl7.org/fhir/uv/pocd/), not checked in a release.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

INTERPRETATION: Final = "http://hl7.org/fhir/uv/pocd/CodeSystem/measurement-status"


class Status(NamedTuple):
    """What one bit means for the Observation; "" where it changes nothing there."""

    fr: str
    status: str = ""  # Observation.status in place of final
    absent: str = ""  # of data-absent-reason: there is no value then
    interpretation: str = ""
    is_test: bool = False
    note: str = ""  # in French


STATUSES: Final[Mapping[str, Status]] = MappingProxyType(
    {
        "invalid": Status("mesure invalide", "entered-in-error", absent="error"),
        "not-available": Status("mesure non disponible", absent="not-performed"),
        "questionable": Status("mesure douteuse", interpretation="questionable"),
        "calibrating": Status("étalonnage en cours", interpretation="calibration-ongoing"),
        "early": Status("estimation précoce", "preliminary", interpretation="early-indication"),
        "threshold": Status("seuil de l'appareil dépassé", interpretation="in-alarm"),
        "alarm-inhibited": Status("alarme de l'appareil inhibée", interpretation="alarm-inhibited"),
        "test": Status("donnée d'essai", is_test=True),
        "manual": Status("saisie à la main", note="Valeur saisie à la main sur l'appareil."),
        "probe-off": Status("capteur débranché", absent="not-performed", note="Capteur débranché ou mal placé."),
    }
)
"""The names that a reading's `status` takes; `manual` and `probe-off` with its note are this hub's own rows."""
