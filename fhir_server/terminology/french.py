"""French texts for R4's code systems that people meet most: our own translation, `french.json`.

They are a supplement to R4's code systems, behind those that a tenant has stored: a stored text comes first.
They bear no use, so that any text that calls itself a display is shown in their place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from fhir_server.model import Resource


@cache
def texts() -> Mapping[str, Mapping[str, str]]:
    """Return the texts, by url of the code system and code."""
    made: dict[str, dict[str, str]] = json.loads((files(__package__) / "french.json").read_text("utf-8"))
    return made


def supplements(url: str) -> list[Resource]:
    """Return what is added to a code system: one supplement, or nothing."""
    known = texts().get(url)
    if known is None:
        return []
    concepts = [{"code": code, "designation": [{"language": "fr", "value": text}]} for code, text in known.items()]
    return [{"resourceType": "CodeSystem", "content": "supplement", "supplements": url, "concept": concepts}]
