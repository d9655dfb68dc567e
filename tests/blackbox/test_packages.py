"""`predmp load package.tgz`: FHIR packages as registries hold them, made by hand here."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningHub

CANONICAL = "https://guide.example/fhir/StructureDefinition/registered"


def definition(version: str, least: int) -> dict[str, Any]:
    """A profile of Patient with so many identifiers at least."""
    return {
        "resourceType": "StructureDefinition",
        "id": "registered",
        "url": CANONICAL,
        "version": version,
        "name": "Registered",
        "status": "active",
        "kind": "resource",
        "abstract": False,
        "type": "Patient",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
        "derivation": "constraint",
        "differential": {"element": [{"id": "Patient.identifier", "path": "Patient.identifier", "min": least}]},
    }


VALUES = {
    "resourceType": "ValueSet",
    "id": "colours",
    "url": "https://guide.example/fhir/ValueSet/colours",
    "status": "active",
    "compose": {"include": [{"system": "https://guide.example/colours", "concept": [{"code": "red"}]}]},
}


def package(path: Path, files: dict[str, Any], **manifest: Any) -> Path:
    """Write a package."""
    said = {"name": "example.guide", "version": "1.0.0", "fhirVersions": ["4.0.1"], **manifest}
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"package/package.json": said, **files}.items():
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return path


def load(hub: RunningHub, *args: str) -> tuple[int, dict[str, Any], str]:
    done = hub.run("load", "--store", hub.store, "--json", *args)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def test_definitions_are_loaded_and_examples_left_out_unless_asked_for(own_hub: RunningHub, tmp_path: Path) -> None:
    made = package(
        tmp_path / "guide.tgz",
        {
            "package/.index.json": {"index-version": 1, "files": []},
            "package/StructureDefinition-registered.json": definition("1.0.0", 1),
            "package/ValueSet-colours.json": VALUES,
            "package/Patient-left-out.json": {"resourceType": "Patient", "id": "left-out"},
            "package/example/Patient-one.json": {"resourceType": "Patient", "id": "one"},
            "package/openapi/Patient.openapi.json": {"openapi": "3.0.2"},
            "package/other/validation-summary.json": {"no": "resource"},
        },
        dependencies={"hl7.fhir.r4.core": "4.0.1", "other.guide": "2.1.x"},
    )
    code, report, _ = load(own_hub, str(made))
    assert (code, report["stored"]) == (0, {"StructureDefinition": 1, "ValueSet": 1})
    assert report["packages"] == ["example.guide#1.0.0: 2 resources; left out: 1 examples, 1 that are no definitions"]
    assert report["missing"] == ["other.guide#2.1.x"]
    other = package(tmp_path / "other.tgz", {}, name="other.guide", version="2.1.7")
    assert load(own_hub, str(other), str(made))[1]["missing"] == []
    code, report, _ = load(own_hub, "--everything", str(made))
    assert (code, report["stored"], report["unchanged"]) == (0, {"Patient": 2}, 2)


def test_two_versions_of_a_canonical_stand_beside_each_other(own_hub: RunningHub, tmp_path: Path) -> None:
    name = "package/StructureDefinition-registered.json"
    old = package(tmp_path / "old.tgz", {name: definition("1.0.0", 1)})
    new = package(tmp_path / "new.tgz", {name: definition("1.1.0", 2)}, version="1.1.0")
    for _ in range(2):  # again: nothing changes
        assert load(own_hub, str(old), str(new))[0] == 0
    found = own_hub.search(f"StructureDefinition?url={CANONICAL}")["entry"]
    assert sorted((e["resource"]["version"], e["resource"]["meta"]["versionId"]) for e in found) == [
        ("1.0.0", "1"),
        ("1.1.0", "1"),
    ]

    def status(canonical: str) -> int:
        patient = {"resourceType": "Patient", "meta": {"profile": [canonical]}, "identifier": [{"value": "1"}]}
        return int(own_hub.request("POST", "/fhir/Patient", json=patient).status_code)

    assert status(f"{CANONICAL}|1.0.0") == 201
    assert status(f"{CANONICAL}|1.1.0") == 422
    assert status(CANONICAL) == 422, "without a version the newest counts"


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        pytest.param({"fhirVersions": ["5.0.0"]}, "it is for FHIR 5.0.0, not for R4", id="a package for R5"),
        pytest.param({"name": ""}, "no name or version", id="a package without a name"),
    ],
)
def test_a_package_that_cannot_be_loaded_is_refused(
    hub: RunningHub, tmp_path: Path, manifest: dict[str, Any], said: str
) -> None:
    made = package(tmp_path / "guide.tgz", {}, **manifest)
    done = hub.run("load", "--store", f"sqlite:///{tmp_path / 'x.db'}", str(made))
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_file_that_breaks_r4_is_named_and_the_others_are_loaded(own_hub: RunningHub, tmp_path: Path) -> None:
    made = package(
        tmp_path / "guide.tgz",
        {
            "package/bad.json": {**VALUES, "id": "bad", "url": "https://guide.example/bad", "status": "nonsense"},
            "package/broken.json": b"{",
            "package/good.json": VALUES,
        },
    )
    code, report, _ = load(own_hub, str(made))
    assert (code, report["stored"]) == (1, {"ValueSet": 1})
    assert [line.partition(":")[0] for line in sorted(report["failed"])] == ["bad.json", "broken.json"]
