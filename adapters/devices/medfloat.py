"""Medical floats of ISO/IEEE 11073-20601: SFLOAT (16 bits) and FLOAT (32 bits), as Bluetooth devices send them.

SFLOAT has an exponent of 4 bits and a mantissa of 12, FLOAT one of 8 and one of 24; both are signed, to the base ten,
and some mantissas are no number. Source of the special values: HL7 Personal Health Device guide,
https://hl7.org/fhir/uv/phd/, and Bluetooth's Personal Health Devices Transcoding White Paper.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

# Codes of R4's data-absent-reason; 0x800 is "not at this resolution", 0x801 is reserved: neither is a value.
_SPECIAL_12: Final[Mapping[int, str]] = {
    0x7FF: "not-a-number",
    0x7FE: "positive-infinity",
    0x802: "negative-infinity",
    0x800: "error",
    0x801: "error",
}
_SPECIAL_24: Final[Mapping[int, str]] = {
    0x7FFFFF: "not-a-number",
    0x7FFFFE: "positive-infinity",
    0x800002: "negative-infinity",
    0x800000: "error",
    0x800001: "error",
}
_HEXADECIMAL: Final = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{1,8})", re.ASCII)


class Decoded(NamedTuple):
    """A number, or why there is none."""

    value: Decimal | None
    absent: str = ""  # of R4's data-absent-reason


def decode_sfloat(bits: int) -> Decoded:
    """Return what the 16 bits of an SFLOAT say; the exponent's zeros are kept: 0xE168 is 3.60."""
    return _decoded(bits, mantissa_bits=12, exponent_bits=4, special=_SPECIAL_12)


def decode_float(bits: int) -> Decoded:
    """Return what the 32 bits of a FLOAT say; 0xFF00016C is 36.4."""
    return _decoded(bits, mantissa_bits=24, exponent_bits=8, special=_SPECIAL_24)


def read_bits(text: object, bits: int) -> int | None:
    """Return the bits that a hexadecimal text (`07FF`, `0x07ff`) or an integer gives; None where it is neither."""
    if isinstance(text, str):
        found = _HEXADECIMAL.fullmatch(text)
        text = int(found[1], 16) if found else None
    return text if isinstance(text, int) and not isinstance(text, bool) and 0 <= text < 1 << bits else None


def _decoded(bits: int, *, mantissa_bits: int, exponent_bits: int, special: Mapping[int, str]) -> Decoded:
    mantissa = bits & ((1 << mantissa_bits) - 1)
    exponent = _signed(bits >> mantissa_bits & ((1 << exponent_bits) - 1), exponent_bits)
    # The special values of Bluetooth have the exponent 0; an agent that sets another one means no number either.
    if reason := special.get(mantissa):
        return Decoded(None, reason)
    number = _signed(mantissa, mantissa_bits)
    if exponent > 0:
        return Decoded(Decimal(number * 10**exponent))
    digits = tuple(int(digit) for digit in str(abs(number)))
    return Decoded(Decimal((int(number < 0), digits, exponent)))


def _signed(bits: int, width: int) -> int:
    return bits - (1 << width) if bits >> (width - 1) else bits
