"""The DeviceMetric of each channel of a device: what it measures, in which unit.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/devicemetric.html; the Personal Health Device guide.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from adapters.devices import measures
from adapters.devices.observation import UCUM, code_of
from adapters.devices.reading import Measured
from fhir_server.interface import Asking
from fhir_server.model import Entry, Resource

METRIC: Final = "urn:predmp:devices:metric"  # identifier system
KINDS: Final = frozenset({measures.QUANTITY, measures.CODED, measures.WAVE})


async def missing_metric(asking: Asking, device: str, measured: Measured) -> list[Entry]:
    """Return what makes the DeviceMetric of a channel, where it is not there yet."""
    if measured.kind not in KINDS:
        return []
    value = f"{device.partition('/')[2]}.{measured.code}"
    if await asking.find(f"DeviceMetric?identifier={quote(f'{METRIC}|{value}')}&_count=1&_total=none"):
        return []
    return [Entry("POST", "DeviceMetric", build_metric(measured, device, value))]


def build_metric(measured: Measured, device: str, value: str) -> Resource:
    """Return the DeviceMetric of a channel."""
    made: Resource = {
        "resourceType": "DeviceMetric",
        "identifier": [{"system": METRIC, "value": value}],
        "type": code_of(measured),
        "source": {"reference": device},
        "operationalStatus": "on",
        "category": "measurement",
    }
    if unit := _unit(measured):
        made["unit"] = {"coding": [{"system": UCUM, "code": unit}]}
    if measured.wave is not None:
        made["measurementPeriod"] = _period(measured)
    return made


def _unit(measured: Measured) -> str:
    if measured.wave is not None:
        return measured.wave.unit
    return measured.parts[0].ucum if measured.parts else ""


def _period(measured: Measured) -> dict[str, Any]:
    assert measured.wave is not None
    return {"repeat": {"frequency": 1, "period": measured.wave.period / 1000, "periodUnit": "s"}}
