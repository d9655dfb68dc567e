"""Many patients made of few: Synthea's bundles as NDJSON, each patient several times under new ids.

Of each patient the first resources of the types that the mix asks for are taken, by turns; a copy differs from its
original by ids alone. References to what was not taken stay as they are.
"""

from __future__ import annotations

import bz2
import json
import re
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Final

TYPES: Final = ("Observation", "Condition", "Encounter", "Procedure", "MedicationRequest")
_URN: Final = re.compile(r'"urn:uuid:[0-9a-f-]{36}"')
_CONDITION: Final = re.compile(r'"[A-Z][A-Za-z]+\?identifier=[^"]+"')


def write_copies(folder: Path, target: Path, *, copies: int, each: int) -> int:
    """Write the NDJSON file; return how many patients it has.

    Args:
        folder: Synthea's bundles, packed by bzip2; the names of those that all patients share begin with `0-`.
        target: The file.
        copies: Of each patient.
        each: Resources of a patient, itself among them.
    """
    paths = sorted(folder.glob("*.json.bz2"), key=lambda path: not path.name.startswith("0-"))
    known: dict[str, str] = {}  # conditional reference -> Type/id
    patients = 0
    with target.open("w", encoding="utf-8") as file:
        for path in paths:
            entries = json.loads(bz2.decompress(path.read_bytes()))["entry"]
            links = {entry["fullUrl"]: _reference(entry["resource"]) for entry in entries}
            if path.name.startswith("0-"):
                known |= {name: links[entry["fullUrl"]] for entry in entries for name in _names(entry["resource"])}
                _write(file, [entry["resource"] for entry in entries], links, known, "")
                continue
            taken = _slim([entry["resource"] for entry in entries], each)
            own = {_reference(resource) for resource in taken}
            for number in range(copies):
                suffix = f"-{number}" if number else ""
                moved = {name: to + suffix if to in own else to for name, to in links.items()}
                _write(file, taken, moved, known, suffix)
                patients += 1
    return patients


def _reference(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _names(resource: dict[str, Any]) -> Iterator[str]:
    for identifier in resource.get("identifier", ()):
        yield f"{resource['resourceType']}?identifier={identifier.get('system', '')}|{identifier.get('value', '')}"


def _slim(resources: list[dict[str, Any]], each: int) -> list[dict[str, Any]]:
    patient = next(one for one in resources if one["resourceType"] == "Patient")
    columns = [[one for one in resources if one["resourceType"] == type] for type in TYPES]
    others = [one for one in chain.from_iterable(zip_longest(*columns)) if one is not None]
    return [patient, *others[: each - 1]]


def _write(
    file: Any, resources: list[dict[str, Any]], links: dict[str, str], known: dict[str, str], suffix: str
) -> None:
    for resource in resources:
        text = json.dumps({**resource, "id": resource["id"] + suffix}, ensure_ascii=False, separators=(",", ":"))
        text = _URN.sub(lambda found: f'"{links.get(found[0][1:-1], found[0][1:-1])}"', text)
        file.write(_CONDITION.sub(lambda found: f'"{known.get(found[0][1:-1], found[0][1:-1])}"', text) + "\n")
