"""The documentation says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.reference import commands_page, settings_page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def test_every_setting_is_documented() -> None:
    assert (DOCS / "reference" / "settings.md").read_text("utf-8") == settings_page(), "run python -m tools.reference"


def test_every_command_is_documented() -> None:
    assert (DOCS / "reference" / "commands.md").read_text("utf-8") == commands_page(), "run python -m tools.reference"


def test_every_dependency_has_its_line() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    listed = project.partition("dependencies = [")[2].partition("]")[0]
    names = re.findall(r'"([A-Za-z0-9.\-]+)>=', listed)
    page = (DOCS / "why" / "dependencies.md").read_text("utf-8").lower()
    assert names
    assert [name for name in names if name.lower() not in page] == []


@pytest.mark.parametrize(
    "page", sorted(p.relative_to(ROOT).as_posix() for p in [ROOT / "README.md", *DOCS.rglob("*.md")])
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    source = ROOT / page
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", source.read_text("utf-8")):
        assert (source.parent / target).exists(), target


@pytest.mark.parametrize(
    "room",
    ["fhir_server", "fhir_server/definitions", "fhir_server/validation", "fhir_server/fhirpath", "fhir_server/ucum", "fhir_server/indexing", "fhir_server/search",
     "fhir_server/store", "fhir_server/terminology", "fhir_server/interactions", "fhir_server/http", "fhir_server/security",
     "fhir_server/subscriptions", "fhir_server/pages", "fhir_server/profiles", "fhir_server/xmlformat", "fhir_server/patch", "fhir_server/jobs", "fhir_server/bulk", "fhir_server/graphql", "fhir_server/operations", "fhir_server/identity", "adapters", "adapters/hl7", "adapters/devices", "adapters/dmp",
     "triage_hooks", "consent", "conformance", "bench", "tests", "tools"],
)  # fmt: skip
def test_every_room_says_what_it_is_for(room: str) -> None:
    assert len((ROOT / room / "README.md").read_text("utf-8")) > 200
