"""Whether a webhook comes from its vendor: HMAC-SHA256 over its time and its bytes, or a key in its address.

The signed text is `timestamp.body` (the body alone where the vendor sends no time). The signature is hexadecimal or
base64, and may have `sha256=` or `v1=` before it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from adapters.devices.vendor import Vendor

_PREFIXES: Final = ("sha256=", "v1=")

MISSING: Final = "missing"
STALE: Final = "stale"
WRONG: Final = "wrong"


def sign(secret: str, timestamp: str, body: bytes) -> bytes:
    """Return the signature that a vendor makes."""
    text = timestamp.encode() + b"." + body if timestamp else body
    return hmac.new(secret.encode(), text, hashlib.sha256).digest()


def fault(vendor: Vendor, headers: Mapping[str, str], body: bytes, *, key: str, now_s: int) -> str:
    """Return why a notification is not the vendor's: missing, stale or wrong; "" where it is.

    Args:
        vendor: Whose it claims to be.
        headers: Of the request, names in any case.
        body: As it was sent.
        key: The last part of the address, "" none.
        now_s: Seconds since 1970.
    """
    if key or not vendor.secret:
        if not key:
            return MISSING
        return "" if vendor.url_key and hmac.compare_digest(key.encode(), vendor.url_key.encode()) else WRONG
    given, timestamp = headers.get(vendor.signature_header, ""), ""
    if vendor.timestamp_header:
        timestamp = headers.get(vendor.timestamp_header, "")
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
            return MISSING
    if not given:
        return MISSING
    expected = sign(vendor.secret, timestamp, body)
    for prefix in _PREFIXES:
        given = given.removeprefix(prefix)
    is_hex = hmac.compare_digest(given.lower().encode(), expected.hex().encode())
    is_base64 = hmac.compare_digest(given.encode(), base64.b64encode(expected))
    if not (is_hex or is_base64):
        return WRONG
    return STALE if timestamp and abs(now_s - int(timestamp)) > vendor.tolerance_s else ""
