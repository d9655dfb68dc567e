"""What the official suite does not say: inputs, results, FHIR's own functions, bounds."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from fhir_server.fhirpath import Environment, EvaluationError, InvalidExpression, Node, compile

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "1",
    "active": True,
    "name": [{"family": "Durand", "given": ["Anne", "Marie"]}, {"use": "usual", "given": ["Annie"]}],
    "birthDate": "1950-04",
    "_birthDate": {"extension": [{"url": "urn:x:note", "valueString": "told"}]},
    "_gender": {"extension": [{"url": "urn:x:absent", "valueCode": "unknown"}]},
    "multipleBirthInteger": 2,
    "contained": [{"resourceType": "Practitioner", "id": "p", "name": [{"family": "Roux"}]}],
    "generalPractitioner": [
        {"reference": "#p"},
        {"reference": "Organization/7"},
        {"reference": "http://other.example/fhir/PractitionerRole/8/_history/2"},
        {"type": "Practitioner", "identifier": {"value": "810"}},
        {"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"},
        {"display": "someone"},
    ],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "subject": {"reference": "Patient/1"},
    "valueQuantity": {"value": Decimal("1.10"), "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    "component": [
        {"valueQuantity": {"value": 1, "code": "kg", "system": "http://unitsofmeasure.org"}},
        {"valueString": "none"},
        {"valueQuantity": {"value": 5, "comparator": "<", "unit": "drops"}},
    ],
}
NOON = Environment(clock=lambda: datetime(2026, 11, 20, 12, 0, 0, 123456, UTC))


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        pytest.param("name.given", ["Anne", "Marie", "Annie"], id="a path goes through lists"),
        pytest.param("Patient.name[1].given", ["Annie"], id="an index counts from 0"),
        pytest.param("Resource.id", ["1"], id="a path may start with a base type"),
        pytest.param("Observation.status", [], id="a path that starts with another type finds nothing"),
        pytest.param("name.nothing", [], id="an element that does not exist is empty unless strict"),
        pytest.param("gender", [], id="a primitive without a value gives no plain value"),
        pytest.param("gender.exists()", [True], id="a primitive with extensions alone exists"),
        pytest.param("gender.hasValue()", [False], id="a primitive with extensions alone has no value"),
        pytest.param("gender.extension('urn:x:absent').value", ["unknown"], id="extensions of a primitive are found"),
        pytest.param("birthDate.extension.value", ["told"], id="extensions of a primitive with a value are found"),
        pytest.param("birthDate.hasExtension('urn:x:note')", [True], id="hasExtension asks by url"),
        pytest.param("birthDate", ["1950-04"], id="dates come back as they are written"),
        pytest.param("birthDate < @1951", [True], id="dates compare as dates"),
        pytest.param("multipleBirth", [2], id="a choice is named without its type"),
        pytest.param("multipleBirth is integer", [True], id="a choice knows its type"),
        pytest.param("multipleBirth as boolean", [], id="a cast to another type is empty"),
        pytest.param("contained.name.family", ["Roux"], id="contained resources have their own type"),
        pytest.param("contained is Practitioner", [True], id="contained resources say their type"),
        pytest.param("name.where(use = 'usual').given | name.given", ["Annie", "Anne", "Marie"], id="a union is distinct"),
        pytest.param("name.select(given.first())", ["Anne", "Annie"], id="select maps each item"),
        pytest.param("name.given.where($index > 0)", ["Marie", "Annie"], id="$index is the place in the input"),
        pytest.param("today() + 1 day", ["2026-11-21"], id="dates are made into JSON strings"),
        pytest.param("now()", ["2026-11-20T12:00:00.123Z"], id="now() is the clock's moment"),
        pytest.param("now() = now()", [True], id="now() is one moment in an evaluation"),
        pytest.param("timeOfDay()", ["12:00:00.123"], id="timeOfDay() is the clock's time"),
        pytest.param(
            "4 'mg'",
            [{"value": Decimal(4), "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}],
            id="a quantity is made into FHIR's",
        ),
        pytest.param("4 days", [{"value": Decimal(4), "unit": "day"}], id="a calendar duration has no UCUM code"),
        pytest.param("active.type()", [{"namespace": "FHIR", "name": "boolean"}], id="type() says namespace and name"),
        pytest.param("%context.id & %resource.id & %rootResource.id", ["111"], id="the input is context and resource"),
        pytest.param("%`ext-x` & %`vs-y`", ["http://hl7.org/fhir/StructureDefinition/xhttp://hl7.org/fhir/ValueSet/y"],
                     id="vs- and ext- variables are urls"),
        pytest.param("name.given.join('-')", ["Anne-Marie-Annie"], id="join puts texts together"),
        pytest.param("children().count() = descendants().count()", [False], id="descendants are more than children"),
        pytest.param("gender.memberOf('http://hl7.org/fhir/ValueSet/administrative-gender')", [False],
                     id="what has no value is no member"),
        pytest.param("'male'.memberOf('http://hl7.org/fhir/ValueSet/administrative-gender')", [True],
                     id="a code is a member of a closed value set"),
        pytest.param("'male'.memberOf('http://example.org/unknown')", [], id="membership of an open set is unknown"),
        pytest.param("conformsTo('http://hl7.org/fhir/StructureDefinition/DomainResource')", [True],
                     id="a resource conforms to its bases"),
    ],
)  # fmt: skip
def test_expressions_on_a_patient(expression: str, found: list[Any]) -> None:
    assert compile(expression, "Patient")(PATIENT, environment=NOON) == found
    if "now" not in expression and "today" not in expression and "timeOfDay" not in expression:
        assert compile(expression)(PATIENT) == found


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        pytest.param("generalPractitioner.where(resolve() is Practitioner).count()", [2], id="contained, and by type"),
        pytest.param("generalPractitioner.where(resolve() is Organization).reference", ["Organization/7"], id="by its text"),
        pytest.param("generalPractitioner.where(resolve() is PractitionerRole).count()", [1], id="elsewhere, with version"),
        pytest.param("generalPractitioner.resolve().count()", [4], id="what says no type is not resolved"),
        pytest.param("generalPractitioner.first().resolve().name.family", ["Roux"], id="a contained one has content"),
        pytest.param("generalPractitioner[1].resolve().name", [], id="one that is not at hand has none"),
    ],
)  # fmt: skip
def test_resolve_without_a_resolver(expression: str, found: list[Any]) -> None:
    assert compile(expression, "Patient")(PATIENT) == found


def test_resolve_asks_the_resolver_first() -> None:
    known = {"Organization/7": {"resourceType": "Organization", "name": "CHU"}}
    environment = Environment(resolver=known.get)
    assert compile("generalPractitioner.resolve().ofType(Organization).name")(PATIENT, environment=environment) == [
        "CHU"
    ]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        pytest.param("value.unit", ["kg"], id="a choice's own elements follow it"),
        pytest.param("(Observation.value as Quantity).value", [Decimal("1.10")], id="decimals stay as written"),
        pytest.param("value.value.toString()", ["1.10"], id="decimals print as written"),
        pytest.param("(component.value as Quantity).value", [1, 5], id="as takes several items unless strict"),
        pytest.param("value > component[0].value", [True], id="quantities compare"),
        pytest.param("value = 1100 'g'", [True], id="units are converted"),
        pytest.param("component[2].value < 9 'kg'", [], id="a comparator leaves the order open"),
        pytest.param("component.value.ofType(string)", ["none"], id="ofType filters"),
        pytest.param("subject.resolve() is Patient", [True], id="a local reference says its type"),
        pytest.param("component.select(value is Quantity)", [True, False, True], id="is asks item by item"),
    ],
)  # fmt: skip
def test_expressions_on_an_observation(expression: str, found: list[Any]) -> None:
    assert compile(expression, "Observation")(OBSERVATION) == found


@pytest.mark.parametrize(
    ("expression", "type", "value", "found"),
    [
        pytest.param("code.empty() or system.exists()", "Quantity", {"code": "kg"}, [False], id="a data type"),
        pytest.param("value is Quantity", "Observation.component", OBSERVATION["component"][0], [True], id="a backbone"),
        pytest.param("empty() or ($this = '*')", "string", "*", [True], id="a primitive"),
        pytest.param("hasValue() or children().exists()", "date", Node(None, "date", {"id": "a"}), [True], id="a node"),
        pytest.param("value.exists()", "", {"valueString": "a"}, [True], id="a choice of an unknown type by its key"),
        pytest.param("a.b", "", {"a": [{"b": 1}, {"b": 2}]}, [1, 2], id="keys of an unknown type"),
    ],
)  # fmt: skip
def test_inputs_other_than_resources(expression: str, type: str, value: Any, found: list[Any]) -> None:
    assert compile(expression, type)(value) == found


def test_resource_and_root_are_what_they_are_said_to_be() -> None:
    compiled = compile("%resource.status & %rootResource.id", "Reference")
    assert compiled(OBSERVATION["subject"], resource=OBSERVATION, root=PATIENT) == ["final1"]


def test_variables_are_json() -> None:
    environment = Environment(variables={"patient": PATIENT, "many": [1, 2], "none": None})
    found = compile("%patient.name.family | %many | %none")({}, environment=environment)
    assert found == ["Durand", 1, 2]


def test_trace_tells_name_and_plain_values() -> None:
    told: list[tuple[str, list[Any]]] = []
    environment = Environment(trace=lambda name, values: told.append((name, values)))
    assert compile("name.trace('names', given).count()")(PATIENT, environment=environment) == [2]
    assert told == [("names", ["Anne", "Marie", "Annie"])]


@pytest.mark.parametrize(
    ("expression", "held"),
    [
        pytest.param("active", True, id="true holds"),
        pytest.param("active.not()", False, id="false does not"),
        pytest.param("deceased", False, id="nothing does not"),
        pytest.param("id", True, id="one item that is no boolean holds"),
    ],
)
def test_an_invariant_holds_when_it_is_true(expression: str, held: bool) -> None:
    assert compile(expression, "Patient").holds(PATIENT) is held


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("", id="nothing"),
        pytest.param("name.", id="a dot at the end"),
        pytest.param("(1", id="an open parenthesis"),
        pytest.param("1 = = 2", id="two operators"),
        pytest.param("'a", id="an open string"),
        pytest.param("@2020-13", id="a month that is none"),
        pytest.param("@T25", id="an hour that is none"),
        pytest.param("name.frobnicate()", id="an unknown function"),
        pytest.param("name.first(1)", id="an argument too many"),
        pytest.param("name.where()", id="an argument too few"),
        pytest.param("name is Nobody", id="an unknown type"),
        pytest.param("$that", id="an unknown special name"),
        pytest.param("(" * 60 + "1" + ")" * 60, id="deep nesting"),
        pytest.param(".a".join(["a"] * 200), id="a path of 200 names"),
        pytest.param("a" * 20_001, id="a long text"),
    ],
)
def test_an_expression_that_is_none_is_refused(expression: str) -> None:
    with pytest.raises(InvalidExpression):
        compile(expression)


@pytest.mark.parametrize(
    ("expression", "type"),
    [
        pytest.param("name.frobnicate", "Patient", id="an element that the type does not have"),
        pytest.param("Observation.status", "Patient", id="another type at the start"),
        pytest.param("valueQuantity.unit", "Observation", id="the JSON key of a choice"),
        pytest.param("children().first()", "Patient", id="the first of what has no order"),
    ],
)
def test_strict_refuses_what_the_type_does_not_have(expression: str, type: str) -> None:
    with pytest.raises(InvalidExpression):
        compile(expression, type, strict=True)


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("name.single()", id="several items where one is expected"),
        pytest.param("name.given.upper()", id="a function of one string on several"),
        pytest.param("1 + 'a'", id="a number and a string"),
        pytest.param("1 < 'a'", id="an order between types"),
        pytest.param("@T10 < @2020", id="an order between a time and a date"),
        pytest.param("%nobody", id="a variable that is not given"),
        pytest.param("iif('a', 1, 2)", id="a criterion that is no boolean"),
        pytest.param("@2020 + 1 'kg'", id="a date and a weight"),
        pytest.param("@9999 + 1 year", id="a date after the year 9999"),
        pytest.param("conformsTo('http://example.org/profile')", id="a profile that is not known"),
        pytest.param("'1'.decode('base64')", id="a text that is not encoded"),
        pytest.param("(1|2|3|4|5|6|7|8|9).aggregate($total & $total & '1234567890' & $total & $total & $total & $total "
                     "& $total, 'aaaaaaaa')", id="a string that grows without bound"),
        pytest.param("(1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16|17|18|19|20|21|22).aggregate($total.combine($total), 1)",
                     id="a collection that grows without bound"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_input_is_an_error(expression: str) -> None:
    with pytest.raises(EvaluationError):
        compile(expression)(PATIENT)


def test_errors_show_no_value() -> None:
    with pytest.raises(EvaluationError) as caught:
        compile("name.given.upper()")(PATIENT)
    assert "Anne" not in caught.value.text


def test_the_input_is_not_changed_and_not_shared() -> None:
    found = compile("name", "Patient")(PATIENT)
    found.clear()
    assert len(PATIENT["name"]) == 2


def test_a_compiled_expression_is_kept() -> None:
    assert compile("name.given", "Patient") is compile("name.given", "Patient")
