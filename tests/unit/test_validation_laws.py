"""Laws of the validator: it never raises, never changes what it reads, and does not depend on what it saw before."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.definitions import properties, resource_types, structure
from fhir_server.errors import Issue
from fhir_server.validation import validate
from tests.conformance import examples, mutation

_NAMES = st.sampled_from(
    ["id", "meta", "extension", "url", "valueString", "_status", "status", "contained", "text", "x"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_NAMES, below, max_size=4),
    max_leaves=15,
)


@given(_JSON)
def test_any_json_gives_issues_and_no_exception(value: Any) -> None:
    assert all(isinstance(issue, Issue) for issue in validate(value))


@given(st.sampled_from(sorted(resource_types())), st.data())
def test_any_values_in_the_elements_of_a_type_give_issues_and_no_exception(type: str, data: st.DataObject) -> None:
    keys = st.sampled_from(sorted(properties(type)))
    resource = {"resourceType": type, **data.draw(st.dictionaries(keys, _JSON, max_size=4))}
    assert all(issue.expression.startswith(type) for issue in validate(resource)[:100])


@pytest.mark.parametrize("seed", range(8))
def test_a_resource_changed_several_times_is_judged_the_same_again_and_left_as_it_was(seed: int) -> None:
    random = Random(seed)
    files = sorted(examples.bodies())
    for _ in range(50):
        resource = examples.resource(random.choice(files))
        for _ in range(random.randint(1, 3)):
            resource = mutation.mutated(resource, random.choice(["type changed", "code changed"]), random.random())
        before = deepcopy(resource)
        first = validate(resource)
        assert validate(resource) == first
        assert resource == before


@pytest.mark.parametrize("file", ["Observation-blood-pressure.json", "Claim-100150.json", "Bundle"])
def test_the_order_of_keys_does_not_matter(file: str) -> None:
    resource = examples.resource(file) if file != "Bundle" else {"resourceType": "Bundle", "type": "x", "entry": [{}]}

    def reversed_keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reversed_keys(item) for key, item in reversed(list(value.items()))}
        return [reversed_keys(item) for item in value] if isinstance(value, list) else value

    assert sorted(validate(reversed_keys(resource))) == sorted(validate(resource))


@pytest.mark.parametrize("type", sorted(resource_types()))
def test_each_required_element_of_a_type_is_missed(type: str) -> None:
    required = {f"{type}.{name}" for name, element in structure(type).elements.items() if element.min}
    found = {issue.expression for issue in validate({"resourceType": type}) if issue.code == "required"}
    assert found == required


def test_what_the_gate_reads_keeps_its_digits_through_the_validator() -> None:
    body = b'{"resourceType":"Basic","code":{"text":"x"},"extension":[{"url":"http://x","valueDecimal":1.10}]}'
    resource = gate.parse_resource(body)
    assert validate(resource) == []
    assert resource["extension"][0]["valueDecimal"] == Decimal("1.10")
    assert gate.write(resource) == body
