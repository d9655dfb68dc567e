"""`$diff`: the patch it gives, applied to the first resource, gives the second, to the last digit."""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.errors import Unprocessable
from fhir_server.operations.differences import difference, sorted_bytes
from fhir_server.patch import fhirpath_patch
from tests.conformance.examples import bodies

Resource = dict[str, Any]
MOST = 20_000  # bytes of an example


@cache
def by_type() -> dict[str, list[Resource]]:
    found: dict[str, list[Resource]] = defaultdict(list)
    for body in bodies().values():
        resource = gate.parse_resource(body)
        # ExampleScenario.instance.resourceType is an element that JSON cannot tell from the type of a resource.
        if len(body) < MOST and resource["resourceType"] != "ExampleScenario":
            found[resource["resourceType"]].append(resource)
    return {type: found[type] for type in sorted(found)}


def check(before: Resource, after: Resource) -> Resource:
    patch = difference(before, after)
    made = fhirpath_patch.apply(before, gate.parse_resource(gate.write(patch)))
    wanted = {name: value for name, value in after.items() if name not in ("id", "meta")}
    assert sorted_bytes({n: v for n, v in made.items() if n not in ("id", "meta")}) == sorted_bytes(wanted)
    return patch


def mutated(value: Any, random: random.Random) -> Any:
    """Return a copy with a few elements dropped, doubled or moved."""
    if isinstance(value, list):
        items = [mutated(item, random) for item in value]
        match random.random():
            case x if x < 0.1 and len(items) > 1:
                items.pop(random.randrange(len(items)))
            case x if x < 0.2:
                items.insert(random.randrange(len(items) + 1), copy.deepcopy(random.choice(items)))
            case x if x < 0.3:
                random.shuffle(items)
        return items
    if isinstance(value, dict):
        fixed = {name: item for name, item in value.items() if name in ("resourceType", "id", "meta")}
        free = {name: item for name, item in value.items() if name not in fixed and not name.startswith("_")}
        return fixed | {name: mutated(item, random) for name, item in free.items() if random.random() > 0.08} or value
    if isinstance(value, str) and random.random() < 0.1:
        return value + "x"
    return value


@settings(max_examples=120, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_changed_example_is_reached(random: random.Random) -> None:
    before = random.choice(random.choice(list(by_type().values())))
    after = mutated(before, random)
    check(before, after)


@settings(max_examples=80, deadline=None)
@given(st.randoms(use_true_random=False))
def test_another_example_is_reached(random: random.Random) -> None:
    every = random.choice([found for found in by_type().values() if len(found) > 1])
    check(*random.sample(every, 2))


PATIENT: Resource = {
    "resourceType": "Patient",
    "id": "a",
    "meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00Z", "tag": [{"system": "s", "code": "a"}]},
    "name": [{"family": "A", "given": ["X", "Y"]}, {"family": "B"}],
    "birthDate": "1951-04-23",
    "active": True,
}


@pytest.mark.parametrize(
    ("change", "operations"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"birthDate": "1951-04-24"}, ["replace Patient.birthDate"], id="a value"),
        pytest.param({"gender": "female"}, ["add Patient"], id="a new element"),
        pytest.param({"active": None}, ["delete Patient.active"], id="an element less"),
        pytest.param({"name": [{"family": "B"}]}, ["delete Patient.name[0]"], id="the first of a list less"),
        pytest.param({"name": [*PATIENT["name"], {"family": "C"}]}, ["insert Patient.name"], id="one more at the end"),
        pytest.param({"name": [{"family": "A", "given": ["X", "Z"]}, {"family": "B"}]}, ["replace Patient.name[0].given[1]"], id="a value deep inside"),
        pytest.param({"_birthDate": {"extension": [{"url": "http://x", "valueString": "y"}]}}, ["replace Patient.birthDate"], id="an extension of a value"),
        pytest.param({"deceasedBoolean": False}, ["add Patient"], id="a choice"),
        pytest.param({"meta": {"versionId": "9", "lastUpdated": "2026-02-01T00:00:00Z"}}, ["delete Patient.meta.tag[0]"], id="a tag less, whatever the version"),
        pytest.param({"id": "b"}, [], id="another id"),
        pytest.param({"contact": [{"name": {"text": "x"}, "gender": "male"}]}, ["add Patient"], id="a part without a type of its own"),
        pytest.param({"contained": [{"resourceType": "Organization", "id": "o", "name": "x"}]}, ["add Patient"], id="a contained resource"),
        pytest.param({"text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}}, ["add Patient"], id="a narrative"),
    ],
)  # fmt: skip
def test_changes_are_told_as_small_as_they_are(change: Resource, operations: list[str]) -> None:
    after = {name: value for name, value in (PATIENT | change).items() if value is not None}
    patch = check(PATIENT, after)
    parts = [{p["name"]: p for p in o["part"]} for o in patch.get("parameter", ())]
    assert [f"{p['type']['valueCode']} {p['path']['valueString']}" for p in parts] == operations


def test_digits_count() -> None:
    one, other = (
        gate.parse_resource(b'{"resourceType":"Observation","valueQuantity":{"value":%s}}' % text)
        for text in (b"1.0", b"1.00")
    )
    assert [part["path"] for part in [{p["name"]: p.get("valueString") for p in o["part"]} for o in difference(one, other)["parameter"]]] == ["Observation.value.value"]  # fmt: skip


def test_other_types_have_no_difference() -> None:
    with pytest.raises(Unprocessable):
        difference(PATIENT, {"resourceType": "Group"})
