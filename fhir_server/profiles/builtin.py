"""The profiles that come with the hub: R4's own, and those of French identity and addresses.

R4's are in `r4.bin`, which `python -m tools.profiles` writes from HL7's own package (CC0 1.0): all constraints on
its types and all its extensions, without their texts. The hub's own are the JSON files of `fr_core/`.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/profilelist.html and https://hl7.org/fhir/R4/extensibility-registry.html
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from fhir_server import gate


def definition(url: str) -> Mapping[str, Any] | None:
    """Return a StructureDefinition by its url without version; None where there is none here."""
    own = _own().get(url)
    if own is not None:
        return own
    packed = _r4().get(url)
    found: Mapping[str, Any] | None = gate.load(packed) if packed is not None else None
    return found


def supported(type: str) -> tuple[str, ...]:
    """Return the canonicals of the profiles of a resource type that come with the hub, for the CapabilityStatement."""
    return _by_type().get(type, ())


@cache
def _by_type() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for url in sorted([*_own(), *_r4()]):
        made = definition(url)
        if made is not None:
            found.setdefault(made["type"], []).append(url)
    return {type: tuple(urls) for type, urls in found.items()}


@cache
def _r4() -> Mapping[str, bytes]:
    data = (files(__package__) / "r4.bin").read_bytes()
    return msgspec.msgpack.decode(zlib.decompress(data), type=dict[str, bytes])


@cache
def _own() -> Mapping[str, Mapping[str, Any]]:
    folder = files(__package__) / "fr_core"
    found = [gate.parse_resource(file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".json")]
    return {made["url"]: made for made in sorted(found, key=lambda d: str(d["url"]))}
