"""R4's own profiles: made from differentials they find what HL7's snapshots find, in every example."""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from fhir_server.profiles.builtin import definition
from tests.conformance import examples
from tests.profiles import errors, findings

FILE: Final = Path(__file__).parent.parent / "data" / "profile_snapshots.json.xz"
MOST: Final = 6  # examples of one type that are compared, spread over all


@cache
def snapshots() -> dict[str, dict[str, Any]]:
    return {made["url"]: made for made in json.loads(lzma.decompress(FILE.read_bytes()))}


@cache
def files_of(type: str) -> list[str]:
    found = sorted(file for file in examples.bodies() if examples.resource(file)["resourceType"] == type)
    return found[:: max(1, len(found) // MOST)]


@pytest.mark.parametrize("url", sorted(snapshots()))
def test_a_differential_finds_what_the_snapshot_finds(url: str) -> None:
    made, snapshot = definition(url), snapshots()[url]
    assert made is not None
    assert ("snapshot" in made, "snapshot" in snapshot) == (False, True)
    for file in files_of(made["type"]):
        resource = examples.resource(file)
        resource.get("meta", {}).pop("profile", None)
        ours = {error.partition(" ")[2] for error in errors(resource, named=(url,))}
        theirs = {error.partition(" ")[2] for error in errors(resource, snapshot)}
        assert ours == theirs, file


def test_no_example_breaks_a_profile_that_it_declares() -> None:
    declaring = 0
    for file in examples.bodies():
        resource = examples.resource(file)
        declaring += "profile" in resource.get("meta", {})
        assert errors(resource, named=()) == [], file
    assert declaring > 10


def test_an_example_that_declares_a_profile_breaks_it_when_what_it_asks_is_gone() -> None:
    pressure = examples.resource("Observation-blood-pressure.json")
    assert pressure["meta"]["profile"] == ["http://hl7.org/fhir/StructureDefinition/vitalsigns"]
    del pressure["category"]
    assert [issue.code for issue in findings(pressure, named=()) if issue.severity == "error"] == [
        "required",
        "required",
    ]
