"""Ids of resources, made from what tells them apart: the same thing again has the same id."""

from __future__ import annotations

import hashlib
import uuid
from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.tokens import Segment

SPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:predmp:hl7v2")
_VARIANTS: Final = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


def made_id(*parts: str) -> str:
    """Return the id that these parts always give: `uuid.uuid5` of `SPACE`, written in a quarter of its time.

    Source: https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-5
    """
    made = hashlib.sha1(SPACE.bytes + "\x1f".join(parts).encode(), usedforsecurity=False).hexdigest()
    return f"{made[:8]}-{made[8:12]}-5{made[13:16]}-{_VARIANTS[made[16]]}{made[17:20]}-{made[20:32]}"


def unique(context: Context, place: Segment, key: tuple[str, ...], field: int = 3) -> str:
    """Return the id of a resource; one whose key came up before in this message gets a running number."""
    count = context.occurrence(key)
    if count == 1:
        return made_id(*key)
    context.note(place, field, "result-repeated")
    return made_id(*key, str(count))
