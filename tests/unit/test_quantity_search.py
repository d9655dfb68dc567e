"""Quantities are found in any unit that compares, and nothing else is."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.extract import index
from fhir_server.search.match import Alone, Node, matches
from fhir_server.search.molar import LOINC, SUBSTANCES, by_loinc, derived, molar_mass
from fhir_server.search.parse import parse
from fhir_server.search.values import Quantity
from fhir_server.ucum import UCUM, convert


def observation(value: str, code: str, loinc: str = "29463-7", *, system: str = UCUM, **more: Any) -> dict[str, Any]:
    """Return an Observation with a value."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": loinc}]},
        "valueQuantity": {"value": Decimal(value), "unit": code, "system": system, "code": code, **more},
    }


def panel(*parts: dict[str, Any]) -> dict[str, Any]:
    """Return an Observation with components."""
    kept = [{key: part[key] for key in ("code", "valueQuantity")} for part in parts]
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "24331-1"}]},
        "component": kept,
    }


def finds(name: str, value: str, resource: dict[str, Any]) -> bool:
    """Whether a search finds a resource."""
    query = parse(("Observation",), [(name, value.replace("U|", f"{UCUM}|"))], zone="UTC", now=0)
    node = Node("Observation", "1", index(resource).values)
    return all(matches(clause, node, Alone()) for clause in query.where)


POUNDS = observation("154.3", "[lb_av]")
KILOS = observation("70", "kg")
HOT = observation("101.3", "[degF]", "8310-5")


@pytest.mark.parametrize(
    ("value", "resource", "found"),
    [
        pytest.param("70|U|kg", POUNDS, True, id="a search in kg finds pounds: 69.99 kg lies in [69.5, 70.5)"),
        pytest.param("70.0|U|kg", POUNDS, True, id="one digit more is [69.95, 70.05)"),
        pytest.param("70.00|U|kg", POUNDS, False, id="two digits more are [69.995, 70.005)"),
        pytest.param("70000|U|g", KILOS, True, id="grams find kilograms, with the precision that was asked"),
        pytest.param("69999|U|g", KILOS, False, id="a gram less does not"),
        pytest.param("154|U|[lb_av]", KILOS, True, id="pounds find kilograms"),
        pytest.param("gt69|U|kg", POUNDS, True, id="greater than, in another unit"),
        pytest.param("lt69|U|kg", POUNDS, False, id="less than, in another unit"),
        pytest.param("ge69.989302691|U|kg", POUNDS, True, id="the exact conversion is at least itself"),
        pytest.param("gt69.989302691|U|kg", POUNDS, False, id="and not above itself"),
        pytest.param("sa69.989302690|U|kg", POUNDS, True, id="starts after"),
        pytest.param("eb69.989302691|U|kg", POUNDS, False, id="ends before"),
        pytest.param("ne70|U|kg", POUNDS, False, id="not equal follows the conversion"),
        pytest.param("ne80|U|kg", POUNDS, True, id="not equal to another value"),
        pytest.param("ne80|U|cm", POUNDS, False, id="not equal asks for comparable units only"),
        pytest.param("ap75|U|kg", POUNDS, True, id="approximately reaches ten percent of what was asked"),
        pytest.param("ap80|U|kg", POUNDS, False, id="and no more"),
        pytest.param("38.5|U|Cel", HOT, True, id="Fahrenheit answers Celsius: 101.3 [degF] is 38.5 Cel"),
        pytest.param("gt38.4|U|Cel", HOT, True, id="with a prefix"),
        pytest.param("70|U|cm", KILOS, False, id="another dimension never"),
        pytest.param("70||kg", KILOS, True, id="a unit without a system is literal"),
        pytest.param("70||kg", POUNDS, False, id="so it finds no pounds"),
        pytest.param("154.3", POUNDS, True, id="a bare number is the number as it stands"),
        pytest.param("70", POUNDS, False, id="never a converted one"),
        pytest.param("70|http://other.org|kg", KILOS, False, id="another system is another code"),
        pytest.param(
            "70|http://other.org|kg", observation("70", "kg", system="http://other.org"), True, id="its own is its own"
        ),
        pytest.param(
            "70|U|kg", observation("154.3", "[lb_av]", system="http://other.org"), False, id="no UCUM, no conversion"
        ),
        pytest.param("7.4|U|[pH]", observation("7.4", "[pH]", "2744-1"), True, id="a logarithmic unit finds itself"),
        pytest.param("gt69|U|kg", observation("150", "[lb_av]", comparator=">"), True, id="a comparator stays open"),
        pytest.param("lt69|U|kg", observation("150", "[lb_av]", comparator="<"), True, id="on the other side too"),
        pytest.param("70|U|kg", observation("150", "[lb_av]", comparator=">"), False, id="and equals nothing"),
    ],
)
def test_a_quantity_is_found_in_comparable_units(value: str, resource: dict[str, Any], found: bool) -> None:
    assert finds("value-quantity", value, resource) is found


GLUCOSE = observation("97", "mg/dL", "2339-0")


@pytest.mark.parametrize(
    ("name", "value", "resource", "found"),
    [
        pytest.param("value-quantity", "5.4|U|mmol/L", GLUCOSE, True, id="97 mg/dL of glucose are 5.38 mmol/L"),
        pytest.param("value-quantity", "5.6|U|mmol/L", GLUCOSE, False, id="and not 5.6"),
        pytest.param("value-quantity", "gt5|U|mmol/L", GLUCOSE, True, id="with a prefix"),
        pytest.param("code-value-quantity", "2339-0$0.97|U|g/L", GLUCOSE, True, id="0.97 g/L, as French labs write it"),
        pytest.param("value-quantity", "0.97|U|g/L", GLUCOSE, False, id="a quotient is literal where no code is named"),
        pytest.param("value-quantity", "ne5.4|U|mmol/L", GLUCOSE, False, id="not equal follows"),
        pytest.param("value-quantity", "5.4||mmol/L", GLUCOSE, False, id="a literal unit is not converted"),
        pytest.param("value-quantity", "97||mg/dL", GLUCOSE, True, id="and finds what was written"),
        pytest.param("value-quantity", "5.38", GLUCOSE, False, id="nor is a bare number"),
        pytest.param("combo-value-quantity", "5.4|U|mmol/L", GLUCOSE, True, id="value or component"),
        pytest.param(
            "code-value-quantity", "2339-0$5.4|U|mmol/L", GLUCOSE, True, id="a composite follows the molar mass"
        ),
        pytest.param("code-value-quantity", "2345-7$5.4|U|mmol/L", GLUCOSE, False, id="its code still counts"),
        pytest.param(
            "value-quantity", "97|U|mg/dL", observation("5.4", "mmol/L", "14749-6"), True, id="moles are found as mass"
        ),
        pytest.param(
            "value-quantity", "5.4|U|mmol/L", observation("97", "mg/dL", "718-7"), False, id="no molar mass, no match"
        ),
        pytest.param(
            "value-quantity", "7.1|U|mmol/L", observation("20", "mg/dL", "3094-0"), True, id="urea nitrogen is 2 N"
        ),
        pytest.param("value-quantity", "3.3|U|mmol/L", observation("20", "mg/dL", "3091-6"), True, id="urea is urea"),
        pytest.param(
            "component-value-quantity",
            "5.2|U|mmol/L",
            panel(observation("200", "mg/dL", "2093-3"), observation("97", "mg/dL", "2339-0")),
            True,
            id="cholesterol in a component",
        ),
        pytest.param(
            "component-code-value-quantity",
            "2339-0$5.2|U|mmol/L",
            panel(observation("200", "mg/dL", "2093-3"), observation("97", "mg/dL", "2339-0")),
            False,
            id="a component keeps its own molar mass",
        ),
        pytest.param(
            "value-quantity", "10|U|mg/dL", observation("5", "meq/L", "17861-6"), False, id="meq of calcium are no mmol"
        ),
        pytest.param(
            "value-quantity", "322|U|mg/dL", observation("140", "meq/L", "2951-2"), True, id="meq of sodium are mmol"
        ),
        pytest.param("value-quantity", "5|U|mmol/L", observation("5", "10*9/L", "2339-0"), False, id="a count is none"),
    ],
)
def test_an_amount_is_found_as_a_mass_where_its_molar_mass_is_known(
    name: str, value: str, resource: dict[str, Any], found: bool
) -> None:
    assert finds(name, value, resource) is found


@pytest.mark.parametrize(
    ("loinc", "mass", "amount", "factor"),
    [
        pytest.param("2345-7", "mg/dL", "mmol/L", "0.0555", id="glucose"),
        pytest.param("2093-3", "mg/dL", "mmol/L", "0.0259", id="cholesterol"),
        pytest.param("2571-8", "mg/dL", "mmol/L", "0.0113", id="triglycerides"),
        pytest.param("2160-0", "mg/dL", "umol/L", "88.4", id="creatinine"),
        pytest.param("3094-0", "mg/dL", "mmol/L", "0.357", id="urea nitrogen"),
        pytest.param("3084-1", "mg/dL", "umol/L", "59.48", id="urate"),
        pytest.param("1975-2", "mg/dL", "umol/L", "17.104", id="bilirubin"),
        pytest.param("17861-6", "mg/dL", "mmol/L", "0.2495", id="calcium"),
        pytest.param("19123-9", "mg/dL", "mmol/L", "0.4114", id="magnesium"),
        pytest.param("2777-1", "mg/dL", "mmol/L", "0.323", id="phosphate"),
        pytest.param("2498-4", "ug/dL", "umol/L", "0.179", id="iron"),
        pytest.param("14118-4", "mg/dL", "mmol/L", "0.111", id="lactate"),
        pytest.param("3024-7", "ng/dL", "pmol/L", "12.872", id="free thyroxine"),
        pytest.param("2132-9", "pg/mL", "pmol/L", "0.7378", id="vitamin B12"),
        pytest.param("2143-6", "ug/dL", "nmol/L", "27.59", id="cortisol"),
        pytest.param("1989-3", "ng/mL", "nmol/L", "2.496", id="calcidiol"),
    ],
)
def test_molar_masses_give_the_factors_that_clinical_journals_print(
    loinc: str, mass: str, amount: str, factor: str
) -> None:
    """AMA Manual of Style, SI conversion factors; read to the digits that are printed there."""
    made = derived(loinc, Quantity(Decimal(1), Decimal(1), UCUM, mass, mass))
    assert made is not None and made.lo is not None
    found = convert(made.lo, made.code, amount)
    assert found is not None
    assert abs(found / Fraction(factor) - 1) < Fraction(1, 120)


def test_a_code_names_one_substance_and_every_formula_is_read() -> None:
    assert len(by_loinc()) == sum(len(substance.codes) for substance in SUBSTANCES)
    assert float(molar_mass("C6H12O6")) == 180.156
    assert all(1 < molar_mass(substance.formula) < 2000 for substance in SUBSTANCES)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**4, places=3),
    st.sampled_from(sorted(by_loinc())),
    st.sampled_from(["mg/dL", "g/L", "mmol/L", "umol/L", "ng/mL", "mol/m3"]),
)
def test_the_other_kind_of_unit_is_the_same_amount(value: Decimal, loinc: str, code: str) -> None:
    made = derived(loinc, Quantity(value, value, UCUM, code, code))
    assert made is not None
    back = derived(loinc, made)
    assert back is not None and back.lo is not None
    assert convert(back.lo, back.code, code) == Fraction(value)
