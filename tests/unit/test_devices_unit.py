"""Units: what a sender's text means, and conversion that is exact and keeps digits."""

from __future__ import annotations

from decimal import Decimal

import pytest

from adapters.devices.measures import MEASURES
from adapters.devices.unit import MDC_UNITS, UNITS, convert, is_convertible, unit_of


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("bpm", "/min", id="beats a minute"),
        pytest.param(" mmHg ", "mm[Hg]", id="blanks around do not matter"),
        pytest.param("°C", "Cel", id="degree sign"),
        pytest.param("266016", "mm[Hg]", id="an MDC unit code"),
        pytest.param("[lb_av]", "[lb_av]", id="UCUM itself"),
        pytest.param("oz", "[oz_av]", id="ounces"),
        pytest.param("beats/minute", "/min", id="beats a minute, written out"),
        pytest.param("st", None, id="st is stere in UCUM: no guess"),
        pytest.param("furlong", None, id="an unknown unit"),
        pytest.param("C", None, id="C alone is coulomb in UCUM: no guess"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_a_text_means_one_unit_or_none(text: str, code: str | None) -> None:
    unit = unit_of(text)
    assert (unit.code if unit else None) == code


@pytest.mark.parametrize(
    ("value", "given", "wanted", "decimals", "expected"),
    [
        pytest.param("98.60", "[degF]", "Cel", 2, "37.00", id="Fahrenheit to Celsius"),
        pytest.param("-40", "[degF]", "Cel", 2, "-40.00", id="where both scales meet"),
        pytest.param("310.15", "K", "Cel", 2, "37.00", id="kelvin to Celsius"),
        pytest.param("16.0", "kPa", "mm[Hg]", 1, "120.0", id="kilopascal to millimetres of mercury"),
        pytest.param("16000", "Pa", "mm[Hg]", 1, "120.0", id="pascal to millimetres of mercury"),
        pytest.param("160", "hPa", "mm[Hg]", 1, "120.0", id="hectopascal to millimetres of mercury"),
        pytest.param("112", "[oz_av]", "kg", 3, "3.175", id="ounces to kilograms: a child of seven pounds"),
        pytest.param("11", "[stone_av]", "kg", 3, "69.853", id="stones to kilograms"),
        pytest.param("2", "[mi_i]", "m", 1, "3218.7", id="miles to metres"),
        pytest.param("154.3", "[lb_av]", "kg", 3, "69.989", id="pounds to kilograms"),
        pytest.param("71500", "g", "kg", 3, "71.500", id="grams to kilograms"),
        pytest.param("5.5", "mmol/L", "mg/dL", 0, "99", id="glucose, moles to mass"),
        pytest.param("99", "mg/dL", "mmol/L", 1, "5.5", id="glucose, mass to moles"),
        pytest.param("1.2", "Hz", "/min", 0, "72", id="hertz to a minute"),
        pytest.param("0.97", "1", "%", 1, "97.0", id="a ratio to percent"),
        pytest.param("6.5", "L/s", "L/min", 0, "390", id="flow a second to a minute"),
        pytest.param("0.5", "Hz", "/min", 0, "30", id="a half is not rounded twice"),
    ],
)
def test_conversion(value: str, given: str, wanted: str, decimals: int, expected: str) -> None:
    assert str(convert(Decimal(value), UNITS[given], UNITS[wanted], decimals=decimals)) == expected


@pytest.mark.parametrize("written", ["72.0", "72", "0.00", "1.10", "1E+2", "12345678901234567890.123"])
def test_the_same_unit_keeps_the_digits(written: str) -> None:
    unit = unit_of("bpm")
    assert unit is not None
    assert str(convert(Decimal(written), unit, UNITS["/min"], decimals=0)) == written


def test_mass_becomes_moles_for_glucose_only() -> None:
    mass, moles = UNITS["mg/dL"], UNITS["mmol/L"]
    assert is_convertible(mass, moles, glucose=True)
    assert not is_convertible(mass, moles)
    assert not is_convertible(mass, UNITS["kg"], glucose=True)


def test_every_mdc_unit_and_every_measure_is_in_a_known_unit() -> None:
    assert set(MDC_UNITS.values()) <= UNITS.keys()
    assert {measure.unit for measure in MEASURES if measure.unit} <= UNITS.keys()
