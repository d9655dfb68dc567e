"""SearchParameter resources: what can be served, and why the rest is refused."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fhir_server.definitions import resource_types, search_parameters
from fhir_server.errors import BeingIndexed, UnknownParameter, Unprocessable
from fhir_server.search.choices import spelled
from fhir_server.search.definition import (
    Definition,
    clash,
    decode,
    encode,
    is_served_already,
    known_parameters,
    read_definition,
)
from fhir_server.search.extract import Indexer
from fhir_server.search.parameters import parameters_of
from fhir_server.search.parse import parse
from fhir_server.search.paths import paths
from fhir_server.search.query import Parameter
from fhir_server.search.readers import Readers
from fhir_server.search.registry import Kept, SearchParameters
from fhir_server.search.values import Composite, Quantity, Token

R4 = "http://hl7.org/fhir/SearchParameter/"
EYE = "Patient.extension('http://x.org/eye').value.ofType(code)"


def said(**more: Any) -> dict[str, Any]:
    """Return an active SearchParameter of Patients' eyes, with some elements changed; None takes one away."""
    whole = {
        "resourceType": "SearchParameter",
        "id": "eye",
        "url": "http://x.org/sp/eye",
        "name": "Eye",
        "status": "active",
        "description": "The colour of the eyes",
        "code": "eye",
        "base": ["Patient"],
        "type": "token",
        "expression": EYE,
    }
    return {key: value for key, value in {**whole, **more}.items() if value is not None}


def read(**more: Any) -> Definition:
    return read_definition(said(**more), known_parameters({}))


COMPOSITE = {
    "code": "eye-and-sex",
    "type": "composite",
    "expression": "Patient",
    "component": [
        {"definition": R4 + "individual-gender", "expression": "gender"},
        {"definition": R4 + "individual-birthdate", "expression": "birthDate"},
    ],
}


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        pytest.param({"type": "special"}, "type", "cannot be made", id="a special parameter"),
        pytest.param({"code": "_eye"}, "code", "starts with a letter", id="a code of the kind that R4 keeps"),
        pytest.param({"code": "eye.colour"}, "code", "letters", id="a code that reads as a chain"),
        pytest.param({"code": "eye:x"}, "code", "letters", id="a code that reads as a modifier"),
        pytest.param({"code": "gender"}, "code", "already", id="a code that R4 has for the type"),
        pytest.param({"expression": None}, "expression", "no FHIRPath expression", id="no expression"),
        pytest.param({"expression": None, "xpath": "f:Patient"}, "expression", "xpath", id="an xpath alone"),
        pytest.param({"expression": "Patient.nmae"}, "expression", "does not have", id="an element that is not there"),
        pytest.param({"expression": "Patient.name.("}, "expression", "cannot be evaluated", id="a broken expression"),
        pytest.param({"expression": "Patient.frob()"}, "expression", "cannot be evaluated", id="an unknown function"),
        pytest.param({"expression": "x" * 2001}, "expression", "longer", id="an expression without end"),
        pytest.param({"expression": "Observation.code"}, "expression", "none of the types", id="of another type"),
        pytest.param({"expression": "Patient.birthDate"}, "expression", "as token", id="values of another kind"),
        pytest.param({"base": ["Martian"]}, "base", "R4 does not have", id="a base that is no type"),
        pytest.param({"xpathUsage": "phonetic"}, "xpathUsage", "normal", id="a usage that is not evaluated"),
        pytest.param({"modifier": ["contains"]}, "modifier", "takes", id="a modifier that tokens do not take"),
        pytest.param({"comparator": ["gt"]}, "comparator", "numbers", id="comparators of a token"),
        pytest.param({"target": ["Patient"]}, "target", "Only a reference", id="targets of a token"),
        pytest.param(
            {"type": "reference", "expression": "Patient.generalPractitioner", "target": ["Martian"]},
            "target",
            "no resource type",
            id="a target that is no type",
        ),
        pytest.param({"component": COMPOSITE["component"]}, "component", "composite", id="components of a token"),
        pytest.param({**COMPOSITE, "component": []}, "component", "2 to 10", id="a composite of nothing"),
        pytest.param(
            {**COMPOSITE, "component": [COMPOSITE["component"][0], {"definition": "http://x", "expression": "id"}]},
            "component[1].definition",
            "No plain search parameter",
            id="a component that nobody knows",
        ),
        pytest.param(
            {
                **COMPOSITE,
                "component": [
                    COMPOSITE["component"][0],
                    {"definition": R4 + "Observation-code-value-quantity", "expression": "id"},
                ],
            },
            "component[1].definition",
            "No plain",
            id="a composite in a composite",
        ),
        pytest.param(
            {
                **COMPOSITE,
                "component": [
                    {"definition": R4 + "individual-gender", "expression": "gendre"},
                    COMPOSITE["component"][1],
                ],
            },
            "component[0].expression",
            "does not have",
            id="a component's element that is not there",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_the_reason(change: dict[str, Any], place: str, words: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        read(**change)
    issues = {issue.expression: issue.text for issue in caught.value.issues}
    assert words in issues[f"SearchParameter.{place}"]


def test_every_reason_is_named_at_once() -> None:
    with pytest.raises(Unprocessable) as caught:
        read(type="special", xpathUsage="nearby", base=["Martian"])
    assert len(caught.value.issues) == 3


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="a token in an extension"),
        pytest.param({"xpathUsage": "normal", "modifier": ["not", "missing"]}, id="what is said and served anyway"),
        pytest.param({"type": "reference", "expression": "Patient.link.other", "target": ["Patient"]}, id="a reference"),
        pytest.param({"type": "string", "expression": "Patient.name.suffix"}, id="a string"),
        pytest.param({"type": "date", "expression": "Patient.photo.creation", "comparator": ["gt"]}, id="a date"),
        pytest.param({"base": ["DomainResource"], "expression": "DomainResource.language", "code": "tongue"}, id="all"),
        pytest.param({"base": ["Patient", "Person"], "expression": "Patient.photo.title | Person.photo.title", "type": "string"}, id="two types"),
        pytest.param({"type": "token", "expression": "Patient.name.exists() and Patient.active"}, id="more than a way"),
        pytest.param(COMPOSITE, id="a composite"),
    ],
)  # fmt: skip
def test_what_can_be_evaluated_is_taken(change: dict[str, Any]) -> None:
    made = read(**change)
    assert decode(encode(made)) == made
    assert set(made.parameters()) >= {"Patient"}


def test_a_definition_is_indexed_under_a_name_that_says_what_it_says() -> None:
    one, same = read(), read(description="Something else", url="http://x.org/sp/other")
    others = [read(type="string"), read(expression=EYE + ".first()"), read(base=["Patient", "Person"])]
    assert one.name == same.name
    assert len({one.name, *(other.name for other in others)}) == 4


@pytest.mark.parametrize(
    ("resource", "answer"),
    [
        pytest.param(said(url=R4 + "individual-gender", code="gender"), True, id="R4's own, whatever it says"),
        pytest.param(
            said(code="gender", expression="Patient.gender", url="http://ig.org/p"), True, id="what a guide says again"
        ),
        pytest.param(
            said(code="gender", expression="gender", derivedFrom=R4 + "individual-gender", url="http://ig.org/p"),
            True,
            id="what is derived from it",
        ),
        pytest.param(said(code="gender", expression="Patient.active"), False, id="another meaning of the code"),
        pytest.param(said(code="gender", type="string", expression="Patient.gender"), False, id="another type"),
        pytest.param(said(), False, id="a code of its own"),
    ],
)
def test_what_r4_serves_already_is_known(resource: dict[str, Any], answer: bool) -> None:
    assert is_served_already(resource) is answer


def test_r4s_own_are_served_already() -> None:
    assert all(is_served_already({"url": definition.url}) for definition in search_parameters())


def test_two_definitions_clash_by_code_and_type() -> None:
    one = read()
    assert clash(one, [read(id="other")]) is not None
    assert (
        clash(one, [one, read(id="other", base=["Person"], expression="Person.gender"), read(id="o", code="i")]) is None
    )


# --- the registry -----------------------------------------------------------------------------------------

PATIENT = {"resourceType": "Patient", "id": "1", "gender": "female", "birthDate": "1970-01-01",
           "extension": [{"url": "http://x.org/eye", "valueCode": "blue"}]}  # fmt: skip


def test_a_pending_definition_is_indexed_and_refuses_to_answer() -> None:
    registry = SearchParameters()
    index = Indexer("UTC", "", registry)
    made = read()
    assert made.name not in index(PATIENT).values
    registry.replace([Kept(made, False)])
    assert index(PATIENT).values[made.name] == (Token("", "blue"),)
    assert "eye" not in registry.parameters_of("Patient")
    for pairs in ([("eye", "blue")], [("_sort", "eye")], [("eye:missing", "true")]):
        with pytest.raises(BeingIndexed):
            parse(("Patient",), pairs, zone="UTC", now=0, registry=registry)
    with pytest.raises(BeingIndexed):
        parse(("Observation",), [("subject.eye", "blue")], zone="UTC", now=0, registry=registry)
    with pytest.raises(BeingIndexed):
        parse(("Patient",), [("eye", "blue")], zone="UTC", now=0, registry=registry, lenient=True)


def test_a_ready_definition_answers_and_a_removed_one_is_unknown() -> None:
    registry = SearchParameters()
    index = Indexer("UTC", "", registry)
    registry.replace([Kept(read(), True)])
    (clause,) = parse(("Patient",), [("eye", "blue")], zone="UTC", now=0, registry=registry).where
    assert index(PATIENT).values[clause.parameter.code]  # type: ignore[union-attr]
    assert registry.url("Patient", "eye") == "http://x.org/sp/eye"
    assert "eye" in registry.parameters_of("Patient") and "gender" in registry.parameters_of("Patient")
    registry.replace([])
    assert list(index(PATIENT).values) == list(Indexer("UTC")(PATIENT).values)
    with pytest.raises(UnknownParameter):
        parse(("Patient",), [("eye", "blue")], zone="UTC", now=0, registry=registry)


def test_the_revision_grows_with_changes_only() -> None:
    registry = SearchParameters()
    registry.replace([Kept(read(), False)])
    registry.replace([Kept(read(), False)])
    assert registry.revision == 1


def test_two_definitions_of_one_code_are_not_one_parameter_of_a_search_over_types() -> None:
    registry = SearchParameters()
    person = read(id="other", base=["Person"], expression="Person.gender")
    registry.replace([Kept(read(), True), Kept(person, True)])
    parse(("Person",), [("eye", "blue")], zone="UTC", now=0, registry=registry)
    with pytest.raises(UnknownParameter):
        parse(("Patient", "Person"), [("eye", "blue")], zone="UTC", now=0, registry=registry)


@pytest.mark.parametrize("expression", ["value.as(Quantity)", "valueQuantity"])
def test_a_composite_of_ones_own_is_indexed(expression: str) -> None:
    registry = SearchParameters()
    definition = read(
        code="systolic",
        base=["Observation"],
        type="composite",
        expression="Observation.component",
        component=[
            {"definition": R4 + "clinical-code", "expression": "code"},
            {"definition": R4 + "Observation-value-quantity", "expression": expression},
        ],
    )
    registry.replace([Kept(definition, True)])
    component = {"code": {"coding": [{"code": "s"}]}, "valueQuantity": {"value": 140, "code": "mm[Hg]"}}
    values = Indexer("UTC", "", registry)({"resourceType": "Observation", "component": [component]}).values
    (found,) = values[definition.name]
    assert isinstance(found, Composite)
    assert isinstance(found.parts[0], Token) and isinstance(found.parts[1], Quantity)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        pytest.param("Patient.extension('http://x.org/eye').valueCode", EYE, id="of an extension"),
        pytest.param("Patient.extension('a.valueCode').valueCode", "Patient.extension('a.valueCode').value.ofType(code)", id="not in a text"),
        pytest.param("Observation.component.valueQuantity.value", "Observation.component.value.ofType(Quantity).value", id="of a part"),
        pytest.param("Observation.effectiveDateTime | Observation.issued", "Observation.effective.ofType(dateTime) | Observation.issued", id="of a resource"),
        pytest.param("Patient.birthDate", "Patient.birthDate", id="what is no choice stays"),
        pytest.param("Patient.deceased as dateTime", "Patient.deceased as dateTime", id="FHIRPath's own way stays"),
    ],
)  # fmt: skip
def test_choices_are_read_by_the_names_that_json_has(said: str, read: str) -> None:
    assert spelled(said, ["Patient", "Observation"]) == read


def test_no_expression_of_r4_is_changed() -> None:
    every = sorted(resource_types())
    for parameter in search_parameters():
        assert spelled(parameter.expression, every) == parameter.expression


def test_a_parameter_that_names_a_choice_as_json_does_is_indexed() -> None:
    registry = SearchParameters()
    definition = read(expression="Patient.extension.where(url = 'http://x.org/eye').valueCode")
    registry.replace([Kept(definition, True)])
    blue = {"resourceType": "Patient", "extension": [{"url": "http://x.org/eye", "valueCode": "blue"}]}
    (found,) = Indexer("UTC", "", registry)(blue).values[definition.name]
    assert isinstance(found, Token) and found.code == "blue"


def test_what_was_just_written_is_asked_by_pending_definitions_too() -> None:
    registry = SearchParameters()
    made = read()
    registry.replace([Kept(made, False)])
    (clause,) = parse(("Patient",), [("eye", "blue")], zone="UTC", now=0, registry=registry.written).where
    assert clause.parameter.code == made.name  # type: ignore[union-attr]
    assert {"eye", "gender"} <= set(registry.written.parameters_of("Patient"))


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("Patient.name.family.single()", id="several where one is allowed"),
        pytest.param("Patient.birthDate.toString().substring(2).toInteger() / 0", id="a division by nothing"),
        pytest.param("Patient.name.family.matches('[')", id="a pattern that is none"),
        pytest.param("Patient.name.given.select($this.toInteger().power(999999))", id="a number without bounds"),
        pytest.param("Patient.repeat($this)", id="what repeats itself"),
    ],
)
def test_an_expression_that_fails_on_a_resource_hinders_no_write(expression: str) -> None:
    registry = SearchParameters()
    registry.replace([Kept(read(type="string", expression=expression), True)])
    index = Indexer("UTC", "", registry)
    resource = {**PATIENT, "name": [{"family": "7", "given": ["9"]}, {"family": "8", "given": ["99"]}]}
    assert index(resource).values["gender"] == (Token("", "female"),)


def test_everything_that_r4_defines_can_find_something() -> None:
    readers = Readers(ZoneInfo("UTC"))

    def finds(parameter: Parameter, expression: str, type: str) -> bool:
        ways = paths(expression, type)
        if ways is None or parameter.type != "composite":
            return ways is None or any(readers.find(parameter.type, way.type) is not None for way in ways)
        return any(all(finds(part, part.expression, way.type) for part in parameter.components) for way in ways)

    parameters = [(type, p) for type in resource_types() for p in parameters_of(type).values()]
    assert [(type, p.code) for type, p in parameters if not finds(p, p.expression, type)] == []
