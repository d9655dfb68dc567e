"""What makes a reading the same reading: the keys by which a copy is known.

A sender's own id names the reading of its device. Without one, device, code and instant do, as in the identifier of
the Personal Health Device guide (https://hl7.org/fhir/uv/phd/), which holds device, type and timestamp.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from adapters.devices.reading import DeviceName, Measured, Reading
from fhir_server import gate

READING: Final = "urn:predmp:devices:reading"  # identifier system: which reading of which device
CONTENT: Final = "urn:predmp:devices:content"  # identifier system: digest of what it says


def key_of(device: DeviceName, reading: Reading, measured: Measured) -> str:
    """Return the key of a reading: equal for a copy, whichever gateway brings it and in whatever zone it writes."""
    if reading.id:
        return _digest("id", *device, reading.id)
    return _digest("time", *device, "+".join(measured.loinc), str(measured.instant))


def content_of(measured: Measured) -> str:
    """Return a digest of what a reading says, in canonical units: another value under the same key differs."""
    parts = sorted((part.loinc[0], part.ucum, str(Fraction(part.value))) for part in measured.parts)
    return _digest("+".join(measured.loinc), str(measured.instant), *(text for part in parts for text in part))


def raw_key(device: DeviceName, raw: Mapping[str, Any]) -> str:
    """Return the key of a reading as it was sent: a copy of one that was kept aside finds its place again."""
    return _digest("raw", *device, gate.write(dict(sorted(raw.items()))).decode())


def _digest(*texts: str) -> str:
    """Return 40 hexadecimal digits; texts are parted by their lengths, so that no two lists meet."""
    joined = "".join(f"{len(text)}:{text}" for text in texts)
    return hashlib.sha256(joined.encode()).hexdigest()[:40]
