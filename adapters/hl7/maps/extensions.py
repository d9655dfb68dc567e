"""Extensions of our own, for what R4 has no element and HL7 no extension of R4."""

from __future__ import annotations

from typing import Final

from adapters.hl7.maps.rows import Owns

OWN: Final = "urn:predmp:StructureDefinition:"


def has_url(url: str) -> Owns:
    """Return what tells the extensions of a url."""
    return lambda item: item.get("url") == url
