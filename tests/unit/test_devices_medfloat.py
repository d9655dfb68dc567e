"""SFLOAT and FLOAT: numbers keep their digits, special values say why there is none."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.devices.medfloat import decode_float, decode_sfloat, read_bits


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        pytest.param(0x0072, "114", id="an integer"),
        pytest.param(0xF16C, "36.4", id="one decimal"),
        pytest.param(0xE168, "3.60", id="a zero at the end is kept"),
        pytest.param(0xFFFF, "-0.1", id="a negative mantissa"),
        pytest.param(0x100C, "120", id="a positive exponent"),
        pytest.param(0x0000, "0", id="zero"),
        pytest.param(0x07FD, "2045", id="the greatest mantissa that is a number"),
        pytest.param(0x0803, "-2045", id="the least"),
    ],
)
def test_an_sfloat_that_is_a_number(bits: int, expected: str) -> None:
    made = decode_sfloat(bits)
    assert (str(made.value), made.absent) == (expected, "")


@pytest.mark.parametrize(
    ("mantissa", "absent"),
    [
        pytest.param(0x7FF, "not-a-number", id="NaN"),
        pytest.param(0x7FE, "positive-infinity", id="plus infinity"),
        pytest.param(0x802, "negative-infinity", id="minus infinity"),
        pytest.param(0x800, "error", id="not at this resolution"),
        pytest.param(0x801, "error", id="reserved"),
    ],
)
def test_special_values_are_no_numbers(mantissa: int, absent: str) -> None:
    assert decode_sfloat(mantissa) == (None, absent)
    wide = mantissa << 12 | (0xFFF if mantissa in (0x7FF, 0x7FE) else 0)
    wide = {0x7FE: 0x7FFFFE, 0x802: 0x800002, 0x801: 0x800001}.get(mantissa, wide)
    assert decode_float(wide) == (None, absent)


@given(st.integers(-128, 127), st.integers(-(2**23) + 3, 2**23 - 3))
def test_a_float_is_mantissa_times_a_power_of_ten(exponent: int, mantissa: int) -> None:
    made = decode_float((exponent & 0xFF) << 24 | mantissa & 0xFFFFFF)
    assert made.value == Decimal(mantissa).scaleb(exponent)


@pytest.mark.parametrize(
    ("text", "bits", "expected"),
    [
        pytest.param("07FF", 16, 0x7FF, id="hexadecimal"),
        pytest.param("0x07ff", 16, 0x7FF, id="with its prefix"),
        pytest.param(2047, 16, 0x7FF, id="an integer"),
        pytest.param("1F000", 16, None, id="more bits than there are"),
        pytest.param("0xZZ", 16, None, id="no hexadecimal"),
        pytest.param(True, 16, None, id="a boolean"),
        pytest.param(-1, 16, None, id="a negative number"),
    ],
)
def test_bits_as_they_are_sent(text: object, bits: int, expected: int | None) -> None:
    assert read_bits(text, bits) == expected
