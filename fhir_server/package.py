"""FHIR packages (`.tgz`, as npm and the FHIR registries hold them): what is in them, and under which id it is kept.

Source: https://hl7.org/fhir/packages.html and https://confluence.hl7.org/display/FHIR/NPM+Package+Specification
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import FhirError
from fhir_server.interface import Writing
from fhir_server.model import Resource
from fhir_server.sources import members_of

KIND: Final = "fhir-package"  # record: one for each package loaded, key name#version
MOST_BYTES: Final = 268_435_456  # of one file in a package
DEFINITIONS: Final = frozenset(
    [
        "CapabilityStatement",
        "CodeSystem",
        "CompartmentDefinition",
        "ConceptMap",
        "GraphDefinition",
        "ImplementationGuide",
        "MessageDefinition",
        "NamingSystem",
        "OperationDefinition",
        "SearchParameter",
        "StructureDefinition",
        "StructureMap",
        "TerminologyCapabilities",
        "ValueSet",
    ]
)
"""What is loaded of a package unless more is asked for: https://hl7.org/fhir/R4/conformance-module.html"""
HERE: Final = frozenset(["hl7.fhir.r4.core", "hl7.fhir.r4.expansions", "hl7.fhir.r4.examples"])
"""Packages whose definitions the hub has in itself."""

_MANIFEST: Final = "package/package.json"
_definition = re.compile(r"package/[^/]+\.json").fullmatch
_example = re.compile(r"package/examples?/[^/]+\.json").fullmatch
_id = re.compile(r"[A-Za-z0-9\-.]{1,64}").fullmatch
_APART: Final = frozenset(["package.json", ".index.json", "ig-r4.json"])  # the last is the publisher's own copy


class BadPackage(Exception):
    """The package cannot be loaded here; the text says why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """package.json."""

    name: str
    version: str
    dependencies: Mapping[str, str] = field(default_factory=dict)  # name -> version

    @property
    def key(self) -> str:
        """`name#version`."""
        return f"{self.name}#{self.version}"


def read_manifest(path: Path) -> Manifest | None:
    """Return what a `.tgz` says of itself; None where it is no FHIR package.

    Raises:
        BadPackage: Its package.json cannot be read, or it is for another release than R4.
    """
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if member.name == _MANIFEST and member.isfile():
                return _manifest(_read(archive, member))
    return None


def _manifest(body: bytes) -> Manifest:
    try:
        given = gate.parse(body)
    except FhirError:
        raise BadPackage("its package.json cannot be read") from None
    if given.__class__ is not dict or not (_is_text(given.get("name")) and _is_text(given.get("version"))):
        raise BadPackage("its package.json has no name or version")
    releases = given.get("fhirVersions") or given.get("fhir-version-list") or []
    if releases.__class__ is list and releases and not any(str(r).startswith("4.0") for r in releases):
        raise BadPackage(f"it is for FHIR {', '.join(str(r)[:10] for r in releases[:3])}, not for R4 (4.0.1)")
    needed = given.get("dependencies")
    pairs = needed.items() if needed.__class__ is dict else ()
    return Manifest(given["name"], given["version"], {str(name): str(version) for name, version in pairs})


def _is_text(value: Any) -> bool:
    return value.__class__ is str and 0 < len(value) <= 200


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MOST_BYTES:
        raise BadPackage("a file in it is larger than 256 MiB")
    stream = archive.extractfile(member)
    return stream.read() if stream is not None else b""


@dataclass(slots=True)
class Contents:
    """The resources of a package that are to be loaded, and how many are left out by type."""

    path: Path
    everything: bool  # also what is no definition, and the examples
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def rest(self) -> str:
        """What is left out, in words; "" for nothing."""
        examples, others = self.left_out["example"], self.left_out.total() - self.left_out["example"]
        words = [f"{examples} examples"] * bool(examples) + [f"{others} that are no definitions"] * bool(others)
        return f"; left out: {', '.join(words)}" if words else ""

    def resources(self) -> Iterator[tuple[str, Resource | FhirError]]:
        """Yield the name of each file with its resource, or with why it cannot be read.

        Raises:
            BadPackage: A file in it is too large.
            Exception: One of `sources.UNREADABLE`: the package is damaged.
        """
        for archive, member in members_of(self.path):
            name = member.name.rpartition("/")[2]
            if name in _APART:
                continue
            if _example(member.name) and not self.everything:
                self.left_out["example"] += 1
            elif _definition(member.name) or _example(member.name):
                yield from self._one(name, _read(archive, member))

    def _one(self, name: str, body: bytes) -> Iterator[tuple[str, Resource | FhirError]]:
        try:
            resource = gate.parse_resource(body)
        except FhirError as error:
            yield name, error
            return
        if self.everything or resource["resourceType"] in DEFINITIONS:
            yield name, resource
        else:
            self.left_out[str(resource["resourceType"])] += 1


class Ids:
    """Gives each resource of packages the id it is kept under.

    A resource keeps its id, unless another canonical, or another version of it, has the id already: then its
    id ends in a part of its canonical's hash, so that both stay and loading again changes nothing.

    Args:
        read: Returns the stored resource of a type and id, or None.
    """

    def __init__(self, read: Callable[[str, str], Awaitable[Resource | None]]) -> None:
        self._read = read
        self._given: dict[tuple[str, str], str] = {}  # of this load: what has the id

    async def settled(self, resource: Resource) -> Resource:
        """Return the resource with the id it is kept under."""
        type, id, own = str(resource["resourceType"]), resource.get("id"), _canonical(resource)
        if id.__class__ is not str or not _id(id):
            id = _marked("", own or gate.write(resource).decode())
        elif own and await self._holder(type, id) not in ("", own):
            id = _marked(id, own)
        self._given[type, id] = own
        return resource if resource.get("id") == id else {**resource, "id": id}

    async def _holder(self, type: str, id: str) -> str:
        if (type, id) not in self._given:
            stored = await self._read(type, id)
            self._given[type, id] = _canonical(stored) if stored is not None else ""
        return self._given[type, id]


def _canonical(resource: Resource) -> str:
    url = resource.get("url")
    return f"{url}|{resource.get('version', '')}" if url.__class__ is str else ""


def _marked(id: str, text: str) -> str:
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{id[:47]}-{mark}" if id else mark


def missing(manifest: Manifest, loaded: set[str]) -> list[str]:
    """Return the dependencies, as name#version, of which nothing that fits was loaded."""
    return [
        f"{name}#{version}"
        for name, version in sorted(manifest.dependencies.items())
        if name not in HERE and not any(_fits(key, name, version) for key in loaded)
    ]


def _fits(key: str, name: str, version: str) -> bool:
    """Whether a loaded package is the one needed; `2.1.x` is any 2.1, `current` and `dev` are any."""
    own, _, number = key.partition("#")
    if own != name:
        return False
    wanted = version.partition(".x")[0] if ".x" in version else ""
    return number == version or version in ("current", "dev", "latest") or bool(wanted and number.startswith(wanted))


async def loaded(writing: Writing) -> set[str]:
    """Return the packages that were loaded, as name#version."""
    found: set[str] = set()
    after = 0
    while records := await writing.records(KIND, after=after):
        found |= {record.key for record in records}
        after = records[-1].seq
    return found


async def remember(writing: Writing, manifest: Manifest) -> None:
    """Note that a package was loaded."""
    await writing.put_record(KIND, manifest.key, "loaded", gate.write(dict(manifest.dependencies)))
