"""The form of the index: a digest of all that decides what a resource is indexed by."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files
from typing import Final

import msgspec

from fhir_server.search.molar import SUBSTANCES, WEIGHTS
from fhir_server.search.own import OWN

FORM: Final = 3
"""Raised by whoever changes what extraction gives for the same definitions (`search.extract`, `readers`, `walks`,
`dates`, `fold`) or how a store lays it out; a test with fixed resources says when."""


@lru_cache(maxsize=8)
def index_form(zone: str) -> str:
    """Return the digest for a zone, which dates without one are read in."""
    made = hashlib.blake2b(digest_size=16)
    made.update(files("fhir_server.definitions").joinpath("r4.bin").read_bytes())
    made.update(msgspec.json.encode((FORM, zone, OWN, SUBSTANCES, dict(WEIGHTS))))
    return made.hexdigest()
