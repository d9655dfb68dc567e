"""Units as senders write them, to UCUM codes.

A closed table: what is not in it stays as text and is reported, never guessed. Codes are case-sensitive,
as UCUM says; a spelling is looked up as written, then in the list of spellings.
Source: UCUM (https://ucum.org), the common units of laboratory and vital-sign reports; the spellings are
this project's own list.
"""

from __future__ import annotations

from collections.abc import Mapping

UCUM = "http://unitsofmeasure.org"

_CODES = """
    % /min /h /d /s 1 10*3/uL 10*6/uL 10*9/L 10*12/L 10*6/L 10*3/L /uL /mL /L /[HPF] /[LPF]
    mm[Hg] kPa Pa cm[H2O] bar Cel [degF] K
    kg g mg ug ng pg fg [lb_av] [oz_av] m cm mm um nm [in_i] [ft_i] m2 cm2 mm2 kg/m2
    L dL cL mL uL fL L/min mL/min mL/h mL/kg L/s mL/min/{1.73_m2}
    g/L g/dL mg/L mg/dL mg/mL ug/L ug/dL ug/mL ng/L ng/dL ng/mL pg/mL pg/dL pg g/kg mg/kg mg/g ug/g mg/mmol g/mmol
    mol/L mmol/L umol/L nmol/L pmol/L mol mmol umol nmol pmol mmol/mol mmol/kg umol/g mg/(24.h) g/(24.h) mmol/(24.h)
    umol/(24.h) mL/(24.h) L/(24.h) U/L kU/L [IU]/L [IU]/mL k[IU]/L m[IU]/L m[IU]/mL u[IU]/mL [IU] U U/mL mU/L
    mosm/kg mosm/L osm/kg meq/L meq mV uV V A mA ohm Hz ms s min h d wk mo a us
    {INR} {score} {steps} {beats}/min {index} {ratio} [pH] kcal kcal/d kJ J W N deg dB lm
    [CFU]/mL [CFU]/L {copies}/mL nmol/(24.h) mmol/L/h mL/s m/s km/h cal mm/h mm/s [iU]/L ug/min ug/kg/min mg/h mg/kg/d
"""

CODES = frozenset(_CODES.split())

SPELLINGS: Mapping[str, str] = {
    "bpm": "/min", "/mn": "/min", "/mn.": "/min", "batt/min": "/min", "bat/min": "/min", "beats/min": "/min",
    "beat/min": "/min", "batt./min": "/min", "cycles/min": "/min", "c/min": "/min", "mvt/min": "/min",
    "resp/min": "/min", "breaths/min": "/min", "br/min": "/min", "puls/min": "/min", "1/min": "/min", "min-1": "/min",
    "{beats}/min": "/min", "{beat}/min": "/min", "{breaths}/min": "/min", "{breath}/min": "/min",
    "mmhg": "mm[Hg]", "mm hg": "mm[Hg]", "mm(hg)": "mm[Hg]", "cmh2o": "cm[H2O]", "kpa": "kPa",
    "°c": "Cel", "degc": "Cel", "deg c": "Cel", "cel": "Cel", "celsius": "Cel", "[degc]": "Cel", "c": "Cel",
    "°f": "[degF]", "degf": "[degF]", "deg f": "[degF]", "fahrenheit": "[degF]",
    "percent": "%", "pct": "%", "pourcent": "%",
    "kgs": "kg", "kilogramme": "kg", "gr": "g", "lb": "[lb_av]", "lbs": "[lb_av]", "oz": "[oz_av]",
    "in": "[in_i]", "inch": "[in_i]", "ft": "[ft_i]", "kg/m²": "kg/m2", "kg/m^2": "kg/m2", "m²": "m2",
    "µg": "ug", "μg": "ug", "mcg": "ug", "µg/l": "ug/L", "μg/l": "ug/L", "mcg/l": "ug/L", "µg/ml": "ug/mL",
    "μg/ml": "ug/mL", "mcg/ml": "ug/mL", "µg/dl": "ug/dL", "μg/dl": "ug/dL", "mcg/dl": "ug/dL",
    "µmol/l": "umol/L", "μmol/l": "umol/L", "micromol/l": "umol/L", "µm": "um", "μm": "um", "µl": "uL", "μl": "uL",
    "µu/ml": "u[IU]/mL", "µui/ml": "u[IU]/mL", "μui/ml": "u[IU]/mL", "uui/ml": "u[IU]/mL", "miu/l": "m[IU]/L",
    "mui/l": "m[IU]/L", "mui/ml": "m[IU]/mL", "miu/ml": "m[IU]/mL", "ui/l": "[IU]/L", "iu/l": "[IU]/L",
    "ui/ml": "[IU]/mL", "iu/ml": "[IU]/mL", "ui": "[IU]", "iu": "[IU]", "kui/l": "k[IU]/L", "kiu/l": "k[IU]/L",
    "giga/l": "10*9/L", "g/l (10^9)": "10*9/L", "10^9/l": "10*9/L", "10e9/l": "10*9/L", "10*9/l": "10*9/L",
    "x10^9/l": "10*9/L", "x10*9/l": "10*9/L", "10exp9/l": "10*9/L",
    "10^12/l": "10*12/L", "10e12/l": "10*12/L", "10*12/l": "10*12/L", "t/l": "10*12/L", "tera/l": "10*12/L",
    "x10^12/l": "10*12/L", "x10*12/l": "10*12/L",
    "10^3/ul": "10*3/uL", "10*3/ul": "10*3/uL", "10^3/µl": "10*3/uL", "k/ul": "10*3/uL", "k/µl": "10*3/uL",
    "10^6/ul": "10*6/uL", "10*6/ul": "10*6/uL", "10^6/µl": "10*6/uL", "m/ul": "10*6/uL", "/mm3": "/uL", "/mm³": "/uL",
    "/µl": "/uL", "/ul": "/uL", "ufc/ml": "[CFU]/mL", "cfu/ml": "[CFU]/mL", "ufc/l": "[CFU]/L", "cfu/l": "[CFU]/L",
    "/champ": "/[HPF]", "/hpf": "/[HPF]",
    "10e3/ul": "10*3/uL", "10e3/µl": "10*3/uL", "x10e3/ul": "10*3/uL", "x10e3/µl": "10*3/uL", "x10^3/ul": "10*3/uL",
    "x10^3/µl": "10*3/uL", "x10*3/ul": "10*3/uL", "thou/ul": "10*3/uL", "10^3/mm3": "10*3/uL", "10*3/mm3": "10*3/uL",
    "10e3/mm3": "10*3/uL", "10^3/mm³": "10*3/uL",
    "10e6/ul": "10*6/uL", "10e6/µl": "10*6/uL", "x10e6/ul": "10*6/uL", "x10e6/µl": "10*6/uL", "x10^6/ul": "10*6/uL",
    "x10^6/µl": "10*6/uL", "x10*6/ul": "10*6/uL", "10^6/mm3": "10*6/uL", "10*6/mm3": "10*6/uL", "10e6/mm3": "10*6/uL",
    "10^6/mm³": "10*6/uL", "x10e9/l": "10*9/L", "x10e12/l": "10*12/L",
    "cells/ul": "/uL", "cells/µl": "/uL", "cells/mm3": "/uL", "copies/ml": "{copies}/mL", "cp/ml": "{copies}/mL",
    "fl": "fL", "u/ml": "U/mL", "mm/hr": "mm/h", "uiu/ml": "u[IU]/mL", "µiu/ml": "u[IU]/mL", "μiu/ml": "u[IU]/mL",
    "µmol/24h": "umol/(24.h)", "μmol/24h": "umol/(24.h)", "umol/24h": "umol/(24.h)", "nmol/24h": "nmol/(24.h)",
    "mg/24 h": "mg/(24.h)", "g/24 h": "g/(24.h)", "mmol/24 h": "mmol/(24.h)", "an": "a", "mois": "mo", "semaines": "wk",
    "ml/min/1.73m2": "mL/min/{1.73_m2}", "ml/min/1,73m2": "mL/min/{1.73_m2}", "ml/min/1.73m²": "mL/min/{1.73_m2}",
    "ml/min/1,73m²": "mL/min/{1.73_m2}", "ml/min/1.73 m2": "mL/min/{1.73_m2}", "ml/min/1,73 m²": "mL/min/{1.73_m2}",
    "ml/mn/1.73m2": "mL/min/{1.73_m2}",
    "ml/mn/1,73m2": "mL/min/{1.73_m2}",
    "ml/mn/1.73m²": "mL/min/{1.73_m2}",
    "ml/mn/1,73m²": "mL/min/{1.73_m2}",
    "mg/24h": "mg/(24.h)", "g/24h": "g/(24.h)", "mmol/24h": "mmol/(24.h)", "ml/24h": "mL/(24.h)", "l/24h": "L/(24.h)",
    "meq/l": "meq/L", "mosm/l": "mosm/L", "mosm/kg": "mosm/kg", "inr": "{INR}", "ratio": "{ratio}", "ph": "[pH]",
    "sec": "s", "secondes": "s", "seconds": "s", "heures": "h", "hr": "h", "hrs": "h", "minutes": "min", "mn": "min",
    "ans": "a", "ml": "mL", "dl": "dL", "l": "L", "year": "a", "years": "a", "jours": "d", "days": "d", "msec": "ms",
    "mm/1h": "mm/h", "l/mn": "L/min", "ml/mn": "mL/min", "steps": "{steps}", "pas": "{steps}", "score": "{score}",
}  # fmt: skip
"""Spelling in lower case -> UCUM."""


def _folded() -> dict[str, str]:
    """Return the codes that no other code equals in lower case, by their lower case."""
    seen: dict[str, list[str]] = {}
    for code in CODES:
        seen.setdefault(code.lower(), []).append(code)
    return {lower: codes[0] for lower, codes in seen.items() if len(codes) == 1}


_BY_LOWER = _folded()


def ucum(text: str) -> str | None:
    """Return the UCUM code of a unit, None where the table has none.

    Case is forgiven in quotients only (`MG/DL`): alone, `S` and `s` are different units. `G/L` is left
    to `values.unit`, which reads it as giga per litre and says so.
    """
    text = text.strip()
    if text in CODES:
        return text
    lower = text.lower()
    if lower in SPELLINGS:
        return SPELLINGS[lower]
    if "/" not in text or text == "G/L" or text not in (lower, text.upper()):
        return None
    return _BY_LOWER.get(lower)
