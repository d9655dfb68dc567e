"""Slices: how items find theirs, how many there may be, in which order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.profiles import OWN, R4, element, errors, findings, profile, sliced

LOINC = "http://loinc.org"


def observation(*codes: str, **facts: Any) -> dict[str, Any]:
    """An Observation with a component of each code."""
    made = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    components = [{"code": {"coding": [{"system": LOINC, "code": code}]}, "valueString": code} for code in codes]
    return made | ({"component": components} if codes else {}) | facts


def coded(slice: str, code: str, **facts: Any) -> list[dict[str, Any]]:
    """The elements of a slice of Observation.component whose code has a pattern."""
    pattern = {"coding": [{"system": LOINC, "code": code}]}
    return [
        element(f"Observation.component:{slice}", **facts),
        element(f"Observation.component:{slice}.code", patternCodeableConcept=pattern),
    ]


ROWS = [*coded("a", "A", min=1, max="1"), *coded("b", "B")]


@pytest.mark.parametrize(
    ("codes", "rules", "ordered", "found"),
    [
        pytest.param("A", "open", False, [], id="the slice that must be there"),
        pytest.param("AB", "open", False, [], id="both slices"),
        pytest.param("B", "open", False, ["required Observation.component"], id="the slice that must be there is missed"),
        pytest.param("", "open", False, ["required Observation.component"], id="it is missed where there is nothing"),
        pytest.param("AA", "open", False, ["structure Observation.component"], id="a slice is there too often"),
        pytest.param("AX", "open", False, [], id="open slicing takes others"),
        pytest.param("AX", "closed", False, ["structure Observation.component[1]"], id="closed slicing does not"),
        pytest.param("XA", "openAtEnd", False, ["structure Observation.component[1]"], id="others come last"),
        pytest.param("AX", "openAtEnd", False, [], id="others come last and do"),
        pytest.param("BA", "open", False, [], id="order does not matter"),
        pytest.param("BA", "open", True, ["structure Observation.component[1]"], id="order matters"),
    ],
)  # fmt: skip
def test_slices_are_counted_and_ordered(codes: str, rules: str, ordered: bool, found: list[str]) -> None:
    asked = profile(
        "Observation", sliced("Observation.component", ("pattern", "code"), rules=rules, ordered=ordered), *ROWS
    )
    assert errors(observation(*codes), asked) == found


def test_what_a_slice_asks_is_asked_of_its_items_only() -> None:
    asked = profile(
        "Observation",
        sliced("Observation.component", ("pattern", "code")),
        *ROWS,
        element("Observation.component:b.dataAbsentReason", min=1),
    )
    assert errors(observation("A", "B", "X"), asked) == ["required Observation.component[1].dataAbsentReason"]


@pytest.mark.parametrize(
    ("kind", "path", "elements"),
    [
        pytest.param("value", "code.coding.code", [element("Observation.component:a.code.coding.code", fixedCode="A")], id="a fixed value at the path"),
        pytest.param("value", "code", [element("Observation.component:a.code.coding.code", fixedCode="A")], id="a fixed value below the path"),
        pytest.param("value", "code.coding.code", [element("Observation.component:a.code", patternCodeableConcept={"coding": [{"code": "A"}]})], id="a pattern above the path"),
        pytest.param("pattern", "code", [element("Observation.component:a.code", patternCodeableConcept={"coding": [{"code": "A"}]})], id="a pattern at the path"),
        pytest.param("value", "code.coding.code", [sliced("Observation.component:a.code.coding", ("value", "code")), element("Observation.component:a.code.coding:one", min=1), element("Observation.component:a.code.coding:one.code", fixedCode="A")], id="a fixed value in a slice at the path"),
        pytest.param("value", "code", [element("Observation.component:a.code", binding={"strength": "required", "valueSet": "https://guide.example/a"})], id="a required binding at the path"),
        pytest.param("exists", "interpretation", [element("Observation.component:a.interpretation", min=1)], id="an element that must be there"),
        pytest.param("exists", "dataAbsentReason", [element("Observation.component:a.dataAbsentReason", max="0")], id="an element that must not be there"),
        pytest.param("type", "value", [element("Observation.component:a.value[x]", type=[{"code": "string"}])], id="the type of a choice"),
        pytest.param("type", "value.ofType(string)", [element("Observation.component:a.value[x]", type=[{"code": "string"}])], id="the type of a choice, cast"),
        pytest.param("value", "extension('https://guide.example/kind').value", [element("Observation.component:a.extension:kind", type=[{"code": "Extension", "profile": ["https://guide.example/kind"]}]), element("Observation.component:a.extension:kind.value[x]", fixedCode="A")], id="an extension's value"),
    ],
)  # fmt: skip
def test_a_discriminator_tells_items_apart(kind: str, path: str, elements: list[dict[str, Any]]) -> None:
    one = {
        "code": {"coding": [{"system": LOINC, "code": "A"}]},
        "valueString": "x",
        "interpretation": [{"text": "high"}],
        "extension": [{"url": "https://guide.example/kind", "valueCode": "A"}],
    }
    other = {"code": {"coding": [{"system": LOINC, "code": "B"}]}, "dataAbsentReason": {"text": "unknown"}}
    other |= {"extension": [{"url": "https://guide.example/kind", "valueCode": "B"}]}
    if path.startswith("value"):
        other |= {"valueBoolean": True}
        del other["dataAbsentReason"]
    head = [] if any(e["id"] == "Observation.component:a" for e in elements) else [element("Observation.component:a")]
    asked = profile(
        "Observation",
        sliced("Observation.component", (kind, path), rules="closed"),
        *head,
        *elements,
        element("Observation.component:a.referenceRange", max="0"),
    )
    coded = {"https://guide.example/a": frozenset([(LOINC, "A")])}
    found = errors(observation(component=[one, other]), asked, members=coded)
    assert found == ["structure Observation.component[1]"], "the other one is in no slice, and only that one"


def test_a_profile_tells_items_apart() -> None:
    titled = profile("HumanName", element("HumanName.prefix", min=1), name="titled", kind="complex-type")
    asked = profile(
        "Patient",
        sliced("Patient.name", ("profile", "$this")),
        element("Patient.name:titled", max="1", type=[{"code": "HumanName", "profile": [OWN + "titled"]}]),
    )
    plain, with_title = {"family": "Durand"}, {"family": "Durand", "prefix": ["Dr"]}
    patient: dict[str, Any] = {"resourceType": "Patient"}
    assert errors(patient | {"name": [plain, plain, with_title]}, asked, titled) == []
    assert errors(patient | {"name": [with_title, with_title]}, asked, titled) == ["structure Patient.name"]


def test_a_reference_is_told_by_the_type_it_resolves_to() -> None:
    asked = profile(
        "Observation",
        sliced("Observation.performer", ("type", "resolve()"), rules="closed"),
        element(
            "Observation.performer:who", min=1, type=[{"code": "Reference", "targetProfile": [R4 + "Practitioner"]}]
        ),
    )
    people = [{"reference": "Practitioner/1"}, {"reference": "#p"}, {"reference": "Organization/1"}]
    held = [{"resourceType": "Practitioner", "id": "p"}]
    assert errors(observation(contained=held, performer=people), asked) == ["structure Observation.performer[2]"]


def test_entries_of_a_bundle_are_told_by_their_resource() -> None:
    asked = profile(
        "Bundle",
        sliced("Bundle.entry", ("type", "resource")),
        element("Bundle.entry:patient", min=1, max="1"),
        element("Bundle.entry:patient.resource", min=1, type=[{"code": "Patient", "profile": [OWN + "dated"]}]),
    )
    dated = profile("Patient", element("Patient.birthDate", min=1), name="dated")
    bundle = {"resourceType": "Bundle", "type": "collection"}
    entries: list[dict[str, Any]] = [{"resource": observation()}, {"resource": {"resourceType": "Patient"}}]
    assert errors(bundle | {"entry": entries}, asked, dated) == ["required Bundle.entry[1].resource.birthDate"]
    assert errors(bundle | {"entry": entries[:1]}, asked, dated) == ["required Bundle.entry"]


def test_a_slice_is_sliced_again() -> None:
    asked = profile(
        "Patient",
        sliced("Patient.identifier", ("value", "system")),
        element("Patient.identifier:ours"),
        element("Patient.identifier:ours.system", fixedUri="u:ours"),
        sliced("Patient.identifier:ours", ("value", "use")),
        element("Patient.identifier:ours/official", min=1, max="1"),
        element("Patient.identifier:ours/official.use", fixedCode="official"),
    )
    theirs, ours = {"system": "u:x", "use": "official"}, {"system": "u:ours", "use": "official"}
    patient: dict[str, Any] = {"resourceType": "Patient"}
    assert errors(patient | {"identifier": [theirs, ours]}, asked) == []
    assert errors(patient | {"identifier": [theirs]}, asked) == ["required Patient.identifier"]
    assert errors(patient | {"identifier": [ours, ours]}, asked) == ["structure Patient.identifier"]


def test_the_default_slice_takes_what_is_in_no_other() -> None:
    asked = profile(
        "Patient",
        sliced("Patient.identifier", ("value", "system"), rules="closed"),
        element("Patient.identifier:ours"),
        element("Patient.identifier:ours.system", fixedUri="u:ours"),
        element("Patient.identifier:@default", max="1"),
        element("Patient.identifier:@default.value", min=1),
    )
    patient = {"resourceType": "Patient", "identifier": [{"system": "u:ours"}, {"system": "u:x"}]}
    assert errors(patient, asked) == ["required Patient.identifier[1].value"]


def test_slices_that_nothing_tells_apart_are_said() -> None:
    asked = profile(
        "Patient",
        sliced("Patient.identifier", ("value", "system"), rules="closed"),
        element("Patient.identifier:a", min=1),
    )
    found = findings({"resourceType": "Patient", "identifier": [{"value": "1"}]}, asked)
    assert [(issue.severity, issue.code) for issue in found] == [("information", "incomplete")]


def test_a_derived_profile_adds_slices_to_those_of_its_base() -> None:
    base = profile(
        "Patient",
        sliced("Patient.identifier", ("value", "system")),
        element("Patient.identifier:a", min=1),
        element("Patient.identifier:a.system", fixedUri="u:a"),
        name="base",
    )
    derived = profile(
        "Patient",
        element("Patient.identifier:b", min=1),
        element("Patient.identifier:b.system", fixedUri="u:b"),
        element("Patient.identifier:a.use", min=1),
        base=OWN + "base",
    )
    patient = {"resourceType": "Patient", "identifier": [{"system": "u:a"}]}
    assert errors(patient, derived, base) == ["required Patient.identifier", "required Patient.identifier[0].use"]


def test_elements_without_ids_find_their_slice_by_the_order_they_stand_in() -> None:
    asked = profile(
        "Patient",
        sliced("Patient.identifier", ("value", "system")),
        element("Patient.identifier:a", min=1),
        element("Patient.identifier:a.system", fixedUri="u:a"),
        element("Patient.identifier:b"),
        element("Patient.identifier:b.system", fixedUri="u:b"),
        element("Patient.identifier:b.value", min=1),
        element("Patient.name.family", min=1),
    )
    for part in asked["differential"]["element"]:
        del part["id"]
    patient = {"resourceType": "Patient", "identifier": [{"system": "u:b"}], "name": [{"text": "x"}]}
    assert errors(patient, asked) == [
        "required Patient.identifier",
        "required Patient.identifier[0].value",
        "required Patient.name[0].family",
    ]


def test_what_no_value_set_or_profile_can_tell_apart_is_said_and_no_error() -> None:
    """What is loaded cannot say whether the items are in the slice: that is no reason to refuse them."""
    unknown = {"strength": "required", "valueSet": "https://guide.example/none"}
    by_code = profile(
        "Observation",
        sliced("Observation.category", ("value", "$this"), rules="closed"),
        element("Observation.category:u", min=1, binding=unknown),
    )
    coded = {"coding": [{"system": "urn:x", "code": "q"}]}
    resource = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    found = findings(resource | {"category": [coded]}, by_code)
    assert [(issue.severity, issue.code) for issue in found] == [("information", "incomplete")]
    assert errors(resource, by_code) == ["required Observation.category"], "without items there is no doubt"

    nobody = [{"code": "Patient", "profile": [OWN + "nobody"]}]
    by_profile = profile(
        "Bundle",
        sliced("Bundle.entry", ("profile", "resource"), rules="closed"),
        element("Bundle.entry:x", min=1),
        element("Bundle.entry:x.resource", min=1, type=nobody),
    )
    held = {"fullUrl": "urn:x:1", "resource": {"resourceType": "Patient"}}
    found = findings({"resourceType": "Bundle", "type": "collection", "entry": [held]}, by_profile)
    assert {issue.severity for issue in found} == {"information"}


def test_a_discriminator_that_is_sure_leaves_no_doubt() -> None:
    unknown = {"strength": "required", "valueSet": "https://guide.example/none"}
    both = profile(
        "Patient",
        sliced("Patient.identifier", ("value", "system"), ("value", "type"), rules="closed"),
        element("Patient.identifier:a", min=1),
        element("Patient.identifier:a.system", fixedUri="urn:a"),
        element("Patient.identifier:a.type", binding=unknown),
    )
    other = {"system": "urn:b", "type": {"coding": [{"system": "urn:x", "code": "q"}]}}
    assert errors({"resourceType": "Patient", "identifier": [other]}, both) == [
        "required Patient.identifier",
        "structure Patient.identifier[0]",
    ]
