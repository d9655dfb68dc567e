"""What includes add to a page: each resource once, nothing hidden, and a word where something was cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fhir_server import gate
from fhir_server.interactions import includes
from fhir_server.interactions.searching import Results, search
from fhir_server.model import EVERYTHING, Version, Visibility
from fhir_server.search import parameters
from fhir_server.search.extract import index
from fhir_server.search.parse import parse
from fhir_server.store.memory import MemoryStore
from fhir_server.store.protocol import Transaction, Write

NOW = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z
FORM = "http://forms.example/Questionnaire/pain"


def form(id: str, version: str) -> dict[str, Any]:
    return {"resourceType": "Questionnaire", "id": id, "url": FORM, "version": version, "status": "active"}


RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Organization", "id": "top", "name": "T"},
    {"resourceType": "Organization", "id": "mid", "partOf": {"reference": "Organization/top"}},
    {"resourceType": "Organization", "id": "round", "partOf": {"reference": "Organization/round"}},
    {"resourceType": "Patient", "id": "a", "managingOrganization": {"reference": "Organization/mid"}},
    {"resourceType": "Patient", "id": "b", "managingOrganization": {"reference": "Organization/mid"}},
    *(
        {"resourceType": "Condition", "id": f"c{n}", "subject": {"reference": "Patient/a"}, "recordedDate": f"2026-01-0{n}"}
        for n in range(1, 6)
    ),
    {"resourceType": "Condition", "id": "lost", "subject": {"reference": "Patient/nobody"}},
    form("one", "1"),
    form("two", "2"),
    {"resourceType": "QuestionnaireResponse", "id": "any", "status": "completed", "questionnaire": FORM},
    {"resourceType": "QuestionnaireResponse", "id": "old", "status": "completed", "questionnaire": f"{FORM}|1"},
    {"resourceType": "Provenance", "id": "p1", "target": [{"reference": "Patient/a/_history/1"}]},
    {"resourceType": "Provenance", "id": "p9", "target": [{"reference": "Patient/a/_history/9"}]},
]  # fmt: skip


async def run(query: str, see: Visibility = EVERYTHING) -> Results:
    store = MemoryStore(index=index, clock=lambda: NOW)
    await store.open()

    async def work(tx: Transaction) -> None:
        for one in RESOURCES:
            await tx.put(Write(one["resourceType"], one["id"], 1, NOW, "PUT", gate.write(one), index(one)))
        again = {**RESOURCES[3], "gender": "other"}
        await tx.put(Write("Patient", "a", 2, NOW + 1, "PUT", gate.write(again), index(again)))

    await store.transact("north", work)
    type, _, text = query.partition("?")
    pairs = [tuple(part.split("=", 1)) for part in text.split("&")]
    asked = parse((type,), pairs, zone="UTC", now=NOW)  # type: ignore[arg-type]
    async with store.view("north") as view:
        return await search(view, asked, see, index, parameters)


def names(found: Sequence[Version]) -> list[str]:
    return sorted(f"{version.id}/{version.version}" for version in found)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("Patient?_include=Patient:organization", ["mid/1"], id="what two matches refer to comes once"),
        pytest.param("Patient?_id=a&_include:iterate=Patient:organization&_include:iterate=Organization:partof", ["mid/1", "top/1"], id="on and on"),
        pytest.param("Organization?_id=round&_include:iterate=Organization:partof", [], id="a circle ends, and a match is no include"),
        pytest.param("Condition?_id=lost&_include=Condition:subject", [], id="a reference to nothing"),
        pytest.param("Condition?_id=c1&_include=Condition:subject:Group", [], id="another type than asked for"),
        pytest.param("QuestionnaireResponse?_id=any&_include=QuestionnaireResponse:questionnaire", ["one/1", "two/1"], id="a canonical without version"),
        pytest.param("QuestionnaireResponse?_id=old&_include=*", ["one/1"], id="a canonical with its version"),
        pytest.param("Questionnaire?_id=two&_revinclude=QuestionnaireResponse:questionnaire", ["any/1"], id="what refers to a url, of this version or of none"),
        pytest.param("Provenance?_id=p1&_include=Provenance:target", ["a/1"], id="the version referred to, not the current one"),
        pytest.param("Provenance?_id=p9&_include=Provenance:target", [], id="a version that is not there"),
        pytest.param("Patient?_id=a&_revinclude=Condition:patient&_revinclude=Condition:subject", [f"c{n}/1" for n in range(1, 6)], id="by two ways once"),
    ],
)  # fmt: skip
async def test_includes_add(query: str, expected: list[str]) -> None:
    found = await run(query)
    assert (names(found.included), found.cut) == (expected, False)


async def test_nothing_hidden_is_included() -> None:
    see = Visibility(frozenset({"b"}))
    found = await run(
        "Organization?_id=mid&_revinclude=Patient:organization&_revinclude:iterate=Condition:patient", see
    )
    assert names(found.included) == ["b/1"]


@pytest.mark.parametrize("query", ["Patient?_id=a&_revinclude=Condition:patient", "Patient?_include=*&_revinclude=*"])
async def test_what_is_cut_is_said(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(includes, "MOST_INCLUDED", 1)
    found = await run(query)
    assert (len(found.included), found.cut) == (1, True)
