"""The straight ways give what the complete engine gives, for every invariant and search expression of R4."""

from __future__ import annotations

import lzma
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server import gate
from fhir_server.definitions import structure, structure_names
from fhir_server.fhirpath import EvaluationError, compile
from fhir_server.fhirpath.nodes import Node, children, node
from fhir_server.fhirpath.parser import parse
from fhir_server.fhirpath.straight import USUAL, straight
from fhir_server.search.parameters import parameters_of

EXAMPLES = Path(__file__).parents[1] / "data" / "examples.jsonl.xz"
ENOUGH = 20  # elements that one expression is compared on
ELSEWHERE = "hasValue() or (children().count() > id.count())"  # ele-1, on every element: no straight way, and slow


def elements(resource: dict[str, Any]) -> Iterator[Node]:
    todo = [node(resource)]
    while todo:
        item = todo.pop()
        todo += children(item)
        if isinstance(item.value, dict):
            yield item


def questions(resource: dict[str, Any]) -> Iterator[tuple[str, Node]]:
    """Every invariant on every element, every search expression on the resource."""
    for parameter in parameters_of(resource["resourceType"]).values():
        yield parameter.expression, node(resource)
    for element in elements(resource):
        if element.type in structure_names():
            for constraint in structure(element.type).constraints:
                if constraint.expression != ELSEWHERE:
                    yield constraint.expression, element


def complete(expression: str, element: Node, resource: dict[str, Any]) -> list[Any] | None:
    try:
        return compile(expression, element.type)._complete(element.value, resource, resource, None)
    except EvaluationError:
        return None


def test_all_examples_give_the_same_straight_and_complete() -> None:
    compared: Counter[tuple[str, str]] = Counter()
    with lzma.open(EXAMPLES) as lines:
        for line in lines:
            resource = gate.load(line)["resource"]
            for expression, element in questions(resource):
                if compared[expression, element.type] >= ENOUGH:
                    continue
                walk = compile(expression, element.type)._find_walk(element.value)
                if walk is None:
                    continue
                try:
                    found = walk(element.value)
                except USUAL:
                    continue
                compared[expression, element.type] += 1
                assert found == complete(expression, element, resource), (expression, resource["resourceType"])
    assert len(compared) > 2_000


@pytest.mark.parametrize(
    ("expression", "type", "value", "found"),
    [
        pytest.param("name.family", "Patient", {"name": [{"family": "A"}, {"given": ["B"]}]}, ["A"], id="a list"),
        pytest.param("name.given", "Patient", {"name": [{"given": ["A", "B"]}]}, ["A", "B"], id="a list in a list"),
        pytest.param("value", "Observation", {"valueString": "a"}, ["a"], id="a choice"),
        pytest.param("value is string", "Observation", {"valueString": "a"}, [True], id="the type of a choice"),
        pytest.param("value is string", "Observation", {}, [], id="the type of nothing"),
        pytest.param("component.value as Quantity", "Observation", {"component": [{"valueQuantity": {"value": 1}}]},
                     [{"value": 1}], id="a cast in a list"),
        pytest.param("active and deceased.empty()", "Patient", {}, [], id="nothing and true"),
        pytest.param("active and deceased.exists()", "Patient", {}, [False], id="nothing and false"),
        pytest.param("active or deceased.empty()", "Patient", {}, [True], id="nothing or true"),
        pytest.param("active implies deceased.exists()", "Patient", {"active": True}, [False], id="true implies false"),
        pytest.param("status in ('a' | 'b')", "Observation", {"status": "b"}, [True], id="one of several"),
        pytest.param("status != 'a'", "Observation", {}, [], id="nothing is not unequal"),
        pytest.param("name.all(family.exists())", "Patient", {"name": [{"family": "A"}, {}]}, [False], id="all"),
        pytest.param("name.exists(family = 'A')", "Patient", {"name": [{"family": "A"}]}, [True], id="some"),
        pytest.param("name.count() > 1", "Patient", {"name": [{}, {}]}, [True], id="a count"),
        pytest.param("value > 0", "Quantity", {"value": 1}, [True], id="a number"),
    ],
)  # fmt: skip
def test_straight_ways(expression: str, type: str, value: dict[str, Any], found: list[Any]) -> None:
    walk = straight(parse(expression), type)
    assert walk is not None
    assert walk(value) == found


@pytest.mark.parametrize(
    ("expression", "value", "found"),
    [
        pytest.param("gender.exists()", {"_gender": {"id": "a"}}, [True], id="a primitive without a value"),
        pytest.param("name.given", {"name": [{"given": [None, "B"], "_given": [{"id": "a"}, None]}]}, ["B"], id="a gap"),
        pytest.param("name.family", {"name": {"family": "A"}}, ["A"], id="an object where a list is expected"),
        pytest.param("contained.id", {"contained": [{"resourceType": "Group", "id": "g"}]}, ["g"], id="contained"),
        pytest.param("generalPractitioner.where(resolve() is Group)",
                     {"contained": [{"resourceType": "Group", "id": "g"}], "generalPractitioner": [{"reference": "#g"}]},
                     [{"reference": "#g"}], id="a reference to a contained resource"),
        pytest.param("name.where(family = 'text')", {"name": "text"}, [], id="a text where an object is expected"),
    ],
)  # fmt: skip
def test_unusual_input_is_left_to_the_complete_engine(expression: str, value: dict[str, Any], found: list[Any]) -> None:
    assert compile(expression, "Patient")({"resourceType": "Patient", **value}) == found
