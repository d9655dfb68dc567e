"""Extensions of our own, for what R4 has no element and HL7 no extension of R4."""

from __future__ import annotations

from typing import Any, Final

from adapters.hl7.datatypes import Json
from adapters.hl7.maps.rows import Owns

OWN: Final = "urn:predmp:StructureDefinition:"


def own(name: str, value: tuple[str, Any] | None) -> Json | None:
    """Return an extension of ours with one value, e.g. `("String", "5")`; None where there is no value."""
    if value is None or value[1] in ("", None):
        return None
    return {"url": OWN + name, f"value{value[0]}": value[1]}


def parts(name: str, values: dict[str, tuple[str, Any] | None]) -> Json | None:
    """Return an extension of ours with several parts; None where none has a value."""
    made = [
        {"url": key, f"value{value[0]}": value[1]}
        for key, value in values.items()
        if value is not None and value[1] not in ("", None)
    ]
    return {"url": OWN + name, "extension": made} if made else None


def has_url(url: str) -> Owns:
    """Return what tells the extensions of a url."""
    return lambda item: item.get("url") == url
