"""What rules take in: how a measurement is recognised, in which unit, how long it counts.

Codes: LOINC as in the R4 vital signs profiles (https://hl7.org/fhir/R4/observation-vitalsigns.html) and, for
inhaled oxygen, the US Core pulse oximetry profile. Windows and plausible ranges are this hub's design, for
clinicians to confirm: what changes fast counts 4 hours, what changes slowly 12.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

from triage_hooks.codes import LOINC, SIGN, SNOMED

HOUR: Final = 3_600_000_000  # microseconds


class Input(NamedTuple):
    """One thing that rules can ask for."""

    name: str
    codes: tuple[tuple[str, str], ...]  # (system, code) of an Observation or of a component
    unit: str  # UCUM; a rule never converts; "" for what is no quantity
    window: int  # microseconds that a value counts after it was measured
    low: Decimal  # the least and the greatest value taken for a measurement
    high: Decimal
    french: str
    english: str
    short: str  # in French, for one line


def _quantity(
    name: str,
    codes: tuple[str, ...],
    unit: str,
    hours: int,
    bounds: tuple[int, int],
    words: tuple[str, str, str],
) -> Input:
    pairs = tuple((LOINC, code) for code in codes)
    return Input(name, pairs, unit, hours * HOUR, Decimal(bounds[0]), Decimal(bounds[1]), *words)


RESP_RATE: Final = _quantity(
    "resp_rate", ("9279-1",), "/min", 4, (0, 200), ("Fréquence respiratoire", "Respiratory rate", "FR")
)
# Low extremes stay: a saturation or a pressure near 0 is a failing sensor or a dying patient; a person looks.
SPO2: Final = _quantity(
    "spo2", ("2708-6", "59408-5"), "%", 4, (0, 100), ("Saturation en oxygène", "Oxygen saturation", "SpO2")
)
SYSTOLIC: Final = _quantity(
    "systolic_bp", ("8480-6",), "mm[Hg]", 4, (0, 350), ("Pression systolique", "Systolic pressure", "PAS")
)
PULSE: Final = _quantity("pulse", ("8867-4",), "/min", 4, (0, 400), ("Pouls", "Pulse", "FC"))
TEMPERATURE: Final = _quantity("temperature", ("8310-5",), "Cel", 12, (20, 50), ("Température", "Temperature", "T"))
# The flow and the concentration are read by vital_signs.py, which makes one yes or no of them; 371825009 is
# "patient on oxygen" as implementers of NEWS use it (not checked in a SNOMED CT release).
OXYGEN: Final = Input(
    "on_oxygen",
    ((LOINC, "3151-8"), (LOINC, "3150-6"), (SIGN, "on-oxygen"), (SNOMED, "371825009")),
    "",
    12 * HOUR,
    Decimal(0),
    Decimal(100),
    "Oxygène inhalé",
    "Inhaled oxygen",
    "O2",
)
# 67775-7 "level of responsiveness" and 80288-4 "level of consciousness" are used for ACVPU by implementers;
# that LOINC means them so was not checked in a LOINC release.
CONSCIOUSNESS: Final = Input(
    "consciousness",
    ((LOINC, "67775-7"), (LOINC, "80288-4"), (SIGN, "acvpu")),
    "",
    12 * HOUR,
    Decimal(0),
    Decimal(0),
    "Conscience (ACVPU)",
    "Consciousness (ACVPU)",
    "Conscience",
)

INPUTS: Final = {item.name: item for item in (RESP_RATE, SPO2, OXYGEN, SYSTOLIC, PULSE, CONSCIOUSNESS, TEMPERATURE)}
BY_CODE: Final = {pair: item for item in INPUTS.values() for pair in item.codes}
