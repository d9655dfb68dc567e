"""ISO/IEEE 11073 codes (MDC) to LOINC, and MDC units to UCUM: what a device's results (IHE PCD-01) are called.

MDC codes are partition x 65536 + term of ISO/IEEE 11073-10101, read in a public file of its constants. LOINC codes of
vital signs are those that FHIR R4 makes mandatory (https://hl7.org/fhir/R4/observation-vitalsigns.html); the others
were not looked up in a LOINC release. The room of device feeds has a table of its own, with bounds and words; rooms
share no code, so a test holds the two to the same codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

SYSTEM: Final = "urn:iso:std:iso:11073:10101"
OBJECTS: Final = 1
"""Partition of the codes of devices, their parts and channels; results are in others."""
KINDS: Final = range(528_384, 528_640)
"""Codes of kinds of personal health devices (MDC_DEV_SPEC_PROFILE_BP is 528391), which declare a device as well.

Which of the infrastructure partition they are was read in the Personal Health Device guide's list; the end of the
range is ours.
"""

SYSTOLIC, DIASTOLIC, MEAN, PRESSURE = "150021", "150022", "150023", "150020"
CONTROL: Final = frozenset({"160208"})
"""Results about the device itself (glucose of a control solution): never a patient's."""


class Measure(NamedTuple):
    """What a code is called in one unit."""

    unit: str  # UCUM, "" for none
    loinc: str  # parted by a space, the first is the one that R4 asks for
    category: str = ""  # of the observation-category code system


MEASURES: Final[Mapping[str, tuple[Measure, ...]]] = {
    "131329": (Measure("mV", ""),),
    "131330": (Measure("mV", ""),),
    "131331": (Measure("mV", ""),),
    "131332": (Measure("mV", ""),),
    "131333": (Measure("mV", ""),),
    "131334": (Measure("mV", ""),),
    "131335": (Measure("mV", ""),),
    "131336": (Measure("mV", ""),),
    "147232": (Measure("ms", "8634-8"),),
    "147236": (Measure("ms", "8636-3"),),
    "147240": (Measure("ms", "8637-1"),),
    "147842": (Measure("/min", "8867-4", "vital-signs"),),
    "149530": (Measure("/min", "8867-4 8889-8", "vital-signs"),),
    "149546": (Measure("/min", "8867-4", "vital-signs"),),
    "150021": (Measure("mm[Hg]", "8480-6", "vital-signs"),),
    "150022": (Measure("mm[Hg]", "8462-4", "vital-signs"),),
    "150023": (Measure("mm[Hg]", "8478-0", "vital-signs"),),
    "150364": (Measure("Cel", "8310-5", "vital-signs"),),
    "150392": (Measure("Cel", "8310-5 8333-7", "vital-signs"),),
    "150448": (Measure("%", "61006-3"),),
    "150452": (Measure("1", ""),),
    "150456": (Measure("%", "2708-6 59408-5", "vital-signs"),),
    "150604": (Measure("", ""),),
    "151562": (Measure("/min", "9279-1", "vital-signs"),),
    "151570": (Measure("/min", "9279-1", "vital-signs"),),
    "152584": (Measure("L/min", "19935-6"),),
    "152585": (Measure("L/min", ""),),
    "152586": (Measure("L", "20150-9"),),
    "152587": (Measure("L", ""),),
    "160184": (Measure("mg/dL", "41653-7", "laboratory"), Measure("mmol/L", "14743-9", "laboratory")),
    "160188": (Measure("mg/dL", "41653-7", "laboratory"), Measure("mmol/L", "14743-9", "laboratory")),
    "160212": (Measure("mg/dL", "99504-3", "laboratory"), Measure("mmol/L", "105272-9", "laboratory")),
    "160220": (Measure("%", "4548-4", "laboratory"), Measure("mmol/mol", "59261-8", "laboratory")),
    "160260": (Measure("{INR}", "34714-6", "laboratory"),),
    "160264": (Measure("s", "5902-2", "laboratory"),),
    "184327": (Measure("", "8884-9"),),
    "188420": (Measure("Cel", "8310-5 8332-9", "vital-signs"),),
    "188424": (Measure("Cel", "8310-5 8331-1", "vital-signs"),),
    "188452": (Measure("Cel", "8310-5 8328-7", "vital-signs"),),
    "188736": (Measure("kg", "29463-7", "vital-signs"),),
    "188740": (Measure("cm", "8302-2", "vital-signs"),),
    "188748": (Measure("%", "41982-0"),),
    "188752": (Measure("kg/m2", "39156-5", "vital-signs"),),
    "188756": (Measure("kg", ""),),
    "188764": (Measure("kg", ""),),
    "188776": (Measure("kg", ""),),
    "188928": (Measure("L", "19868-9"),),
    "188948": (Measure("%", "19926-5"),),
    "8417864": (Measure("", ""),),
    "8454247": (Measure("{steps}", "55423-8", "activity"), Measure("m", "55430-3", "activity")),
    "8454258": (Measure("/min", "8867-4", "vital-signs"),),
    "8454263": (Measure("kcal", "41981-2", "activity"),),
    "8454269": (Measure("min", "55411-3", "activity"),),
    "8455148": (Measure("h", "93832-4", "activity"),),
}  # fmt: skip
"""MDC code -> its LOINC codes; several where the unit decides."""

UNITS: Final[Mapping[str, str]] = {
    "262656": "1", "262688": "%", "263424": "m", "263441": "cm", "263488": "[ft_i]", "263520": "[in_i]",
    "263744": "L", "263762": "mL", "263872": "g", "263875": "kg", "263904": "[lb_av]", "264096": "kg/m2",
    "264274": "mg/dL", "264320": "s", "264338": "ms", "264352": "min", "264384": "h", "264864": "/min",
    "264928": "/min", "264960": "m/s", "265184": "L/s", "265216": "L/min", "265987": "kPa", "266016": "mm[Hg]",
    "266112": "J", "266176": "W", "266418": "mV", "266419": "uV", "266560": "[degF]", "266866": "mmol/L",
    "267616": "[iU]", "268192": "Cel", "268752": "{INR}", "268800": "{steps}", "268896": "{steps}/min",
    "268928": "cal", "270528": "kcal",
}  # fmt: skip
"""MDC unit -> UCUM."""


def measure(code: str, unit: str) -> Measure | None:
    """Return what a code is called, with the UCUM unit of its value; None where that is not known."""
    rows = MEASURES.get(code, ())
    if len(rows) == 1:
        return rows[0]
    return next((row for row in rows if row.unit == unit), None)


def is_object(code: str) -> bool:
    """Whether a code names a device or a part of one, not something measured."""
    if not (code.isascii() and code.isdigit() and len(code) < 12):
        return False
    return int(code) // 65_536 == OBJECTS or int(code) in KINDS
