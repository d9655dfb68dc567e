"""The formats that device feeds are written in, by media type and, where that says only JSON, by shape."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final, NamedTuple

from adapters.devices import omh, phd, senml
from adapters.devices.message import Message, bounded, read_messages
from adapters.devices.reading import DeviceName
from fhir_server import gate
from fhir_server.errors import UnsupportedMediaType

JSON: Final = "application/json"
SENML: Final = "application/senml+json"
SENSML: Final = "application/sensml+json"
FHIR: Final = "application/fhir+json"
OPEN_MHEALTH: Final = "application/vnd.openmhealth+json"
"""Open mHealth has registered no media type: this one is the hub's own name."""

SOURCES: Final = MappingProxyType(
    {JSON: "http", SENML: "senml", SENSML: "senml", FHIR: "fhir", OPEN_MHEALTH: "openmhealth"}
)
"""Media types that are taken, with the name of their format."""


class Given(NamedTuple):
    """What a body brings."""

    messages: tuple[Message, ...]
    source: str  # the format: http (the canonical JSON) senml fhir openmhealth
    is_relative: bool = False  # whether some time depends on when the body came


def read_format(media_type: str, body: bytes, *, now: int, device: DeviceName | None = None, base: str = "") -> Given:
    """Read a body.

    Args:
        media_type: Its Content-Type; parameters are ignored, "" stands for JSON of any shape that is known.
        body: The bytes.
        now: When it came, microseconds since 1970.
        device: Whose readings those are that name no device by themselves.
        base: Of this hub's own references, where they are absolute.

    Raises:
        UnsupportedMediaType: The format is not taken here.
        BadRequest, Malformed, TooLarge: The body is not of its format, or has too much in it.
    """
    name = check(media_type)
    if name in (SENML, SENSML):
        pack = senml.read_pack(body, now=now) if name == SENML else senml.read_stream(body, now=now)
        return Given(_few(pack.messages), SOURCES[name], pack.is_relative)
    parsed = gate.parse(body)
    if name == OPEN_MHEALTH or (name == JSON and omh.is_point(parsed)):
        return Given(_few(omh.read_points(parsed, device=device)), SOURCES[OPEN_MHEALTH])
    if name == FHIR or (name == JSON and isinstance(parsed, dict) and "resourceType" in parsed):
        return Given(_few(phd.read_resource(parsed, device=device, base=base)), SOURCES[FHIR])
    if _is_pack(parsed):
        pack = senml.as_pack(senml.resolve(parsed, now=now))
        return Given(_few(pack.messages), SOURCES[SENML], pack.is_relative)
    return Given(tuple(read_messages(parsed)), SOURCES[JSON])


def check(media_type: str) -> str:
    """Return the bare media type; raise UnsupportedMediaType where it is not taken here."""
    name = media_type.partition(";")[0].strip().lower() or JSON
    if name not in SOURCES:
        raise UnsupportedMediaType(f"Device readings are taken as {', '.join(SOURCES)}; HL7 v2 at /hl7v2 or by MLLP.")
    return name


def _few(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return tuple(bounded(list(messages)))


def _is_pack(value: Any) -> bool:
    """Whether a parsed body has the shape of SenML: a list whose first record has a name."""
    return (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict) and bool({"bn", "n"} & value[0].keys())
    )
