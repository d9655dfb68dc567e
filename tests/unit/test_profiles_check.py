"""What profiles ask of elements: counts, types, values, codes, rules, references, extensions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.profiles import OWN, R4, element, errors, extension, findings, profile, sliced

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "identifier": [{"system": "https://a.example", "value": "1"}],
    "name": [{"use": "official", "family": "Durand", "given": ["Jeanne"]}],
    "birthDate": "1951-04-23",
    "multipleBirthInteger": 2,
    "managingOrganization": {"reference": "Organization/1"},
    "contact": [{"name": {"family": "Durand"}}],
}
VALUES = {"https://guide.example/vs": frozenset([("https://s.example", "red"), ("https://s.example", "blue")])}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param(element("Patient.birthDate", min=1), [], id="what is there is there"),
        pytest.param(element("Patient.gender", min=1), ["required Patient.gender"], id="what must be there is missed"),
        pytest.param(element("Patient.name", max="0"), ["structure Patient.name"], id="what is forbidden is refused"),
        pytest.param(element("Patient.name", min=2), ["required Patient.name"], id="one is not two"),
        pytest.param(element("Patient.name.given", min=1), [], id="children of list items are counted in each"),
        pytest.param(element("Patient.name.prefix", min=1), ["required Patient.name[0].prefix"], id="a child is missed in its item"),
        pytest.param(element("Patient.contact.name.given", min=1), ["required Patient.contact[0].name.given"], id="three levels down"),
        pytest.param(element("Patient.photo.title", min=1), [], id="nothing is asked of what is not there"),
        pytest.param(element("Patient.birthDate", fixedDate="1951-04-23"), [], id="the fixed value"),
        pytest.param(element("Patient.birthDate", fixedDate="1951-04-24"), ["value Patient.birthDate"], id="another than the fixed value"),
        pytest.param(element("Patient.name", fixedHumanName={"family": "Durand"}), ["value Patient.name[0]"], id="fixed is all of it"),
        pytest.param(element("Patient.name", patternHumanName={"family": "Durand"}), [], id="a pattern is part of it"),
        pytest.param(element("Patient.name", patternHumanName={"given": ["Jean"]}), ["value Patient.name[0]"], id="a pattern's list item is looked for"),
        pytest.param(element("Patient.multipleBirth[x]", type=[{"code": "integer"}]), [], id="a choice of the type left"),
        pytest.param(element("Patient.multipleBirth[x]", type=[{"code": "boolean"}]), ["structure Patient.multipleBirth"], id="a choice of a type taken away"),
        pytest.param(element("Patient.multipleBirthBoolean", max="1"), ["structure Patient.multipleBirth"], id="a path with the type's name leaves that type"),
        pytest.param(element("Patient.multipleBirth[x]:multipleBirthInteger", fixedInteger=2), [], id="a slice of a choice holds"),
        pytest.param(element("Patient.multipleBirth[x]:multipleBirthInteger", fixedInteger=3), ["value Patient.multipleBirth"], id="a slice of a choice is checked"),
        pytest.param(element("Patient.multipleBirth[x]:multipleBirthBoolean", min=1), ["required Patient.multipleBirth"], id="a slice of a choice is missed"),
        pytest.param(element("Patient.deceased[x]", min=1), ["required Patient.deceased"], id="a choice is missed under its name"),
        pytest.param(element("Patient.managingOrganization", type=[{"code": "Reference", "targetProfile": [R4 + "Organization"]}]), [], id="a reference to the type allowed"),
        pytest.param(element("Patient.generalPractitioner", type=[{"code": "Reference", "targetProfile": [R4 + "Practitioner"]}]), [], id="no reference, no target"),
        pytest.param(element("Patient.managingOrganization", type=[{"code": "Reference", "targetProfile": [R4 + "Location"]}]), ["structure Patient.managingOrganization"], id="a reference to another type"),
        pytest.param(element("Patient.managingOrganization", type=[{"code": "Reference", "targetProfile": [OWN + "unknown"]}]), [], id="a target profile that is not known allows any"),
        pytest.param(element("Patient", constraint=[{"key": "a-1", "severity": "error", "human": "Old.", "expression": "birthDate < @1900-01-01"}]), ["invariant Patient"], id="a rule of the resource"),
        pytest.param(element("Patient.name", constraint=[{"key": "a-1", "severity": "error", "human": "Short.", "expression": "family.length() < 20"}]), [], id="a rule of an element holds"),
        pytest.param(element("Patient.birthDate", constraint=[{"key": "a-1", "severity": "error", "human": "Late.", "expression": "$this > @1960-01-01"}]), ["invariant Patient.birthDate"], id="a rule of a primitive"),
        pytest.param(element("Patient.name", constraint=[{"key": "a-1", "severity": "error", "human": "Root.", "expression": "%resource.birthDate.exists()"}]), [], id="a rule sees its resource"),
        pytest.param(element("Patient.name.family", maxLength=6), [], id="a text as long as it may be"),
        pytest.param(element("Patient.name.family", maxLength=5), ["too-long Patient.name[0].family"], id="a text that is longer"),
        pytest.param(element("Patient.multipleBirth[x]", minValueInteger=1, maxValueInteger=2), [], id="a number within its bounds"),
        pytest.param(element("Patient.multipleBirth[x]", minValueInteger=3), ["value Patient.multipleBirth"], id="a number below its bounds"),
        pytest.param(element("Patient.birthDate", maxValueDate="1951-04-22"), ["value Patient.birthDate"], id="a date after its bound"),
        pytest.param(element("Patient.birthDate", maxValueDate="1950"), ["value Patient.birthDate"], id="a date after the year that bounds it"),
        pytest.param(element("Patient.birthDate", maxValueDate="1951-04"), [], id="a date within the month that bounds it"),
        pytest.param(element("Patient.birthDate", mustSupport=True), [], id="mustSupport asks nothing of data"),
    ],
)  # fmt: skip
def test_an_element_is_checked(asked: dict[str, Any], found: list[str]) -> None:
    assert errors(PATIENT, profile("Patient", asked)) == found


def test_a_rule_of_severity_warning_warns_and_one_that_cannot_run_is_said() -> None:
    rules = [
        {"key": "w-1", "severity": "warning", "human": "Warned.", "expression": "birthDate.empty()"},
        {"key": "n-1", "severity": "error", "human": "No rule.", "expression": "this is ( no rule"},
    ]
    found = findings(PATIENT, profile("Patient", element("Patient", constraint=rules)))
    assert [(i.severity, i.text.partition(":")[0]) for i in found] == [("warning", "w-1"), ("information", "n-1")]


@pytest.mark.parametrize(
    ("strength", "coding", "severities"),
    [
        pytest.param("required", {"system": "https://s.example", "code": "red"}, [], id="a code of a required set"),
        pytest.param("required", {"system": "https://s.example", "code": "green"}, ["error"], id="a code beside a required set"),
        pytest.param("required", {"system": "https://other.example", "code": "red"}, ["error"], id="the code of another system"),
        pytest.param("required", None, ["error"], id="text alone where a code is required"),
        pytest.param("extensible", {"system": "https://s.example", "code": "green"}, ["warning"], id="a code beside an extensible set"),
        pytest.param("extensible", None, [], id="text alone where codes may be extended"),
        pytest.param("preferred", {"system": "https://s.example", "code": "green"}, [], id="a preferred set asks nothing"),
    ],
)  # fmt: skip
def test_codes_are_of_their_value_set(strength: str, coding: dict[str, str] | None, severities: list[str]) -> None:
    concept = {"coding": [coding]} if coding else {"text": "x"}
    asked = element("Patient.maritalStatus", binding={"strength": strength, "valueSet": "https://guide.example/vs"})
    found = findings({"resourceType": "Patient", "maritalStatus": concept}, profile("Patient", asked), members=VALUES)
    assert [issue.severity for issue in found] == severities


def test_a_value_set_that_is_not_known_is_said() -> None:
    asked = element("Patient.language", binding={"strength": "required", "valueSet": "https://guide.example/no"})
    found = findings({"resourceType": "Patient", "language": "fr"}, profile("Patient", asked))
    assert [(issue.severity, issue.expression) for issue in found] == [("information", "Patient.language")]


def test_a_profile_has_all_that_its_base_profiles_ask() -> None:
    first = profile("Patient", element("Patient.gender", min=1), name="first")
    second = profile("Patient", element("Patient.photo", min=1), name="second", base=OWN + "first")
    third = profile("Patient", element("Patient.photo", max="1"), name="third", base=OWN + "second")
    assert errors(PATIENT, third, second, first) == ["required Patient.gender", "required Patient.photo"]


def test_a_snapshot_needs_no_base() -> None:
    made = profile("Patient", base=OWN + "unknown")
    made["snapshot"] = {"element": [element("Patient"), element("Patient.gender", min=1, max="1")]}
    assert errors(PATIENT, made) == ["required Patient.gender"]


def test_what_r4_says_already_is_not_said_twice() -> None:
    snapshot = [
        element("Patient", constraint=[{"key": "dom-2", "severity": "error", "human": "x", "expression": "false"}]),
        element("Patient.link", min=0, max="*"),
        element("Patient.link.other", min=1, max="1"),
    ]
    made = profile("Patient", snapshot={"element": snapshot})
    assert errors(PATIENT | {"link": [{"type": "seealso"}]}, made) == []


def test_an_element_that_repeats_another_is_asked_the_same() -> None:
    asked = profile("Questionnaire", element("Questionnaire.item.text", min=1))
    nested = {"linkId": "1", "type": "group", "text": "t", "item": [{"linkId": "2", "type": "display"}]}
    resource = {"resourceType": "Questionnaire", "status": "draft", "item": [nested]}
    assert errors(resource, asked) == ["required Questionnaire.item[0].item[0].text"]


def test_an_element_conforms_to_the_profile_of_its_type() -> None:
    named = profile("HumanName", element("HumanName.prefix", min=1), name="titled", kind="complex-type")
    asked = profile("Patient", element("Patient.name", type=[{"code": "HumanName", "profile": [OWN + "titled"]}]))
    assert errors(PATIENT, asked, named) == ["required Patient.name[0].prefix"]


def test_a_type_named_as_its_own_profile_asks_nothing() -> None:
    asked = element("Patient.name", type=[{"code": "HumanName", "profile": [R4 + "HumanName"]}])
    assert findings(PATIENT, profile("Patient", asked)) == []


def test_one_of_several_profiles_is_enough() -> None:
    names = [
        profile("HumanName", element(f"HumanName.{name}", min=1), name=name, kind="complex-type")
        for name in ("prefix", "suffix", "given")
    ]
    for wanted, found in (("prefix suffix given", []), ("prefix suffix", ["structure Patient.name[0]"])):
        type = {"code": "HumanName", "profile": [OWN + name for name in wanted.split()]}
        assert errors(PATIENT, profile("Patient", element("Patient.name", type=[type])), *names) == found


def test_declared_profiles_are_checked_in_entries_and_contained_resources_too() -> None:
    own = profile("Patient", element("Patient.gender", min=1))
    patient = {"resourceType": "Patient", "id": "p", "meta": {"profile": [OWN + "own", OWN + "unknown"]}}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient}]}
    assert errors(bundle, own, named=()) == ["required Bundle.entry[0].resource.gender"]
    group = {"resourceType": "Group", "type": "person", "actual": True, "contained": [patient]}
    found = findings(group, own, named=())
    assert [(issue.severity, issue.expression) for issue in found] == [
        ("error", "Group.contained[0].gender"),
        ("warning", "Group.contained[0].meta.profile[1]"),
    ]


@pytest.mark.parametrize(
    ("used", "found"),
    [
        pytest.param({"url": OWN + "size", "valueInteger": 3}, [], id="the type its definition says"),
        pytest.param({"url": OWN + "size", "valueString": "3"}, ["structure Patient.extension[0].value"], id="another type"),
        pytest.param({"url": OWN + "size", "valueInteger": 30}, ["invariant Patient.extension[0].value"], id="a rule of its value"),
        pytest.param({"url": OWN + "size"}, ["required Patient.extension[0].value"], id="no value"),
        pytest.param({"url": OWN + "other", "valueString": "3"}, [], id="an extension that is not known may hold anything"),
        pytest.param({"url": R4 + "patient-birthPlace", "valueString": "Lyon"}, ["structure Patient.extension[0].value"], id="R4's own extensions are known"),
    ],
)  # fmt: skip
def test_extensions_are_what_their_definitions_say(used: dict[str, Any], found: list[str]) -> None:
    rule = {"key": "s-1", "severity": "error", "human": "Small.", "expression": "$this < 10"}
    value = element("Extension.value[x]", min=1, type=[{"code": "integer"}], constraint=[rule])
    size = extension("size", value, context=[{"type": "element", "expression": "Patient"}])
    assert errors({"resourceType": "Patient", "extension": [used]}, size, named=()) == found


CONTEXTS = [
    pytest.param("element", "Patient", False, id="another element"),
    pytest.param("element", "HumanName", True, id="the element's type"),
    pytest.param("element", "Patient.name", True, id="the element's path"),
    pytest.param("element", "Element", True, id="a type it derives from"),
    pytest.param("element", "Patient.contact", False, id="another path"),
    pytest.param("element", "CanonicalResource", True, id="what cannot be judged"),
    pytest.param("fhirpath", "Patient.name.where(use = 'official')", True, id="an element that a path leads to"),
    pytest.param("fhirpath", "Patient.name.where(use = 'old')", False, id="an element that a path does not lead to"),
    pytest.param("fhirpath", "Patient.name.(", True, id="a path that cannot be evaluated"),
    pytest.param("extension", OWN + "other", False, id="in an extension only"),
]


@pytest.mark.parametrize(("kind", "context", "is_fine"), CONTEXTS)
def test_an_extension_stands_where_its_contexts_say(kind: str, context: str, is_fine: bool) -> None:
    size = extension("size", context=[{"type": kind, "expression": context}])
    name = {"use": "official", "family": "Durand", "extension": [{"url": OWN + "size", "valueInteger": 1}]}
    found = errors({"resourceType": "Patient", "name": [name]}, size, named=())
    assert found == ([] if is_fine else ["extension Patient.name[0].extension[0]"])


def test_an_extension_for_a_primitive_or_in_another_extension_is_found_there() -> None:
    day = extension("day", context=[{"type": "fhirpath", "expression": "Patient.birthDate"}])
    held = {"extension": [{"url": OWN + "day", "valueInteger": 1}]}
    assert errors({"resourceType": "Patient", "birthDate": "2000", "_birthDate": held}, day, named=()) == []
    assert errors({"resourceType": "Patient", "gender": "male", "_gender": held}, day, named=()) == [
        "extension Patient.gender.extension[0]"
    ]
    inner = extension("inner", context=[{"type": "extension", "expression": OWN + "outer"}])
    for outer, expected in (("outer", []), ("else", ["extension Patient.extension[0].extension[0]"])):
        nested = {"url": OWN + outer, "extension": [{"url": OWN + "inner", "valueInteger": 1}]}
        assert errors({"resourceType": "Patient", "extension": [nested]}, inner, named=()) == expected


def test_a_profile_of_a_primitive_type_bounds_its_value() -> None:
    short = profile("string", element("string.value", maxLength=3), name="short")
    asked = profile("Patient", element("Patient.name.family", type=[{"code": "string", "profile": [OWN + "short"]}]))
    for family, expected in (("abc", []), ("abcd", ["too-long Patient.name[0].family"])):
        assert errors({"resourceType": "Patient", "name": [{"family": family}]}, asked, short) == expected


def test_a_required_extension_is_found_by_its_definition() -> None:
    size = extension("size", element("Extension.value[x]", min=1, type=[{"code": "integer"}]))
    asked = profile(
        "Patient",
        sliced("Patient.extension", ("value", "url")),
        element("Patient.extension:size", min=1, type=[{"code": "Extension", "profile": [OWN + "size"]}]),
    )
    assert errors(PATIENT, asked, size) == ["required Patient.extension"]
    assert errors(PATIENT | {"extension": [{"url": OWN + "size", "valueInteger": 1}]}, asked, size) == []
    wrong = PATIENT | {"extension": [{"url": OWN + "size", "valueString": "1"}]}
    assert errors(wrong, asked, size) == ["structure Patient.extension[0].value"]


def test_issues_and_work_are_bounded() -> None:
    names = PATIENT | {"name": [{"family": "x"}] * 500}
    found = findings(names, profile("Patient", element("Patient.name.given", min=1)))
    assert (len(found), found[-1].code) == (101, "too-costly")
    slices = [
        part
        for n in range(200)
        for part in (element(f"Patient.identifier:s{n}"), element(f"Patient.identifier:s{n}.system", fixedUri=f"u:{n}"))
    ]
    many = PATIENT | {"identifier": [{"system": "u:none", "value": "1"}] * 5_000}
    found = findings(many, profile("Patient", sliced("Patient.identifier", ("value", "system")), *slices))
    assert [issue.code for issue in found] == ["too-costly"]
