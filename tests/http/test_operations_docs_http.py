"""The curl lines of docs/reference/operations.md, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.http.record import concept, vital
from tests.running import PATIENCE_S, RunningHub

pytestmark = pytest.mark.every_store

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/operations.md"
LINES = re.findall(r"^curl .*$", PAGE.read_text("utf-8").partition("## Records")[2].partition("\n## ")[0], re.MULTILINE)


def test_each_line_answers(hub: RunningHub) -> None:
    about = {"subject": {"reference": "Patient/p1"}}
    visit = {"status": "finished", "class": {"code": "AMB"}, **about}
    text = {"status": "final", "type": concept("11503-0"), "date": "2026", "title": "T", **about}
    for resource in (
        {"resourceType": "Patient", "id": "p1", "name": [{"family": "A", "given": ["B"]}]},
        {"resourceType": "Encounter", "id": "e1", **visit},
        {"resourceType": "Composition", "id": "c1", "author": [{"reference": "Patient/p1"}], **text},
        {"id": "o1", **vital("Patient/p1", "8867-4", 60, "2026-01-01")},
    ):
        assert hub.request("PUT", f"/fhir/{resource['resourceType']}/{resource['id']}", json=resource).status_code < 300
    variables = {"FHIR": f"http://127.0.0.1:{hub.port}/fhir", "AUTH": f"Authorization: Bearer {hub.operator}"}
    assert len(LINES) == 13
    for line in LINES:
        done = subprocess.run(
            ["bash", "-c", line.replace("curl ", "curl -gsSf --noproxy '*' ", 1)],
            capture_output=True,
            text=True,
            env={**os.environ, **variables},
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, (line, done.stderr)
        assert "errors" not in done.stdout, (line, done.stdout)


@pytest.mark.parametrize("name", ["everything", "lastn", "stats", "graphql", "meta", "meta-add", "meta-delete", "document", "summary", "convert"])  # fmt: skip
def test_the_capability_statement_names_the_definition(hub: RunningHub, name: str) -> None:
    rest = hub.request("GET", "/fhir/metadata", token=None).json()["rest"][0]
    every = [*rest.get("operation", []), *(o for r in rest["resource"] for o in r.get("operation", []))]
    found = {operation["definition"] for operation in every if operation["name"] == name}
    assert found and all(url.startswith("http://hl7.org/fhir/") for url in found)
