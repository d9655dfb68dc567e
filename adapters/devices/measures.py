"""The table of measures: ISO/IEEE 11073 code, LOINC codes, UCUM unit, plausible bounds; one row each.

MDC codes are partition x 65536 + term of ISO/IEEE 11073-10101, read in a public file of its constants. LOINC codes and
units of vital signs are those that FHIR R4 makes mandatory. Every other LOINC code was read where its row says and not
looked up in a LOINC release: such rows are `verified=False`. The official table is LOINC's own
(LoincIeeeMedicalDeviceCodeMappingTable of a release); it may not be bundled.

Bounds are the hub's own and wide: what no living person has or no device of this kind can tell. They are no clinical
thresholds; what lies inside them is for triage to judge, however grave.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

R4: Final = "FHIR R4 vital signs, https://hl7.org/fhir/R4/observation-vitalsigns.html"
PHD: Final = "HL7 Personal Health Device guide, https://hl7.org/fhir/uv/phd/ (MDC); LOINC by general knowledge"
OWN: Final = "this hub's own code"

QUANTITY: Final = "quantity"
CODED: Final = "coded"
WAVE: Final = "wave"
EVENT: Final = "event"
MEDIA: Final = "media"
MEDICATION: Final = "medication"
CONTROL: Final = "control"  # never a patient's: quality control of the device


class Measure(NamedTuple):
    """One kind of measure in one unit."""

    loinc: tuple[str, ...]  # every code written; the first is the one that R4 or triage asks for; may be empty
    unit: str  # UCUM, canonical; "" where it is no quantity
    low: Decimal  # lowest plausible value, in `unit`
    high: Decimal
    decimals: int  # kept where a value was converted
    fr: str
    en: str
    category: str = ""  # of the observation-category code system, "" none
    mdc: tuple[int, ...] = ()
    glucose: bool = False  # whether mass and moles convert into each other
    source: str = R4
    kind: str = QUANTITY
    verified: bool = False  # whether the LOINC codes were read in the standard that makes them so
    snomed: str = ""  # as in the source; not checked in a SNOMED CT release
    local: str = ""  # the hub's own code, where no standard code is known
    jump: Decimal | None = None  # a change a minute beyond which the value is suspect, in `unit` (hub's own)
    day: bool = False  # of a day: the code of a reading that lasts 24 hours
    alert: str = ""  # of an event: the FRENCH level of the alert that it opens, "" none


def _row(
    loinc: str, unit: str, low: str, high: str, decimals: int, fr: str, en: str, *mdc: int, **more: str
) -> Measure:
    category, source = more.get("category", "vital-signs"), more.get("source", R4)
    return Measure(
        tuple(loinc.split()), unit, Decimal(low), Decimal(high), decimals, fr, en, category, mdc,
        glucose=bool(more.get("glucose")), source=source, verified=source == R4,
        jump=Decimal(more["jump"]) if "jump" in more else None, day=bool(more.get("day")),
    )  # fmt: skip


def _other(kind: str, fr: str, en: str, *mdc: int, loinc: str = "", **more: str) -> Measure:
    zero = Decimal(0)
    return Measure(
        tuple(loinc.split()), more.get("unit", ""), zero, zero, 0, fr, en, more.get("category", ""), mdc,
        source=more.get("source", PHD), kind=kind, snomed=more.get("snomed", ""), local=more.get("local", ""),
        alert=more.get("alert", ""),
    )  # fmt: skip


_LAB: Final = {"category": "laboratory", "glucose": "yes"}
_BLOOD: Final = {"category": "laboratory"}
_LUNG: Final = {"category": ""}
_MOVING: Final = {"category": "activity", "source": PHD}
_ECG: Final = {"category": "", "source": PHD}

QUANTITIES: Final = (
    _row("8480-6", "mm[Hg]", "20", "320", 1, "Pression systolique", "Systolic pressure", 150021),
    _row("8462-4", "mm[Hg]", "10", "220", 1, "Pression diastolique", "Diastolic pressure", 150022),
    _row("8478-0", "mm[Hg]", "10", "260", 1, "Pression moyenne", "Mean pressure", 150023),
    # The pulse of a cuff, of an ECG, of a wearable; then of an oximeter.
    _row("8867-4", "/min", "10", "350", 0, "Fréquence cardiaque", "Heart rate", 149546, 147842, 8454258, jump="100"),
    _row(
        "8867-4 8889-8", "/min", "10", "350", 0, "Fréquence cardiaque (oxymètre)", "Heart rate by oximeter", 149530,
        jump="100", source="FHIR R4 vital signs (8867-4); 8889-8 by general knowledge",
    ),
    _row("9279-1", "/min", "1", "120", 0, "Fréquence respiratoire", "Respiratory rate", 151562, 151570, jump="40"),
    _row("2708-6", "%", "30", "100", 1, "Saturation en oxygène", "Oxygen saturation", jump="30"),
    _row(
        "2708-6 59408-5", "%", "30", "100", 1, "Saturation en oxygène (SpO2)", "Oxygen saturation (SpO2)", 150456,
        jump="30",
    ),
    _row("8310-5", "Cel", "15", "46", 2, "Température", "Body temperature", 150364, jump="2"),
    _row(
        "8310-5 8333-7", "Cel", "15", "46", 2, "Température tympanique", "Tympanic temperature", 150392, jump="2",
        source="github.com/medizininformatik-initiative, ICU module",
    ),
    _row(
        "8310-5 8331-1", "Cel", "15", "46", 2, "Température orale", "Oral temperature", 188424, jump="2",
        source="FHIR R4 example Observation/f202",
    ),
    _row(
        "8310-5 8332-9", "Cel", "15", "46", 2, "Température rectale", "Rectal temperature", 188420, jump="2", source=PHD
    ),
    _row(
        "8310-5 8328-7", "Cel", "15", "46", 2, "Température axillaire", "Axillary temperature", 188452, jump="2",
        source=PHD,
    ),
    _row("29463-7", "kg", "0.2", "700", 3, "Poids", "Body weight", 188736, jump="5"),
    _row("8302-2", "cm", "20", "280", 1, "Taille", "Body height", 188740),
    _row("9843-4", "cm", "15", "80", 1, "Périmètre crânien", "Head circumference"),
    _row("39156-5", "kg/m2", "5", "200", 1, "Indice de masse corporelle", "Body mass index", 188752),
    _row("61006-3", "%", "0", "100", 2, "Indice de perfusion", "Perfusion index", 150448, **_ECG),
    _row("8637-1", "ms", "100", "6000", 0, "Intervalle RR", "RR interval", 147240, **_ECG),
    _row("80404-7", "ms", "0", "2000", 0, "Variabilité RR (SDNN)", "RR variability (SDNN)", **_ECG),
    _row("8634-8", "ms", "100", "1200", 0, "Intervalle QT", "QT interval", 147232, **_ECG),
    _row("8636-3", "ms", "100", "1200", 0, "Intervalle QT corrigé", "Corrected QT interval", 147236, **_ECG),
    _row(
        "41982-0", "%", "1", "80", 1, "Masse grasse", "Body fat", 188748, category="",
        source="Open mHealth to FHIR, OmhBodyFatPercentage",
    ),
    _row("", "kg", "0.1", "400", 2, "Masse maigre", "Fat-free mass", 188756, **_ECG),
    _row("", "kg", "0.1", "400", 2, "Eau corporelle", "Body water", 188764, **_ECG),
    _row("", "kg", "0.1", "400", 2, "Masse musculaire", "Muscle mass", 188776, **_ECG),
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
        "2345-7", "mg/dL", "5", "2000", 0, "Glycémie (plasma ou sérum)", "Glucose in serum or plasma", **_LAB,
        source="Synthea R4 data",
    ),
    _row(
        "14749-6", "mmol/L", "0.3", "111", 1, "Glycémie (plasma ou sérum)", "Glucose in serum or plasma", **_LAB,
        source="public FHIR implementations",
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
        "4548-4", "%", "2", "25", 1, "Hémoglobine glyquée", "Haemoglobin A1c", 160220, **_BLOOD,
        source="Synthea R4 data",
    ),
    _row(
        "59261-8", "mmol/mol", "1", "250", 0, "Hémoglobine glyquée (IFCC)", "Haemoglobin A1c (IFCC)", 160220, **_BLOOD,
        source=PHD,
    ),
    _row("34714-6", "{INR}", "0.3", "20", 1, "INR", "INR", 160260, **_BLOOD, source="CH EMR guide, example INR"),
    _row("6301-6", "{INR}", "0.3", "20", 1, "INR (plasma)", "INR in plasma", **_BLOOD, source=PHD),
    _row("5902-2", "s", "5", "300", 1, "Temps de Quick", "Prothrombin time", 160264, **_BLOOD, source=PHD),
    _row(
        "19935-6", "L/min", "20", "1000", 0, "Débit expiratoire de pointe", "Peak expiratory flow", 152584, **_LUNG,
        source="HealthKit to FHIR concept map",
    ),
    _row("33452-4", "L/min", "20", "1000", 0, "Débit expiratoire de pointe", "Peak flow", **_LUNG, source=PHD),
    # A personal best is no measurement of now: it carries the MDC code alone (this hub's choice).
    _row("", "L/min", "20", "1000", 0, "Meilleur débit de pointe", "Personal best peak flow", 152585, **_ECG),
    _row(
        "20150-9", "L", "0.1", "10", 2, "VEMS", "FEV1", 152586, **_LUNG,
        source="FHIR profiles of forced expiratory volume",
    ),
    _row("19868-9", "L", "0.1", "12", 2, "Capacité vitale forcée", "Forced vital capacity", 188928, **_ECG),
    _row("", "L", "0.1", "12", 2, "VEM6", "FEV6", 152587, **_ECG),
    _row("19926-5", "%", "5", "100", 0, "Rapport VEMS/CVF", "FEV1/FVC", 188948, **_LUNG, source="Synthea R4 data"),
    _row("55423-8", "{steps}", "0", "200000", 0, "Nombre de pas", "Number of steps", 8454247, **_MOVING),
    _row("41950-7", "{steps}", "0", "200000", 0, "Pas en 24 heures", "Steps in 24 hours", 8454247, day="y", **_MOVING),
    _row("55430-3", "m", "0", "1000000", 1, "Distance parcourue", "Distance walked", 8454247, **_MOVING),
    _row("41981-2", "kcal", "0", "50000", 1, "Énergie dépensée", "Energy spent", 8454263, **_MOVING),
    _row("55411-3", "min", "0", "100000", 1, "Durée d'activité", "Time of activity", 8454269, **_MOVING),
    _row("93832-4", "h", "0", "72", 2, "Durée de sommeil", "Time of sleep", 8455148, **_MOVING),
)  # fmt: skip

OTHERS: Final = (
    _other(CODED, "Rythme de l'ECG", "ECG rhythm", 184327, loinc="8884-9"),
    _other(CODED, "Contexte du repas", "Meal context", 8417864),
    _other(CODED, "État du capteur", "Sensor status", 150604),
    _other(WAVE, "ECG, dérivation I", "ECG, lead I", 131329, unit="mV"),
    _other(WAVE, "ECG, dérivation II", "ECG, lead II", 131330, unit="mV"),
    *(_other(WAVE, f"ECG, dérivation V{n}", f"ECG, lead V{n}", 131330 + n, unit="mV") for n in range(1, 7)),
    _other(WAVE, "Pléthysmogramme", "Plethysmogram", 150452, unit="1"),
    _other(EVENT, "Chute", "Fall", 8519681, snomed="1912002", local="fall", alert="2"),
    _other(EVENT, "Alarme personnelle", "Personal alarm", 8519682, local="personal-alarm", alert="2"),
    _other(EVENT, "Fumée", "Smoke", 8519683, local="smoke", alert="3A"),
    _other(EVENT, "Monoxyde de carbone", "Carbon monoxide", 8519684, local="carbon-monoxide", alert="3A"),
    _other(EVENT, "Fuite d'eau", "Water leak", 8519685, local="water", alert="3B"),
    _other(EVENT, "Gaz", "Gas", 8519686, local="gas", alert="3A"),
    _other(EVENT, "Mouvement", "Motion", 8519687, local="motion"),
    _other(EVENT, "Sortie du domicile", "Property exit", 8519688, local="exit"),
    _other(EVENT, "Énurésie", "Enuresis", 8519689, local="enuresis"),
    _other(EVENT, "Contact", "Contact", 8519690, local="contact"),
    _other(EVENT, "Usage", "Usage", 8519691, local="usage"),
    _other(EVENT, "Interrupteur", "Switch", 8519692, local="switch"),
    _other(EVENT, "Température de la pièce", "Room temperature", 8519694, local="room-temperature"),
    _other(MEDIA, "Bruits du cœur", "Heart sounds", local="stethoscope-heart", source=OWN),
    _other(MEDIA, "Bruits des poumons", "Lung sounds", local="stethoscope-lung", source=OWN),
    _other(MEDIA, "Otoscopie", "Otoscopy", local="otoscope", source=OWN),
    _other(MEDIA, "Dermatoscopie", "Dermatoscopy", local="dermatoscope", source=OWN),
    _other(MEDIA, "Caméra d'examen", "Examination camera", local="camera", source=OWN),
    _other(MEDICATION, "Médicament délivré (dose fixe)", "Medication dispensed, fixed dose", 8532992, unit="{dose}"),
    _other(
        MEDICATION, "Médicament délivré (dose variable)", "Medication dispensed, variable dose", 8532993, unit="{dose}"
    ),
    _other(CONTROL, "Solution de contrôle", "Control solution", 160208),
)  # fmt: skip

MEASURES: Final = (*QUANTITIES, *OTHERS)

RHYTHMS: Final = {
    "147474": ("Rythme sinusal", "Sinus rhythm"),
    "147720": ("Fibrillation auriculaire", "Atrial fibrillation"),
    "147688": ("Tachycardie", "Tachycardia"),
    "147984": ("Bradycardie", "Bradycardia"),
    "148065": ("Extrasystole ventriculaire", "Premature ventricular contraction"),
}
"""Values of 184327, MDC codes as the guide's implementers list them; not verified in ISO/IEEE 11073-10101."""
