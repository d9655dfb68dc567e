"""Laws of units: conversion round trips, the algebra of dimensions, and that nothing is guessed."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.quantity import to_decimal
from fhir_server.ucum import ONE, canonical, convert, is_comparable, line, scale
from fhir_server.ucum.atoms import table

SYMBOLS = sorted({*table().bases, *(code for code in table().atoms if canonical(code) is not None)})
PREFIXED = [prefix + base for prefix in table().prefixes for base in ("g", "m", "L", "mol", "Pa", "[iU]")]
PARTS = st.builds(
    lambda symbol, power: f"{symbol}{power}",
    st.sampled_from([symbol for symbol in SYMBOLS + PREFIXED if symbol not in ("10*", "10^")]),
    st.sampled_from(["", "2", "-1", "3"]),
)
UNITS = st.recursive(
    PARTS,
    lambda inner: st.one_of(
        st.builds("{}.{}".format, inner, inner),
        st.builds("{}/{}".format, inner, inner),
        st.builds("({}){{note}}".format, inner),
        st.builds("/{}".format, PARTS),
    ),
    max_leaves=4,
)
VALUES = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=4)


@given(UNITS, UNITS)
def test_a_product_adds_dimensions_and_multiplies_factors(a: str, b: str) -> None:
    one, other, product = canonical(a), canonical(f"({b})"), canonical(f"{a}.({b})")
    if one is None or other is None or product is None:  # longer than what is read, or out of bounds
        return
    powers = dict(one.dimension)
    for base, power in other.dimension:
        powers[base] = powers.get(base, 0) + power
    assert product.factor == one.factor * other.factor
    assert dict(product.dimension) == {base: power for base, power in powers.items() if power}


@given(UNITS)
def test_a_unit_over_itself_is_one(unit: str) -> None:
    if canonical(unit) is not None and (ratio := canonical(f"({unit})/({unit})")) is not None:
        assert ratio == ONE


@given(VALUES, st.sampled_from(SYMBOLS + PREFIXED + ["Cel", "[degF]", "mCel"]), st.data())
def test_a_conversion_comes_back_exactly(value: Decimal, source: str, data: st.DataObject) -> None:
    found = scale(source)
    assert found is not None
    alike = [s for s in (*SYMBOLS, *PREFIXED, "Cel", "[degF]") if (o := scale(s)) and o.dimension == found.dimension]
    target = data.draw(st.sampled_from(alike))
    there = convert(value, source, target)
    assert there is not None
    assert convert(there, target, source) == Fraction(value)


@given(VALUES, VALUES, st.sampled_from([("Cel", "[degF]"), ("kg", "[lb_av]"), ("mm[Hg]", "kPa"), ("K", "Cel")]))
def test_a_conversion_keeps_the_order(low: Decimal, high: Decimal, units: tuple[str, str]) -> None:
    a, b = convert(low, *units), convert(high, *units)
    assert a is not None and b is not None
    assert (a < b) == (low < high)


@given(st.lists(st.sampled_from([*SYMBOLS, *PREFIXED, "Cel", "[pH]", "bottle"]), min_size=3, max_size=3))
def test_comparability_is_an_equivalence(codes: list[str]) -> None:
    a, b, c = codes
    assert is_comparable(a, a)
    assert is_comparable(a, b) == is_comparable(b, a)
    if is_comparable(a, b) and is_comparable(b, c):
        assert is_comparable(a, c)


@given(st.text(max_size=40) | st.text(alphabet="mgLk[]{}()./*10-2Cel%'", max_size=40))
def test_reading_a_code_never_fails(code: str) -> None:
    found = scale(code)
    assert found is None or found.factor > 0
    assert line(code, code) is not None


@given(
    st.fractions(-(10**20), 10**20),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=30),
)
def test_a_bound_as_a_decimal_stands_to_every_number_as_the_fraction_does(bound: Fraction, number: Decimal) -> None:
    made, wide = to_decimal(bound), Context(prec=200)
    for near in (number, made.quantize(Decimal("1e-30"), context=wide), made.quantize(Decimal(1), context=wide)):
        assert (near < made, near == made) == (Fraction(near) < bound, Fraction(near) == bound)
