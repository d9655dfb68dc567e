"""Decimals as bytes that sort as the numbers do, to the last digit: a REAL would lose some.

One byte of sign, two of exponent, then two digits a byte; a negative number is the complement. The idea
is that of https://sqlite.org/src4/doc/trunk/www/key_encoding.wiki.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final

LOWEST: Final = b""
HIGHEST: Final = b"\xff"

_ZERO: Final = b"\x80"
_BIAS: Final = 1 << 15
_COMPLEMENT: Final = bytes(255 - byte for byte in range(256))


@lru_cache(maxsize=4_096)
def encode(number: Decimal) -> bytes:
    """Return bytes that compare as the number does; equal numbers (1.0, 1.00) are equal bytes."""
    if not number:
        return _ZERO
    text = "".join(map(str, number.as_tuple().digits)).rstrip("0")
    if len(text) % 2:
        text += "0"
    packed = (number.adjusted() + _BIAS).to_bytes(2, "big") + bytes(
        int(text[at : at + 2]) + 1 for at in range(0, len(text), 2)
    )
    if number < 0:
        return b"\x7f" + packed.translate(_COMPLEMENT) + b"\xff"
    return b"\x81" + packed
