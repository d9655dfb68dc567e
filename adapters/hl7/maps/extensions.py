"""Extensions of our own, for what R4 has no element and HL7 no extension of R4."""

from __future__ import annotations

from typing import Any, Final

from adapters.hl7.datatypes import Json
from adapters.hl7.maps.rows import Owns

OWN: Final = "urn:predmp:StructureDefinition:"


def _is_said(value: tuple[str, Any] | None) -> bool:
    return value is not None and value[1] is not None and (not isinstance(value[1], str) or bool(value[1].strip()))


def parts(name: str, values: dict[str, tuple[str, Any] | None]) -> Json | None:
    """Return an extension of ours with several parts, e.g. `("String", "5")`; None where none has a value."""
    made = [{"url": key, f"value{value[0]}": value[1]} for key, value in values.items() if value and _is_said(value)]
    return {"url": OWN + name, "extension": made} if made else None


def has_url(url: str) -> Owns:
    """Return what tells the extensions of a url."""
    return lambda item: item.get("url") == url
