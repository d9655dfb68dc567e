"""Synthetic patients as resources of a store: Synthea's transaction bundles with their references resolved."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from fhir_server import gate
from fhir_server.model import Resource

FOLDER: Final = Path(__file__).parents[1].parent / "shared" / "data" / "synthea"
ORACLE: Final = FOLDER.parent / "search_oracle.json"


def files(most_patients: int | None) -> list[Path]:
    """Return the two files of hospitals and practitioners, and the smallest patients; skip where there are none."""
    if not FOLDER.is_dir():
        pytest.skip("the Synthea bundles are not here (../shared/data/synthea)")
    every = sorted(FOLDER.glob("*.json.bz2"), key=lambda path: (path.stat().st_size, path.name))
    common = [path for path in every if path.name.startswith("0-")]
    patients = [path for path in every if not path.name.startswith("0-")]
    return common + patients[:most_patients]


def resources(most_patients: int | None) -> Iterator[Resource]:
    """Give each resource once, ids assigned, references local.

    An id is that of the bundle's `urn:uuid:`, shortened to 36 characters as it is.
    """
    known: dict[str, str] = {}  # urn:uuid or conditional url -> Type/id
    for path in files(most_patients):
        entries = gate.parse(bz2.decompress(path.read_bytes()))["entry"]
        for entry in entries:
            resource = entry["resource"]
            resource["id"] = entry["fullUrl"].removeprefix("urn:uuid:")
            reference = f"{resource['resourceType']}/{resource['id']}"
            known[entry["fullUrl"]] = reference
            if condition := entry["request"].get("ifNoneExist"):
                known[f"{resource['resourceType']}?{condition}"] = reference
        for entry in entries:
            _resolve(entry["resource"], known)
            yield entry["resource"]


def _resolve(value: Any, known: dict[str, str]) -> None:
    if isinstance(value, dict):
        if isinstance(reference := value.get("reference"), str) and reference in known:
            value["reference"] = known[reference]
        for item in value.values():
            _resolve(item, known)
    elif isinstance(value, list):
        for item in value:
            _resolve(item, known)
