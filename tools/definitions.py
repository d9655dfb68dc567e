"""Compile HL7's R4 4.0.1 definitions into the one file that the server reads.

`python -m tools.definitions [--package PATH] [--expansions PATH] [--examples]` takes HL7's npm packages
`hl7.fhir.r4.examples` and `hl7.fhir.r4.expansions` 4.0.1 (CC0; fetched with `npm pack` unless given as .tgz) and
writes `fhir_server/definitions/r4.bin` and `terminology.bin`, and for the tests `tests/data/r4_expansions.json`; with
`--examples` also `tests/data/examples.jsonl.xz`, the examples that the tests use.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/downloads.html
"""

from __future__ import annotations

import argparse
import json
import lzma
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from fhir_server import gate
from tools.terminology import compile_terminology, digests

PACKAGE = "hl7.fhir.r4.examples@4.0.1"
EXPANSIONS = "hl7.fhir.r4.expansions@4.0.1"
TARGET = Path(__file__).parent.parent / "fhir_server" / "definitions" / "r4.bin"
TERMINOLOGY = TARGET.with_name("terminology.bin")
STRUCTURES = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE = STRUCTURES + "structuredefinition-fhir-type"
SAMPLES = Path(__file__).parent.parent / "tests" / "data" / "examples.jsonl.xz"
DIGESTS = SAMPLES.with_name("r4_expansions.json")
# Types of the definitions themselves, and Bundles of them: not among the examples of the tests.
CONFORMANCE = frozenset(
    ["Bundle", "CodeSystem", "ConceptMap", "OperationDefinition", "SearchParameter", "StructureDefinition", "ValueSet"]
)
COMPARTMENTS = ("Patient", "Encounter", "RelatedPerson", "Practitioner", "Device")
# SearchParameters that the package holds only to show what one looks like.
EXAMPLES = frozenset(
    f"http://hl7.org/fhir/SearchParameter/{name}" for name in ("example", "example-extension", "example-reference")
)

Json: TypeAlias = dict[str, Any]
Package: TypeAlias = Mapping[str, list[Json]]
Pairs: TypeAlias = frozenset[tuple[str, str]]


def fetch(folder: Path, package: str = PACKAGE) -> Path:
    """Let npm download a package into `folder`; return the path of its .tgz."""
    done = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True, text=True)
    return folder / done.stdout.split()[-1]


def read_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the JSON files of a FHIR package, by name."""
    with tarfile.open(path) as archive:
        members = {m.name: m for m in archive.getmembers() if m.isfile() and m.name.endswith(".json")}
        for name in sorted(members):
            stream = archive.extractfile(members[name])
            if stream:
                yield name.rpartition("/")[2], stream.read()


def read_package(path: Path) -> Package:
    """Return the resources of a FHIR package by type, in the order of their file names."""
    found: dict[str, list[Json]] = {}
    for _, body in read_files(path):
        resource = json.loads(body)
        if "resourceType" in resource:
            found.setdefault(resource["resourceType"], []).append(resource)
    return found


def examples(path: Path) -> bytes:
    """Return the examples of a package that are no definitions: JSON lines of file and resource, xz.

    Numbers stand as they are written in the package.
    """
    lines = []
    for name, body in read_files(path):
        resource = gate.parse(body)
        if resource.get("resourceType", "Bundle") not in CONFORMANCE:
            lines.append(gate.write({"file": name, "resource": resource}))
    return lzma.compress(b"\n".join(lines), preset=9 | lzma.PRESET_EXTREME)


def constraint(data: Json) -> list[str]:
    """Return [key, severity, human, expression]."""
    return [data["key"], data["severity"], data["human"], data.get("expression", "")]


class Structures:
    """Turns StructureDefinitions into rows of the loader's `Structure`.

    A snapshot repeats on each element the invariants of the element's type; here they stand at the type only.
    """

    def __init__(self, definitions: Iterable[Json]) -> None:
        every = [d for d in definitions if "snapshot" in d]
        self.base = [d for d in every if d["kind"] != "logical" and d.get("derivation") != "constraint"]
        self.own = {
            e["path"]: {c["key"]: constraint(c) for c in e.get("constraint", ())}
            for d in self.base
            for e in d["snapshot"]["element"]
        }
        # A profile that a base definition uses as a type: SimpleQuantity.
        self.profiles = {d["url"]: d["snapshot"]["element"][0].get("constraint", ()) for d in every}

    def rows(self) -> Iterator[tuple[str, list[Any]]]:
        """Yield (name, row) for each type and each element that has children of its own."""
        for definition in self.base:
            elements: list[Json] = definition["snapshot"]["element"]
            parents = {e["path"].rpartition(".")[0] for e in elements[1:]} | {definition["type"]}
            for element in elements:
                path = element["path"]
                if path not in parents:
                    continue
                kind, base = definition["kind"], definition.get("baseDefinition", "").removeprefix(STRUCTURES)
                if path != definition["type"]:
                    kind, base = "backbone", element["type"][0]["code"]
                children = {
                    row[0]: row
                    for e in elements
                    if e["path"].rpartition(".")[0] == path and (row := self.element(e, definition, parents))
                }
                abstract = definition["abstract"] and kind != "backbone"
                yield path, [path, kind, base, abstract, children, list(self.own[path].values())]

    def element(self, element: Json, definition: Json, parents: set[str]) -> list[Any] | None:
        """Return a row of the loader's `Element`; None for the value of a primitive type."""
        path, given = element["path"], element.get("type", ())
        if definition["kind"] == "primitive-type" and path.endswith(".value"):
            return None
        types = list(dict.fromkeys(self.type(t, path, definition) for t in given))
        if "contentReference" in element:
            types = [element["contentReference"].rpartition("#")[2]]
        elif path in parents:
            types = [path]
        # The rules of the structure that the element holds are checked there.
        known = set().union(*(self.own.get(t, {}) for t in types)) | {"ele-1"}
        rules = [c for key, c in self.own[path].items() if key not in known]
        rules += [constraint(c) for t in given for p in t.get("profile", ()) for c in self.profiles[p]]
        binding = element.get("binding", {})
        return [
            path.rpartition(".")[2].removesuffix("[x]"),
            types,
            path.endswith("[x]"),
            element["min"],
            None if element["max"] == "*" else int(element["max"]),
            binding.get("valueSet", "").partition("|")[0],
            binding.get("strength", ""),
            list(dict.fromkeys(p.rpartition("/")[2] for t in given for p in t.get("targetProfile", ()))),
            [c for n, c in enumerate(rules) if c[0] not in {"ele-1", *known} and c not in rules[:n]],
            bool(element.get("isSummary", False)),
        ]

    @staticmethod
    def type(data: Json, path: str, definition: Json) -> str:
        """Return the FHIR name of a type; the package gives System types for ids, urls and xhtml."""
        code: str = data["code"]
        if not code.startswith("http://hl7.org/fhirpath/"):
            return code
        # The package calls Resource.id a string; R4's text says id (https://hl7.org/fhir/R4/resource.html#id).
        if definition["kind"] == "resource" and path.count(".") == 1:
            return "id"
        return next((x["valueUrl"] for x in data.get("extension", ()) if x["url"] == FHIR_TYPE), "string")


class Terminology:
    """Expands the value sets that the package itself closes."""

    def __init__(self, package: Package) -> None:
        self.systems = {r["url"]: r for r in package["CodeSystem"] if r.get("content") == "complete"}
        self.sets = {r["url"]: r for r in package["ValueSet"] if "url" in r}

    def expand(self, url: str) -> Pairs | None:
        """Return the (system, code) pairs of a value set; None when the package cannot say them all."""
        compose = self.sets.get(url.partition("|")[0], {}).get("compose")
        if compose is None:
            return None
        found: set[tuple[str, str]] = set()
        for include in compose["include"]:
            pairs = self.include(include)
            if pairs is None:
                return None
            found |= pairs
        for exclude in compose.get("exclude", ()):
            pairs = self.include(exclude)
            if pairs is None:
                return None
            found -= pairs
        return frozenset(found)

    def include(self, include: Json) -> Pairs | None:
        """Return what one include (or exclude) names."""
        pairs = self.named(include) if "system" in include else None
        if "system" in include and pairs is None:
            return None
        for url in include.get("valueSet", ()):
            other = self.expand(url)
            if other is None:
                return None
            pairs = other if pairs is None else pairs & other
        return pairs

    def named(self, include: Json) -> Pairs | None:
        """Return the pairs of the include's own system."""
        system = include["system"]
        if "concept" in include:
            return frozenset((system, c["code"]) for c in include["concept"])
        if system not in self.systems:
            return None
        concepts = list(walk(self.systems[system].get("concept", ()), ()))
        for rule in include.get("filter", ()):
            if rule["property"] != "concept" or rule["op"] not in ("is-a", "descendent-of", "is-not-a"):
                return None
            top, itself = rule["value"], rule["op"] != "descendent-of"
            inside = [(c, up) for c, up in concepts if top in up or (itself and c["code"] == top)]
            concepts = [x for x in concepts if x not in inside] if rule["op"] == "is-not-a" else inside
        return frozenset((system, c["code"]) for c, _ in concepts)


def walk(concepts: Iterable[Json], above: tuple[str, ...]) -> Iterator[tuple[Json, frozenset[str]]]:
    """Yield each concept with the codes above it: by nesting, and by `subsumedBy` as v3 writes it."""
    for concept in concepts:
        parents = {
            p["valueCode"] for p in concept.get("property", ()) if p["code"] == "subsumedBy" and "valueCode" in p
        }
        yield concept, frozenset(above) | parents
        yield from walk(concept.get("concept", ()), (*above, concept["code"]))


def search_parameters(package: Package) -> list[list[Any]]:
    """Return rows of the loader's `SearchParameter`; those without a base say nothing and are left out."""
    return [
        [
            r["url"],
            r["code"],
            r["base"],
            r["type"],
            r.get("expression", ""),
            r.get("target", []),
            [[c["definition"], c["expression"]] for c in r.get("component", ())],
        ]
        for r in package["SearchParameter"]
        if "base" in r and r["url"] not in EXAMPLES
    ]


def compartments(package: Package) -> dict[str, dict[str, list[str]]]:
    """Return compartment -> type -> codes of the search parameters that link it."""
    return {
        r["code"]: {x["code"]: x["param"] for x in r["resource"] if x.get("param")}
        for r in package["CompartmentDefinition"]
        if r["url"] == f"http://hl7.org/fhir/CompartmentDefinition/{r['code'][0].lower()}{r['code'][1:]}"
        and r["code"] in COMPARTMENTS
    }


def compile_package(package: Package) -> bytes:
    """Return the bytes of r4.bin: zlib over msgpack, each structure and code set packed by itself."""
    pack = msgspec.msgpack.encode
    structures = dict(Structures(package["StructureDefinition"]).rows())
    terminology = Terminology(package)
    required = {e[5] for s in structures.values() for e in s[4].values() if e[6] == "required"}
    codes = {}
    for url in sorted(required):
        by_system: dict[str, list[str]] = {}
        pairs = terminology.expand(url)
        for system, code in sorted(pairs or ()):
            by_system.setdefault(system, []).append(code)
        codes[url] = pack(by_system if pairs is not None else None)
    found = {
        "version": "4.0.1",
        "structures": {name: pack(row) for name, row in structures.items()},
        "resources": [n for n, s in structures.items() if s[1] == "resource" and not s[3]],
        "codes": codes,
        "parameters": pack(search_parameters(package)),
        "compartments": pack(compartments(package)),
    }
    return zlib.compress(pack(found), 9)


def main() -> int:
    """Write the files and say how large they came out."""
    parser = argparse.ArgumentParser(prog="python -m tools.definitions", description=__doc__)
    parser.add_argument("--package", type=Path, help="the .tgz of the package; without it, npm fetches it")
    parser.add_argument("--expansions", type=Path, help="the same of HL7's expansions of R4's value sets")
    parser.add_argument("--examples", action="store_true", help="write the examples for the tests too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.package or fetch(Path(folder))
        package = read_package(path)
        expansions = read_package(given.expansions or fetch(Path(folder), EXPANSIONS))["ValueSet"]
        by_url = {r["url"]: r for r in expansions if "expansion" in r}
        made = {
            TARGET: compile_package(package),
            TERMINOLOGY: compile_terminology(package, by_url),
            DIGESTS: digests(by_url),
        }
        if given.examples:
            made[SAMPLES] = examples(path)
    for target, data in made.items():
        target.write_bytes(data)
        print(f"{target}: {len(data):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
