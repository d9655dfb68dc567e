"""Chains, `_has` and sorts over many references, on every store."""

from __future__ import annotations

import uuid

import pytest

from tests.running import RunningHub

pytestmark = pytest.mark.every_store

MARK = str(uuid.uuid4())
STEPS = 10


@pytest.fixture(scope="module")
def places(hub: RunningHub) -> list[str]:
    """Ids of organizations, each a part of the one before it."""
    made: list[str] = []
    tag = {"tag": [{"system": "urn:mark", "code": MARK}]}
    for number in range(STEPS + 1):
        above = {"partOf": {"reference": f"Organization/{made[-1]}"}} if made else {}
        one = {"resourceType": "Organization", "meta": tag, "name": f"Etage {number:02}", **above}
        made.append(hub.create(one)["id"])
    return made


@pytest.mark.parametrize("steps", [1, 4, 5, 9, STEPS])
def test_a_chain_goes_on_for_ten_references(hub: RunningHub, places: list[str], steps: int) -> None:
    found = hub.search(f"Organization?_tag={MARK}&{'partof.' * steps}name=Etage 00")
    assert [entry["resource"]["id"] for entry in found["entry"]] == [places[steps]]


@pytest.mark.parametrize("steps", [1, 3, 4, 6])
def test__has_stands_in__has_six_times(hub: RunningHub, places: list[str], steps: int) -> None:
    found = hub.search(f"Organization?_tag={MARK}&{'_has:Organization:partof:' * steps}name=Etage {STEPS}")
    assert [entry["resource"]["id"] for entry in found["entry"]] == [places[STEPS - steps]]


def test_a_sort_follows_nine_references(hub: RunningHub, places: list[str]) -> None:
    found = hub.search(f"Organization?_tag={MARK}&_sort=-{'partof.' * 9}name&_count=2")
    assert [entry["resource"]["id"] for entry in found["entry"]] == [places[STEPS], places[9]]


def test_what_stands_in_a_circle_ends(hub: RunningHub) -> None:
    tag = {"tag": [{"system": "urn:mark", "code": f"{MARK}-round"}]}
    one = hub.create({"resourceType": "Organization", "meta": tag, "name": "Un"})
    two = hub.create(
        {
            "resourceType": "Organization",
            "meta": tag,
            "name": "Deux",
            "partOf": {"reference": f"Organization/{one['id']}"},
        }
    )
    one["partOf"] = {"reference": f"Organization/{two['id']}"}
    assert hub.request("PUT", f"/fhir/Organization/{one['id']}", json=one).status_code == 200
    found = hub.search(f"Organization?_tag={MARK}-round&{'partof.' * STEPS}name=Un")
    assert [entry["resource"]["id"] for entry in found["entry"]] == [one["id"]]
