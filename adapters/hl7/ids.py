"""Ids of resources, made from what tells them apart: the same thing again has the same id."""

from __future__ import annotations

import uuid

from adapters.hl7.context import Context
from adapters.hl7.tokens import Segment

SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:predmp:hl7v2")


def made_id(*parts: str) -> str:
    """Return the id that these parts always give (UUID version 5)."""
    return str(uuid.uuid5(SPACE, "\x1f".join(parts)))


def unique(context: Context, place: Segment, key: tuple[str, ...], field: int = 3) -> str:
    """Return the id of a resource; one whose key came up before in this message gets a running number."""
    count = context.occurrence(key)
    if count == 1:
        return made_id(*key)
    context.note(place, field, "result-repeated")
    return made_id(*key, str(count))
