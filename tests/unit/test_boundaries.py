"""The arrows between rooms, read from the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("adapters.hl7", "adapters.devices", "adapters.dmp", "triage_hooks", "consent")
ALONE = ("conformance", "bench")
PARTS = ("validation", "extraction", "store", "triage")  # of bench
OURS = ("fhir_server", "adapters", "triage_hooks", "consent", "conformance", "bench", "tests", "tools")
DOOR = ("fhir_server.interface", "fhir_server.model", "fhir_server.errors", "fhir_server.gate", "fhir_server.pages")

# Third-party names and the only places that may import them.
FENCES = {
    "fhir": ("adapters",),
    "hl7apy": ("adapters/hl7/grammar.py", "adapters/hl7/strict.py"),
    "joserfc": ("fhir_server/security/tokens.py",),
    "authlib": ("fhir_server/security",),
    "apsw": ("fhir_server/store/sqlite", "fhir_server/doctor.py", "bench"),
    "pymongo": ("fhir_server/store/mongo",),
    "bson": ("fhir_server/store/mongo",),
    "paho": ("adapters/devices/mqtt.py",),
    "uvicorn": ("fhir_server/serve.py", "fhir_server/http/protocol.py", "fhir_server/http/cycle.py", "bench"),
    "httpx": ("fhir_server/subscriptions", "fhir_server/demonstration", "conformance"),
}
# Inside the core: what the left folder may never import.
CORE = {
    "fhir_server.errors": ("fhir_server",),
    "fhir_server.store": ("fhir_server.http", "fhir_server.interactions", "fhir_server.interface"),
    "fhir_server.search": (
        "fhir_server.http",
        "fhir_server.interactions",
        "fhir_server.store",
        "fhir_server.interface",
    ),
    "fhir_server.fhirpath": ("fhir_server.http", "fhir_server.interactions", "fhir_server.store", "fhir_server.search"),
    "fhir_server.profiles": ("fhir_server.http", "fhir_server.interactions", "fhir_server.app", "fhir_server.settings"),
    "fhir_server.interactions": ("fhir_server.http", "fhir_server.app", "fhir_server.settings"),
}


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(package: str) -> list[Path]:
    """Return the source files of a package."""
    found = sorted((ROOT / package.replace(".", "/")).rglob("*.py"))
    return found or [ROOT / (package.replace(".", "/") + ".py")]


def under(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_the_door_and_itself_only(room: str) -> None:
    allowed = (*DOOR, room)
    breaches = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files(room)
        for name in imports(path)
        if under(name, OURS) and not under(name, allowed) and not opens_a_hub_for_a_command(path, name)
    ]
    assert breaches == []


def opens_a_hub_for_a_command(path: Path, name: str) -> bool:
    """Commands of rooms open the hub through the composition root; nothing else may."""
    return path.stem in ("command", "commands", "cli") and under(
        name, ("fhir_server.app", "fhir_server.cli", "fhir_server.settings")
    )


@pytest.mark.parametrize("package", ALONE)
def test_what_looks_from_outside_imports_nothing_of_ours(package: str) -> None:
    def fine(path: Path, name: str) -> bool:
        # bench/validation, extraction, store and triage measure one part against its peer, in one process
        return under(name, (package,)) or (package == "bench" and path.stem in PARTS)

    breaches = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files(package)
        for name in imports(path)
        if under(name, OURS) and not fine(path, name)
    ]
    assert breaches == []


def test_the_core_imports_no_room() -> None:
    breaches = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files("fhir_server")
        for name in imports(path)
        if under(name, OURS) and not under(name, ("fhir_server",))
    ]
    assert breaches == []


@pytest.mark.parametrize("package", sorted(CORE))
def test_arrows_inside_the_core_point_one_way(package: str) -> None:
    forbidden = CORE[package]
    breaches = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files(package)
        for name in imports(path)
        if under(name, forbidden) and not under(name, (package,))
        # the door names values of the store's contract nowhere, so the store may name none of the door's
    ]
    assert breaches == []


@pytest.mark.parametrize("library", sorted(FENCES))
def test_a_fenced_library_is_imported_behind_its_fence_only(library: str) -> None:
    sources = [path for package in OURS[:6] for path in files(package)]
    breaches = [
        str(path.relative_to(ROOT))
        for path in sources
        if any(under(name, (library,)) for name in imports(path))
        and not str(path.relative_to(ROOT)).startswith(FENCES[library])
    ]
    assert [b for b in breaches if not b.startswith("bench/")] == []


def test_the_check_itself_finds_a_breach(tmp_path: Path) -> None:
    source = tmp_path / "bad.py"
    source.write_text("from consent.decide import decide\nimport adapters.hl7\n")
    assert [name for name in imports(source) if under(name, OURS)] == ["consent.decide.decide", "adapters.hl7"]
