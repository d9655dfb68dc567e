"""Units are read and converted as UCUM says."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from fhir_server.ucum import MAX_LENGTH, canonical, convert, is_comparable, line, scale
from fhir_server.ucum.atoms import table
from tools.ucum import compiled

MASS = (("g", 1),)


@pytest.mark.parametrize(
    ("code", "factor", "dimension"),
    [
        pytest.param("kg", Fraction(1000), MASS, id="a prefix"),
        pytest.param("mm[Hg]", Fraction(133322), (("g", 1), ("m", -1), ("s", -2)), id="a prefix before brackets"),
        pytest.param("/min", Fraction(1, 60), (("s", -1),), id="a slash at the start"),
        pytest.param("{beats}/min", Fraction(1, 60), (("s", -1),), id="an annotation"),
        pytest.param("kg/m2", Fraction(1000), (("g", 1), ("m", -2)), id="a power"),
        pytest.param("10*9/L", Fraction(10**12), (("m", -3),), id="a power of ten"),
        pytest.param("10*-6", Fraction(1, 10**6), (), id="a negative power of ten"),
        pytest.param("%", Fraction(1, 100), (), id="a percent"),
        pytest.param("1", Fraction(1), (), id="one"),
        pytest.param("24.h", Fraction(86400), (("s", 1),), id="an integer factor"),
        pytest.param("mol/L", 602214076 * Fraction(10**18), (("m", -3),), id="a mole is a number"),
        pytest.param("g/m.s", Fraction(1), (("g", 1), ("m", -1), ("s", 1)), id="from left to right"),
        pytest.param("g/(m.s)", Fraction(1), (("g", 1), ("m", -1), ("s", -1)), id="parentheses divide as one"),
        pytest.param("/100{WBC}", Fraction(1, 100), (), id="an annotation after a factor, as R4 writes it"),
        pytest.param("g/(8.h){shift}", Fraction(1, 28800), (("g", 1), ("s", -1)), id="an annotation after parentheses"),
        pytest.param("m0", Fraction(1), (), id="a power of zero is a number"),
        pytest.param("dar", Fraction(10), (("m", 2),), id="a prefix of two letters"),
        pytest.param("cd", Fraction(1), (("cd", 1),), id="the candela is no centiday"),
        pytest.param("m[IU]/L", Fraction(1), (("[iU]", 1), ("m", -3)), id="an arbitrary unit is a dimension"),
    ],
)
def test_units_come_down_to_base_units(code: str, factor: Fraction, dimension: tuple[tuple[str, int], ...]) -> None:
    assert canonical(code) == (factor, dimension)


@pytest.mark.parametrize(
    "code",
    ["", "furlong", "kkg", "m/", "m..g", "(m", "m)", "0", "007", "m999", "{", "3 m", "m.", "KG", "Torr", "mEq", "m(g)",
     "m" * (MAX_LENGTH + 1), "(" * 9 + "m" + ")" * 9, "Ym99.Ym99.Ym99", "Cel/min", "Cel2", "[pH]", "dB", "()", "//m",
     "k%", "1e3", "m[]", "m\n", "µg", "²"],
)  # fmt: skip
def test_what_is_no_ratio_scale_of_ucum_is_not_guessed(code: str) -> None:
    assert canonical(code) is None


@pytest.mark.parametrize(
    ("value", "source", "target", "found"),
    [
        pytest.param("154.3", "[lb_av]", "kg", "69.989302691", id="1959 international pound: 0.45359237 kg"),
        pytest.param("70", "[in_i]", "cm", "177.8", id="1959 international inch: 2.54 cm"),
        pytest.param("37", "Cel", "[degF]", "98.6", id="UCUM table 4: Cel to degF"),
        pytest.param("-40", "[degF]", "Cel", "-40", id="the two scales meet at -40"),
        pytest.param("0", "K", "Cel", "-273.15", id="SI brochure 9, 2.3.1: t/Cel = T/K - 273.15"),
        pytest.param("37000", "mCel", "Cel", "37", id="a prefix on a special unit"),
        pytest.param("80", "[degRe]", "Cel", "100", id="Reaumur: water boils at 80"),
        pytest.param("760", "mm[Hg]", "kPa", "101.32472", id="UCUM: m[Hg] is 133.3220 kPa"),
        pytest.param("1", "atm", "Pa", "101325", id="SI: a standard atmosphere"),
        pytest.param("1", "kcal", "kJ", "4.184", id="the thermochemical calorie"),
        pytest.param("1", "U", "nkat", "16.6666666666666666667", id="IUPAC: 1 U is 16.67 nkat"),
        pytest.param("1", "[foz_us]", "mL", "29.5735295625", id="NIST handbook 44, appendix C"),
        pytest.param("2.5", "mmol/L", "umol/L", "2500", id="a molar concentration"),
        pytest.param("0.9", "g/L", "mg/dL", "90", id="French labs give glucose in g/L"),
        pytest.param("5.4", "10*12/L", "10*6/uL", "5.4", id="a red cell count in two spellings"),
        pytest.param("15", "g/dL", "g/L", "150", id="haemoglobin"),
        pytest.param("120", "/min", "Hz", "2", id="a rate"),
        pytest.param("1", "wk", "d", "7", id="a week"),
        pytest.param("1", "a", "d", "365.25", id="a Julian year"),
        pytest.param("1", "mo", "d", "30.4375", id="a Julian month"),
        pytest.param("30", "mL/min", "L/h", "1.8", id="a flow"),
        pytest.param("7", "%", "1", "0.07", id="a fraction"),
        pytest.param("42", "mmol/mol", "%", "4.2", id="a ratio of amounts"),
        pytest.param("1", "[stone_av]", "[lb_av]", "14", id="a stone"),
        pytest.param("18", "[Ch]", "mm", "6", id="a French catheter of 18 Charriere is 6 mm"),
        pytest.param("1", "mg/g{creat}", "g/kg", "1", id="annotations say nothing"),
    ],
)
def test_known_conversions(value: str, source: str, target: str, found: str) -> None:
    made = convert(Decimal(value), source, target)
    assert made is not None
    assert round(made, 12) == round(Fraction(found), 12)


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        pytest.param("kg", "[lb_av]", True, id="mass"),
        pytest.param("kg", "m", False, id="mass and length"),
        pytest.param("mmol/L", "mg/dL", False, id="an amount and a mass need a molar mass"),
        pytest.param("[iU]/L", "[arb'U]/L", False, id="arbitrary units differ from each other"),
        pytest.param("[iU]/L", "U/L", False, id="an international unit is no enzyme unit"),
        pytest.param("Cel", "[degF]", True, id="scales of temperature"),
        pytest.param("Cel", "m", False, id="temperature and length"),
        pytest.param("[pH]", "[pH]", True, id="a special unit with itself"),
        pytest.param("B", "dB", False, id="a logarithm is not converted"),
        pytest.param("bottle", "bottle", True, id="an unknown code with itself"),
        pytest.param("bottle", "kg", False, id="an unknown code with another"),
    ],
)
def test_units_compare_or_not(a: str, b: str, answer: bool) -> None:
    assert is_comparable(a, b) is answer
    assert is_comparable(b, a) is answer


SENT: dict[str, str] = {
    "Synthea": "% /min 10*3/uL 10*6/uL Cel U/L cm fL g/L g/dL kU/L kg kg/m2 mL/min mL/min/{1.73_m2} mg/L mg/dL mg/g mm "
    "mm[Hg] mmol/L ng/mL pg pg/mL s ug/L ug/mL {#} {INR} {T-score} {count} {nominal} {score}",
    "French laboratories": "g/L mg/L umol/L nmol/L pmol/L 10*9/L 10*12/L m[IU]/L [IU]/mL k[IU]/L mL/min mmol/(24.h) "
    "mg/mmol{creat} ukat/L mm/h kPa",
    "devices": "Cel [degF] kPa mm[Hg] L/min L/s mL /min {breaths}/min {beats}/min % kg [lb_av] [in_i] cm ms mV bar dm3",
    "bedsides": "ug/kg/min mL/h mL/kg/h mmol/L mosm/kg meq/L g/(kg.d) kcal/d mg/m2 [drp]/min cm[H2O] L/min/m2 dyn.s/cm5 "
    "[Ch] W mW/cm2 kBq mSv mGy [diop]",
}


@pytest.mark.parametrize("sender", sorted(SENT))
def test_what_senders_write_is_read(sender: str) -> None:
    assert [code for code in SENT[sender].split() if scale(code) is None] == []


def test_every_atom_is_read_but_those_with_a_function_that_is_not_affine() -> None:
    refused = {code for code in table().atoms if scale(code) is None}
    assert refused == {
        code for code, atom in table().atoms.items() if atom.kind not in ("", "arbitrary", "Cel", "degF", "degRe")
    }
    assert len(table().atoms) - len(refused) == 287


def test_a_line_rises_and_is_the_conversion() -> None:
    found = line("[degF]", "Cel")
    assert found == (Fraction(5, 9), Fraction(-160, 9))


def test_the_table_is_made_from_the_essence(tmp_path: Path) -> None:
    essence = tmp_path / "essence.xml"
    essence.write_text(
        '<root xmlns="http://unitsofmeasure.org/ucum-essence" version="9" revision-date="2000-01-01">'
        '<prefix Code="k"><value value="1e3"/></prefix><base-unit Code="m"/>'
        '<unit Code="x" isMetric="yes" isArbitrary="yes"><value Unit="1" value="1"/></unit>'
        '<unit Code="Cel" isMetric="yes" isSpecial="yes"><value Unit="cel(1 K)">'
        '<function name="Cel" value="1" Unit="K"/></value></unit></root>',
        "utf-8",
    )
    made = compiled(essence)
    assert '["x", "1", "1", true, "arbitrary"]' in made
    assert '["Cel", "1", "K", true, "Cel"]' in made
