"""The measures that devices may send: ISO/IEEE 11073 code, LOINC codes, UCUM unit, plausible bounds.

MDC codes are partition x 65536 + term of ISO/IEEE 11073-10101. LOINC codes and units of vital signs are those that
FHIR R4 makes mandatory (https://hl7.org/fhir/R4/observation-vitalsigns.html); each row names where its code was read.

Bounds are the hub's own and wide: what no living person has or no device of this kind can tell. They are no clinical
thresholds; what lies inside them is for triage to judge, however grave.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final, NamedTuple

from adapters.devices.unit import UNITS, Unit, is_convertible

R4: Final = "FHIR R4 vital signs, https://hl7.org/fhir/R4/observation-vitalsigns.html"
BOUNDS: Final = "hub's own, wide: no clinical threshold"


class Measure(NamedTuple):
    """One kind of measure in one unit."""

    loinc: tuple[str, ...]  # every code written; the first is the one that R4 or triage asks for
    unit: str  # UCUM, canonical
    low: Decimal  # lowest plausible value, in `unit`
    high: Decimal
    decimals: int  # kept where a value was converted
    fr: str
    en: str
    category: str = ""  # of the observation-category code system, "" none
    mdc: tuple[int, ...] = ()
    glucose: bool = False  # whether mass and moles convert into each other
    source: str = R4


def _row(
    loinc: str, unit: str, low: str, high: str, decimals: int, fr: str, en: str, *mdc: int, **more: str
) -> Measure:
    return Measure(
        tuple(loinc.split()),
        unit,
        Decimal(low),
        Decimal(high),
        decimals,
        fr,
        en,
        more.get("category", "vital-signs"),
        mdc,
        bool(more.get("glucose")),
        more.get("source", R4),
    )


_LAB: Final = {"category": "laboratory", "glucose": "yes"}

MEASURES: Final = (
    _row("8480-6", "mm[Hg]", "20", "320", 1, "Pression systolique", "Systolic pressure", 150021),
    _row("8462-4", "mm[Hg]", "10", "220", 1, "Pression diastolique", "Diastolic pressure", 150022),
    _row("8478-0", "mm[Hg]", "10", "260", 1, "Pression moyenne", "Mean pressure", 150023),
    # The pulse of a cuff, of an oximeter, of an ECG, of a wearable.
    _row("8867-4", "/min", "10", "350", 0, "Fréquence cardiaque", "Heart rate", 149546, 149530, 147842, 8454258),
    _row("9279-1", "/min", "1", "120", 0, "Fréquence respiratoire", "Respiratory rate", 151562, 151570),
    _row("2708-6", "%", "30", "100", 1, "Saturation en oxygène", "Oxygen saturation"),
    _row("2708-6 59408-5", "%", "30", "100", 1, "Saturation en oxygène (SpO2)", "Oxygen saturation (SpO2)", 150456),
    _row("8310-5", "Cel", "15", "46", 2, "Température", "Body temperature", 150364, 188420, 188452),
    _row(
        "8310-5 8333-7", "Cel", "15", "46", 2, "Température tympanique", "Tympanic temperature", 150392,
        source="github.com/medizininformatik-initiative, ICU module",
    ),
    _row(
        "8310-5 8331-1", "Cel", "15", "46", 2, "Température orale", "Oral temperature", 188424,
        source="FHIR R4 example Observation/f202",
    ),
    _row("29463-7", "kg", "0.2", "700", 3, "Poids", "Body weight", 188736),
    _row("8302-2", "cm", "20", "280", 1, "Taille", "Body height", 188740),
    _row("39156-5", "kg/m2", "5", "200", 1, "Indice de masse corporelle", "Body mass index", 188752),
    _row(
        "41982-0", "%", "1", "80", 1, "Masse grasse", "Body fat", 188748, category="",
        source="Open mHealth to FHIR, OmhBodyFatPercentage",
    ),
    _row(
        "41653-7", "mg/dL", "5", "2000", 0, "Glycémie capillaire", "Capillary glucose", 160184, 160188, **_LAB,
        source="HL7 guides' example of a point-of-care glucose",
    ),
    _row(
        "14743-9", "mmol/L", "0.3", "111", 1, "Glycémie capillaire", "Capillary glucose", 160184, 160188, **_LAB,
        source="public FHIR implementations",
    ),
    _row("2339-0", "mg/dL", "5", "2000", 0, "Glycémie", "Blood glucose", **_LAB, source="Synthea R4 data"),
    _row(
        "15074-8", "mmol/L", "0.3", "111", 1, "Glycémie", "Blood glucose", **_LAB,
        source="FHIR R4 example Observation/f001",
    ),
    _row(
        "99504-3", "mg/dL", "5", "2000", 0, "Glucose interstitiel", "Interstitial glucose", 160212, **_LAB,
        source="gematik HDDT value sets",
    ),
    _row(
        "105272-9", "mmol/L", "0.3", "111", 1, "Glucose interstitiel", "Interstitial glucose", 160212, **_LAB,
        source="gematik HDDT value sets",
    ),
    _row(
        "4548-4", "%", "2", "25", 1, "Hémoglobine glyquée", "Haemoglobin A1c", 160220, category="laboratory",
        source="Synthea R4 data",
    ),
    _row(
        "34714-6", "{INR}", "0.3", "20", 1, "INR", "INR", 160260, category="laboratory",
        source="CH EMR guide, example INR",
    ),
    _row(
        "19935-6", "L/min", "20", "1000", 0, "Débit expiratoire de pointe", "Peak expiratory flow", 152584,
        category="", source="HealthKit to FHIR concept map",
    ),
    _row(
        "20150-9", "L", "0.1", "10", 2, "VEMS", "FEV1", 152586, category="",
        source="FHIR profiles of forced expiratory volume",
    ),
    _row(
        "19926-5", "%", "5", "100", 0, "Rapport VEMS/CVF", "FEV1/FVC", 188948, category="", source="Synthea R4 data",
    ),
)  # fmt: skip


class Panel(NamedTuple):
    """A reading made of components."""

    loinc: str
    mdc: int
    fr: str
    en: str
    required: tuple[str, ...]  # LOINC codes
    optional: tuple[str, ...]
    source: str


BLOOD_PRESSURE: Final = Panel(
    "85354-9",
    150020,
    "Pression artérielle",
    "Blood pressure",
    ("8480-6", "8462-4"),
    ("8478-0",),
    "https://hl7.org/fhir/R4/bp.html",
)


def _grouped() -> Mapping[tuple[str, str], tuple[Measure, ...]]:
    made: dict[tuple[str, str], tuple[Measure, ...]] = {}
    for measure in MEASURES:
        # A narrower code is its row's last one: 59408-5 means 2708-6 too, not the other way round.
        keys = [("loinc", measure.loinc[-1]), *(("mdc", str(code)) for code in measure.mdc)]
        for key in keys:
            made[key] = (*made.get(key, ()), measure)
    return MappingProxyType(made)


_BY_CODE: Final = _grouped()


def measures_of(system: str, code: str) -> tuple[Measure, ...]:
    """Return the measures that a code (`loinc` or `mdc`) may stand for; several where the unit decides."""
    return _BY_CODE.get((system, code), ())


def panel_of(system: str, code: str) -> Panel | None:
    """Return the panel that a code stands for, if it does."""
    panel = BLOOD_PRESSURE
    return panel if code == (panel.loinc if system == "loinc" else str(panel.mdc)) else None


def fitting(candidates: tuple[Measure, ...], unit: Unit) -> Measure | None:
    """Return the measure that takes values in `unit`, one of that very dimension first; None where none does."""
    for measure in candidates:
        if UNITS[measure.unit].dimension == unit.dimension:
            return measure
    return next((m for m in candidates if is_convertible(unit, UNITS[m.unit], glucose=m.glucose)), None)
