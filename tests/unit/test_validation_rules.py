"""The invariants written in Python give what FHIRPath gives; every invariant of R4 is run somewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any, Final

import pytest

from fhir_server import fhirpath
from fhir_server.definitions import Constraint, Structure, properties, structure, structure_names
from fhir_server.model import Resource
from fhir_server.validation import contained, invariants, rules
from fhir_server.validation.findings import Context
from fhir_server.validation.source import every_key
from tests.conformance import examples, mutation

DIFFERENT: Final = {
    "eld-19": "its pattern has no anchors, so that any path with one good character would hold",
    "que-7": "`answer is Boolean` is false for FHIR's boolean; R4's own Questionnaire-bb.json has one",
    "tim-9": "`when in (...)` takes one item, `when` is 0..*",
}
"""Invariants whose expression R4 itself got wrong; Python does what their words say."""

SMALL: Final = 20_000  # bytes; larger examples take long in FHIRPath


def _constraints() -> Iterator[tuple[Structure, Constraint]]:
    for name in structure_names():
        owner = structure(name)
        for constraint in (*owner.constraints, *(c for e in owner.elements.values() for c in e.constraints)):
            if constraint.severity == "error":
                yield owner, constraint


def _resources(mutants: int) -> Iterator[Resource]:
    """Yield the smaller examples, and `mutants` changed ones of all."""
    files = [file for file, body in sorted(examples.bodies().items()) if len(body) < SMALL]
    yield from (examples.resource(file) for file in files)
    random = Random(7)
    for seed in range(mutants):
        kind = random.choice(["field removed", "code changed"])
        yield mutation.mutated(examples.resource(random.choice(files)), kind, seed)


def _elements(type: str, value: Any, cx: Context) -> Iterator[tuple[str, dict[str, Any], Context]]:
    """Yield every complex element with its structure and context."""
    if not isinstance(value, dict):
        return
    if type == "Resource" or structure(type).kind == "resource":
        type = value["resourceType"]
        cx = (value, value if cx[1] is cx[0] and not cx[0] else cx[1], cx[2])
    yield type, value, cx
    for key, item in value.items():
        known = properties(type).get(key)
        if known and structure(known[1] if known[1] != "Resource" else "Resource").kind != "primitive-type":
            for each in item if isinstance(item, list) else [item]:
                inside = cx if known[0].name == "contained" else ({}, {}, {}) if known[1] == "Resource" else cx
                yield from _elements(known[1], each, inside)


def _every_element(mutants: int = 0) -> Iterator[tuple[str, dict[str, Any], Context]]:
    for resource in _resources(mutants):
        yield from _elements(str(resource["resourceType"]), resource, ({}, {}, {}))


def test_every_invariant_is_run_or_listed_with_its_reason() -> None:
    keys = {constraint.key for _, constraint in _constraints()}
    assert len(keys) > 190
    for owner, constraint in _constraints():
        if constraint.key in invariants.ELSEWHERE | rules.NATIVE.keys() | invariants.UNRUNNABLE.keys():
            continue
        fhirpath.compile(constraint.expression, owner.name)
    assert keys >= rules.NATIVE.keys() | invariants.ELSEWHERE | invariants.UNRUNNABLE.keys()
    assert keys >= {key.rpartition(":")[2] for key in invariants.UNDECIDED} | invariants.GUARDS.keys()


def test_a_native_rule_stands_for_one_expression() -> None:
    expressions = Counter(key for key, _ in {(c.key, c.expression) for _, c in _constraints()})
    assert [key for key in rules.NATIVE if expressions[key] != 1] == []


def test_native_rules_and_fhirpath_agree_on_the_examples_and_on_mutants() -> None:
    compared: Counter[tuple[str, bool]] = Counter()
    for type, element, cx in _every_element(mutants=1_500):
        for constraint in structure(type).constraints:
            native = rules.NATIVE.get(constraint.key)
            if native is None or constraint.key in DIFFERENT:
                continue
            engine = invariants.by_engine(constraint, type)(element, cx)
            answer = native(element, cx)
            assert answer in (engine, None), (constraint.key, element)
            compared[constraint.key, engine] += 1
    assert compared["ref-1", True] > 1_000
    assert compared["ext-1", False] > 0
    assert compared["ref-1", False] > 0


@pytest.mark.parametrize("key", sorted(rules.NATIVE.keys() - DIFFERENT.keys()))
def test_a_native_rule_and_fhirpath_agree_on_cases_that_break_it(key: str) -> None:
    type, element, resource = CASES[key]
    constraint = next(c for _, c in _constraints() if c.key == key)
    cx: Context = (resource or element, resource or element, {})
    assert invariants.by_engine(constraint, type)(element, cx) is False
    assert rules.NATIVE[key](element, cx) is False


_CODING = {"coding": [{"system": "s", "code": "c"}]}
CASES: Final[dict[str, tuple[str, dict[str, Any], dict[str, Any]]]] = {
    "att-1": ("Attachment", {"data": "AAAA"}, {}),
    "bdl-2": ("Bundle", {"resourceType": "Bundle", "type": "batch", "entry": [{"search": {"mode": "match"}}]}, {}),
    "bdl-3": ("Bundle", {"resourceType": "Bundle", "type": "batch", "entry": [{"fullUrl": "urn:x"}]}, {}),
    "bdl-4": ("Bundle", {"resourceType": "Bundle", "type": "batch", "entry": [{"response": {"status": "1"}}]}, {}),
    "bdl-5": ("Bundle.entry", {"fullUrl": "urn:x"}, {}),
    "bdl-7": (
        "Bundle",
        {"resourceType": "Bundle", "type": "batch", "entry": [{"fullUrl": "urn:x"}, {"fullUrl": "urn:x"}]},
        {},
    ),
    "bdl-8": ("Bundle.entry", {"fullUrl": "http://x/Patient/1/_history/2"}, {}),
    "cpt-2": ("ContactPoint", {"value": "1"}, {}),
    "csd-1": (
        "CodeSystem",
        {"resourceType": "CodeSystem", "concept": [{"code": "a", "concept": [{"code": "b"}]}, {"code": "b"}]},
        {},
    ),
    "eld-16": ("ElementDefinition", {"path": "a", "sliceName": "a b"}, {}),
    "ext-1": ("Extension", {"url": "x"}, {}),
    "ig-1": (
        "ImplementationGuide.definition",
        {"grouping": [{"id": "a", "name": "a"}], "resource": [{"groupingId": "b"}]},
        {},
    ),
    "ig-2": (
        "ImplementationGuide",
        {
            "resourceType": "ImplementationGuide",
            "fhirVersion": ["4.0.1"],
            "definition": {"resource": [{"fhirVersion": ["4.0.0"]}]},
        },
        {},
    ),
    "obs-6": (
        "Observation",
        {"resourceType": "Observation", "dataAbsentReason": {"text": "x"}, "valueString": "x"},
        {},
    ),
    "obs-7": (
        "Observation",
        {"resourceType": "Observation", "valueString": "x", "code": _CODING, "component": [{"code": _CODING}]},
        {},
    ),
    "per-1": ("Period", {"start": "2024-02-01", "end": "2024-01-01"}, {}),
    "qty-3": ("Quantity", {"code": "mg"}, {}),
    "ref-1": ("Reference", {"reference": "#x"}, {"resourceType": "Patient"}),
    "sqty-1": ("Quantity", {"comparator": "<"}, {}),
}


@pytest.mark.parametrize(
    ("key", "element", "holds"),
    [
        pytest.param("eld-19", {"path": "Patient.name[x]:a.b"}, True, id="a path with a slice"),
        pytest.param("eld-19", {"path": "a.b c"}, False, id="a path with a blank"),
        pytest.param("que-7", {"operator": "exists", "answerBoolean": True}, True, id="exists with a boolean"),
        pytest.param("que-7", {"operator": "exists", "answerString": "x"}, False, id="exists with a string"),
        pytest.param("que-7", {"operator": "=", "answerString": "x"}, True, id="another operator"),
        pytest.param("tim-9", {"offset": 1, "when": ["MORN", "NIGHT"]}, True, id="an offset and two times"),
        pytest.param("tim-9", {"offset": 1, "when": ["MORN", "C"]}, False, id="an offset and a meal"),
        pytest.param("tim-9", {"offset": 1}, False, id="an offset without time"),
        pytest.param("tim-9", {"when": ["C"]}, True, id="a meal without offset"),
    ],
)
def test_rules_whose_expression_is_wrong_do_what_their_words_say(key: str, element: Any, holds: bool) -> None:
    assert rules.NATIVE[key](element, (element, element, {})) is holds


def test_a_guarded_rule_holds_wherever_its_element_is_absent() -> None:
    seen: Counter[str] = Counter()
    for type, element, cx in _every_element():
        owner = structure(type)
        for constraint in owner.constraints:
            guard = invariants.guard(constraint, owner)
            if not guard or constraint.severity != "error" or seen[constraint.key] >= 20:
                continue
            if not element.keys().isdisjoint(every_key(owner, owner.elements[guard])):
                continue
            seen[constraint.key] += 1
            result = fhirpath.compile(constraint.expression, type)(element, root=cx[1], resource=cx[0])
            assert result in ([], [True]), (constraint.key, element)
            assert result == [True] or constraint.key in invariants.UNDECIDED
    assert len(seen) > 30


@pytest.mark.parametrize("mutants", [0, 1_000])
def test_the_rules_of_contained_resources_are_those_of_fhirpath(mutants: int) -> None:
    texts = {c.key: c.expression for c in structure("DomainResource").constraints}
    compared = 0
    for resource in _resources(mutants):
        items = resource.get("contained")
        if not isinstance(items, list):
            continue
        broken = {problem[2].partition(":")[0] for item in items for problem in contained.broken_rules(item)}
        if contained.unreferenced(items, (resource, resource, {})):
            broken.add("dom-3")
        for key in ("dom-2", "dom-3", "dom-4", "dom-5"):
            assert fhirpath.compile(texts[key])(resource) == [key not in broken], (key, resource.get("id"))
        compared += 1
    assert compared > 50
