"""Amounts as masses and masses as amounts, where it is known what was measured.

A search in mmol/L finds what was measured in mg/dL (and the other way round) only where the LOINC code of the
Observation or component names a substance of this table. Its molar mass is that of its formula, with the standard
atomic weights of CIAAW, abridged (2021, https://ciaaw.org/abridged-atomic-weights.htm). Three rows follow the
convention of laboratories in place of one formula:

- triglycerides are counted as triolein, C57H104O6, 885.4 g/mol (0.01129 mmol/L for 1 mg/dL: AMA Manual of Style,
  https://academic.oup.com/amamanualofstyle, SI conversion calculator);
- urea nitrogen is the mass of the nitrogen in urea, 2 N a molecule: mmol/L of urea x 2.8014 = mg/dL of nitrogen;
- phosphate is given as mass of phosphorus, iron-binding capacity as mass of iron.

What a code measures is LOINC's component (https://loinc.org/CODE). Equivalents (meq) say amounts of charge: they are
taken as moles for ions of one charge only. Substances without one formula (haemoglobin, proteins, hormones that are
proteins) are not here, nor ratios such as HbA1c, whose conversion is no molar mass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from fhir_server.search.values import Quantity
from fhir_server.ucum import UCUM, canonical

LOINC: Final = "http://loinc.org"

WEIGHTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "H": "1.008", "C": "12.011", "N": "14.007", "O": "15.999", "Na": "22.990", "Mg": "24.305", "P": "30.974",
        "Cl": "35.45", "K": "39.098", "Ca": "40.078", "Fe": "55.845", "Co": "58.933", "I": "126.90",
    }
)  # fmt: skip
"""Grams of a mole of atoms."""


class Substance(NamedTuple):
    """What LOINC codes measure."""

    name: str
    formula: str
    codes: tuple[str, ...]  # LOINC, of mass and of moles alike
    charge: int = 0  # of an ion: equivalents in a mole; 0 where nobody counts it in equivalents


SUBSTANCES: Final = (
    Substance(
        "glucose",
        "C6H12O6",
        ("2345-7", "2339-0", "2340-8", "2341-6", "1558-6", "41653-7", "32016-8", "2350-7", "2342-4", "14749-6",
         "15074-8", "14771-0", "14743-9", "15076-3"),
    ),
    Substance(
        "cholesterol, and what of it is in lipoproteins",
        "C27H46O",
        ("2093-3", "14647-2", "2085-9", "14646-4", "2089-1", "13457-7", "18262-6", "22748-8", "39469-2", "69419-0",
         "13458-5", "2091-7", "43396-1", "70204-3"),
    ),
    Substance("triglycerides, as triolein", "C57H104O6", ("2571-8", "14927-8", "3043-7", "70218-3")),
    Substance("creatinine", "C4H7N3O", ("2160-0", "14682-9", "38483-4", "59826-8", "2161-8", "14683-7")),
    Substance("urea", "CH4N2O", ("3091-6", "22664-7", "20977-5", "72903-8")),
    Substance("urea nitrogen", "N2", ("3094-0", "6299-2", "14937-7")),
    Substance("urate", "C5H4N4O3", ("3084-1", "14933-6")),
    Substance("bilirubin", "C33H36N4O6", ("1975-2", "14631-6", "42719-5", "1968-7", "14629-0", "1971-1", "14630-8")),
    Substance("calcium", "Ca", ("17861-6", "2000-8", "49765-1", "1994-3", "1995-0", "17863-2"), charge=2),
    Substance("magnesium", "Mg", ("19123-9", "2601-3", "21377-7"), charge=2),
    Substance("phosphate, as phosphorus", "P", ("2777-1", "14879-1")),
    Substance("iron, and iron-binding capacity", "Fe", ("2498-4", "14798-3", "2500-7", "14800-7")),
    Substance("lactate, as lactic acid", "C3H6O3", ("2524-7", "32693-4", "2518-9", "14118-4", "59032-3")),
    Substance("sodium", "Na", ("2951-2", "2947-0"), charge=1),
    Substance("potassium", "K", ("2823-3", "6298-4"), charge=1),
    Substance("chloride", "Cl", ("2075-0", "2069-3"), charge=1),
    Substance("thyroxine, free", "C15H11I4NO4", ("3024-7", "14920-3")),
    Substance("triiodothyronine, free", "C15H12I3NO4", ("3051-0", "14928-6")),
    Substance("cortisol", "C21H30O5", ("2143-6", "14675-3")),
    Substance("calcidiol", "C27H44O2", ("1989-3", "14635-7")),
    Substance("cobalamin", "C63H88CoN14O14P", ("2132-9", "14685-2")),
    Substance("folate", "C19H19N7O6", ("2284-8", "14732-2")),
    Substance("testosterone", "C19H28O2", ("2986-8", "14913-8")),
    Substance("estradiol", "C18H24O2", ("2243-4", "14715-7")),
    Substance("digoxin", "C41H64O14", ("10535-3", "14698-5")),
)  # fmt: skip

_PART: Final = re.compile(r"([A-Z][a-z]?)([0-9]*)")
_EQUIVALENTS: Final = re.compile(r"(?:eq|osm)(?![A-Za-z])")
_MASS_IN_VOLUME: Final = (("g", 1), ("m", -3))
_AMOUNT_IN_VOLUME: Final = (("m", -3),)


def molar_mass(formula: str) -> Fraction:
    """Return grams of a mole, of a formula such as `C6H12O6`."""
    parts = _PART.findall(formula)
    return sum((Fraction(WEIGHTS[symbol]) * int(count or 1) for symbol, count in parts), Fraction(0))


DERIVED: Final = "("
"""How the units begin that are made here; no measured value has such a one."""


@cache
def by_loinc() -> Mapping[str, Substance]:
    """Return the substance that a LOINC code measures."""
    return MappingProxyType({code: substance for substance in SUBSTANCES for code in substance.codes})


def derived(loinc: str, quantity: Quantity) -> Quantity | None:
    """Return a measured concentration in the other kind of unit; None where the table does not know how.

    Its numbers are those of the measurement, digit for digit: what differs is the unit, a UCUM expression that holds
    the molar mass, such as `(mg/dL).mol.1000/(180156.g)`. So nothing is rounded, it is sorted as the measurement is,
    and no question in the unit as it was written meets it.
    """
    substance = by_loinc().get(loinc)
    if substance is None or quantity.system != UCUM:
        return None
    code = _other_unit(substance, quantity.code)
    return Quantity(quantity.lo, quantity.hi, UCUM, code, "") if code else None


@lru_cache(maxsize=1024)
def _other_unit(substance: Substance, code: str) -> str:
    """Return the unit that says the same in the other kind, "" where there is none."""
    found = canonical(code)
    if found is None or found.dimension not in (_MASS_IN_VOLUME, _AMOUNT_IN_VOLUME):
        return ""
    mass = molar_mass(substance.formula)
    if found.dimension == _MASS_IN_VOLUME:
        return f"({code}).mol.{mass.denominator}/({mass.numerator}.g)"
    counts_charges = _EQUIVALENTS.search(code) is not None and substance.charge != 1
    if counts_charges or ("mol" not in code and "eq" not in code):  # 10*9/L counts, it weighs nothing
        return ""
    return f"({code}).g.{mass.numerator}/({mass.denominator}.mol)"
