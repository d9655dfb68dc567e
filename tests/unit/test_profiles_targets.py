"""What profiles ask of references and of what they lead to; the value sets that limit codes; bounds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.profiles import OWN, R4, element, errors, findings, profile

Json = dict[str, Any]
BORN = profile("Patient", element("Patient.birthDate", min=1), name="born")
NAMED = profile("Patient", element("Patient.name", min=1), name="named")
FULL = "https://hub.example/fhir/Patient/1"


def pointing(*targets: str, aggregation: tuple[str, ...] = (), name: str = "own") -> Json:
    """A profile of Observation whose subject leads to some of these."""
    type: Json = {"code": "Reference", "targetProfile": list(targets)}
    if aggregation:
        type["aggregation"] = list(aggregation)
    return profile("Observation", element("Observation.subject", type=[type]), name=name)


def observation(reference: str, *contained: Json) -> Json:
    """An Observation about somebody."""
    made: Json = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    return made | {"subject": {"reference": reference}} | ({"contained": list(contained)} if contained else {})


def bundle(*entries: Json) -> Json:
    """A Bundle; the first entry is the patient, the others name it."""
    held = [{"fullUrl": FULL if n == 0 else f"urn:x:{n}", "resource": entry} for n, entry in enumerate(entries)]
    return {"resourceType": "Bundle", "type": "collection", "entry": held}


def patient(**facts: Any) -> Json:
    """A Patient, of id 1 where nothing else is said."""
    return {"resourceType": "Patient", "id": "1"} | facts


BROKEN = ["structure Observation.subject"]


@pytest.mark.parametrize(
    ("resource", "found"),
    [
        pytest.param(observation("#1", patient(birthDate="2000")), [], id="a contained resource conforms"),
        pytest.param(observation("#1", patient()), BROKEN, id="a contained resource does not conform"),
        pytest.param(observation("#1", {"resourceType": "Group", "id": "1"}), BROKEN, id="a contained resource of another type"),
        pytest.param(observation("#2", patient()), [], id="a contained resource that is not there is R4's to miss"),
        pytest.param(observation("Patient/1"), [], id="a stored resource is not read"),
        pytest.param(observation("Group/1"), BROKEN, id="a stored resource of another type"),
    ],
)  # fmt: skip
def test_what_a_reference_leads_to_conforms(resource: Json, found: list[str]) -> None:
    assert errors(resource, pointing(OWN + "born"), BORN) == found


@pytest.mark.parametrize("reference", [FULL, "Patient/1"])
def test_what_stands_in_the_same_bundle_conforms(reference: str) -> None:
    own = observation(reference) | {"meta": {"profile": [OWN + "own"]}}
    definitions = (pointing(OWN + "born"), BORN)
    assert errors(bundle(patient(birthDate="2000"), own), *definitions, named=()) == []
    broken = errors(bundle(patient(), own), *definitions, named=())
    assert broken == ["structure Bundle.entry[1].resource.subject"]


def test_one_of_several_profiles_is_enough() -> None:
    either = pointing(OWN + "born", OWN + "named")
    assert errors(observation("#1", patient(name=[{"text": "x"}])), either, BORN, NAMED) == []
    assert errors(observation("#1", patient()), either, BORN, NAMED) == BROKEN
    assert errors(observation("#1", patient()), pointing(OWN + "born", R4 + "Patient"), BORN) == []
    assert errors(observation("#1", patient()), pointing(OWN + "born", OWN + "unknown"), BORN) == []


def test_the_issue_says_what_is_wrong_there() -> None:
    issue = findings(observation("#1", patient()), pointing(OWN + "born"), BORN)[0]
    assert f"does not conform to {OWN}born at Patient.birthDate: This element must be there" in issue.text


def test_resources_that_lead_to_each_other_are_looked_at_once() -> None:
    back = [{"code": "Reference", "targetProfile": [OWN + "ring"]}]
    ring = profile("Patient", element("Patient.link.other", type=back), element("Patient.gender", min=1), name="ring")
    one = patient(gender="male", link=[{"other": {"reference": "#2"}, "type": "seealso"}])
    other = patient(id="2", gender="male", link=[{"other": {"reference": "#1"}, "type": "seealso"}])
    assert errors(observation("#1", one, other), pointing(OWN + "ring"), ring) == []
    del other["gender"]
    assert errors(observation("#1", one, other), pointing(OWN + "ring"), ring) == BROKEN


@pytest.mark.parametrize(
    ("ways", "resource", "found"),
    [
        pytest.param(("contained",), observation("#1", patient()), [], id="contained as asked"),
        pytest.param(("contained",), observation("Patient/1"), BROKEN, id="elsewhere, where it is to be contained"),
        pytest.param(("referenced",), observation("Patient/1"), [], id="elsewhere as asked"),
        pytest.param(("referenced", "bundled"), observation("#1", patient()), BROKEN, id="contained, where it is not to be"),
        pytest.param(("bundled",), observation("Patient/1"), [], id="without a Bundle nothing tells"),
        pytest.param(("contained",), {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"display": "x"}}, [], id="a display leads nowhere"),
    ],
)  # fmt: skip
def test_a_profile_says_where_the_resource_is(ways: tuple[str, ...], resource: Json, found: list[str]) -> None:
    assert errors(resource, pointing(R4 + "Patient", aggregation=ways)) == found


def test_what_is_to_be_in_the_same_bundle_is_there() -> None:
    asked = pointing(R4 + "Patient", aggregation=("bundled",))
    own = {"meta": {"profile": [OWN + "own"]}}
    assert errors(bundle(patient(), observation("Patient/1") | own), asked, named=()) == []
    missed = errors(bundle(patient(), observation("Patient/2") | own), asked, named=())
    assert missed == ["structure Bundle.entry[1].resource.subject"]


SMALL, LARGE = "https://guide.example/small", "https://guide.example/large"
MEMBERS = {
    SMALL: frozenset([("urn:s", "a")]),
    LARGE: frozenset([("urn:s", "a"), ("urn:s", "b")]),
    f"{SMALL}|2": frozenset([("urn:s", "b")]),
}


def bound(strength: str, value_set: str = SMALL, limit: str = "") -> Json:
    """A profile that binds Observation.code."""
    binding: Json = {"strength": strength, "valueSet": value_set}
    if limit:
        binding["extension"] = [{"url": R4 + "elementdefinition-maxValueSet", "valueCanonical": limit}]
    return profile("Observation", element("Observation.code", binding=binding))


def coded(code: str) -> Json:
    """An Observation with a code."""
    return {"resourceType": "Observation", "status": "final", "code": {"coding": [{"system": "urn:s", "code": code}]}}


@pytest.mark.parametrize("strength", ["extensible", "preferred"])
def test_beyond_the_largest_value_set_no_code_is_taken(strength: str) -> None:
    asked = bound(strength, limit=LARGE)
    assert [errors(coded(code), asked, members=MEMBERS) for code in "abc"] == [
        [],
        [],
        ["code-invalid Observation.code"],
    ]
    assert errors(coded("a") | {"code": {"text": "x"}}, asked, members=MEMBERS) == []
    unknown = findings(coded("a"), bound(strength, limit="https://guide.example/none"), members=MEMBERS)
    assert ("information", "not-supported") in [(issue.severity, issue.code) for issue in unknown]


def test_a_binding_to_a_version_asks_that_version() -> None:
    pinned = bound("required", f"{SMALL}|2")
    assert [errors(coded(code), pinned, members=MEMBERS) for code in "ab"] == [["code-invalid Observation.code"], []]
    r4 = profile("Patient", element("Patient.language", binding={"strength": "required", "valueSet": "http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1"}))  # fmt: skip
    assert errors({"resourceType": "Patient", "language": "fr"}, r4) == ["code-invalid Patient.language"]


@pytest.mark.parametrize(
    ("least", "value", "is_fine"),
    [
        pytest.param("2020-06", "2020", True, id="a year that the bound is in"),
        pytest.param("2020-06", "2019", False, id="a year before"),
        pytest.param("2020-06-01T00:00:00Z", "2020-06-01T01:00:00+02:00", False, id="another zone, an hour before"),
        pytest.param(
            "2020-06-01T00:00:00Z", "2020-06-01T02:00:00.5+02:00", True, id="another zone, half a second after"
        ),
        pytest.param("2020-06-01T00:00:00Z", "2020-05-31", True, id="a day and an instant have no order"),
    ],
)
def test_a_date_is_compared_as_far_as_it_says(least: str, value: str, is_fine: bool) -> None:
    asked = profile("Observation", element("Observation.effective[x]", minValueDateTime=least))
    resource = coded("a") | {"effectiveDateTime": value}
    assert errors(resource, asked) == ([] if is_fine else ["value Observation.effective"])


@pytest.mark.parametrize(("unit", "found"), [("kg", ["value Observation.value"]), ("g", [])])
def test_a_quantity_is_compared_in_its_unit(unit: str, found: list[str]) -> None:
    most = {"value": 100, "system": "http://unitsofmeasure.org", "code": "kg"}
    asked = profile("Observation", element("Observation.value[x]", maxValueQuantity=most))
    quantity = {"value": 101, "system": "http://unitsofmeasure.org", "code": unit}
    assert errors(coded("a") | {"valueQuantity": quantity}, asked) == found


def ruled(expression: str) -> Json:
    """A profile with one rule on an Observation."""
    rule = {"key": "a-1", "severity": "error", "human": "A.", "expression": expression}
    return profile("Observation", element("Observation", constraint=[rule]))


@pytest.mark.parametrize(
    ("expression", "severities"),
    [
        pytest.param(f"code.memberOf('{SMALL}')", [], id="a code of a value set that is loaded"),
        pytest.param(f"code.coding.first().memberOf('{SMALL}')", [], id="a coding of it"),
        pytest.param(f"code.memberOf('{SMALL}').not()", ["error"], id="a code that should not be of it"),
        pytest.param(f"code.memberOf('{SMALL}|2')", ["error"], id="a code that another version has"),
        pytest.param(
            "code.memberOf('https://guide.example/none')", ["information"], id="a value set that is not known"
        ),
        pytest.param(f"subject.resolve().conformsTo('{OWN}born')", [], id="what is contained conforms"),
        pytest.param(f"subject.resolve().conformsTo('{OWN}named')", ["error"], id="what is contained does not conform"),
        pytest.param(f"subject.resolve().conformsTo('{OWN}none')", ["information"], id="a profile that is not known"),
        pytest.param(f"subject.resolve().conformsTo('{R4}Patient')", [], id="a type of R4"),
    ],
)
def test_rules_ask_for_loaded_value_sets_and_profiles(expression: str, severities: list[str]) -> None:
    resource = observation("#1", patient(birthDate="2000")) | {"code": coded("a")["code"]}
    found = findings(resource, ruled(expression), BORN, NAMED, members=MEMBERS)
    assert [issue.severity for issue in found] == severities


def test_a_rule_that_asks_for_its_own_profile_ends() -> None:
    found = findings(coded("a"), ruled(f"conformsTo('{OWN}own')"))
    assert {issue.severity for issue in found} <= {"warning", "information"}


@pytest.mark.parametrize(
    "junk", [{"code": {"coding": 5}}, {"contained": True}, {"code": {"coding": [{"system": {}, "code": "a"}]}}]
)
def test_rules_asked_of_what_is_not_of_r4s_form_end(junk: Json) -> None:
    rule = ruled(f"code.memberOf('{SMALL}') and subject.resolve().conformsTo('{OWN}born')")
    findings(observation("#1", patient()) | {"code": coded("a")["code"]} | junk, rule, BORN, members=MEMBERS)
