"""The functions and operators where the official suite is silent: empty input, odd types, bounds of cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fhir_server.fhirpath import EvaluationError, compile

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "1",
    "gender": "female",
    "birthDate": "1950-04-01",
    "name": [{"family": "Durand", "given": ["Anne"]}, {"family": "Durand", "given": ["Anne"]}, {"family": "Roux"}],
    "maritalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "M"}]},
    "contained": [{"resourceType": "Group", "id": "g", "active": True, "type": "person"}],
    "managingOrganization": {"reference": "#"},
    "generalPractitioner": [{"reference": "#g"}],
    "deceasedDateTime": "2020-01-01T10:00:00Z",
}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        # empty input gives an empty result
        *(
            pytest.param(f"{{}}.{call}", [], id=f"{call} of nothing is nothing")
            for call in ("abs()", "ceiling()", "round()", "sqrt()", "ln()", "log(2)", "power(2)", "toInteger()", "trim()",
                         "toQuantity()", "convertsToDate()", "lowBoundary()", "precision()", "not()", "upper()", "single()",
                         "comparable(1 'g')", "extension('x')", "resolve()", "toChars()", "split(',')", "join(',')",
                         "iif(false, 1)", "getValue()", "type()", "truncate()", "exp()", "children()", "first()")
        ),
        # existence
        pytest.param("(true | false).allTrue()", [False], id="allTrue of both"),
        pytest.param("(true | false).anyTrue()", [True], id="anyTrue of both"),
        pytest.param("(true | false).anyFalse()", [True], id="anyFalse of both"),
        pytest.param("(true | false).allFalse()", [False], id="allFalse of both"),
        pytest.param("gender.getValue()", ["female"], id="getValue of a primitive"),
        pytest.param("name.getValue()", [], id="getValue of what is none"),
        pytest.param("3.hasValue()", [True], id="a constant has a value"),
        pytest.param("name.isDistinct()", [False], id="equal elements are not distinct"),
        pytest.param("name.distinct().count()", [2], id="equal elements are one"),
        pytest.param("name[0] = name[1]", [True], id="elements are equal by content"),
        pytest.param("name[0] = name[2]", [False], id="and unequal by content"),
        pytest.param("name[0] ~ name[1]", [True], id="and equivalent"),
        pytest.param("name.take(2) ~ name.skip(1)", [False], id="collections of other content are not"),
        pytest.param("name intersect", None, id="a function is no operator"),
        pytest.param("name.intersect(name[2]).family", ["Roux"], id="intersect by content"),
        pytest.param("name.exclude(name[0]).family", ["Roux"], id="exclude by content"),
        pytest.param("name[2] in name", [True], id="in by content"),
        pytest.param("name.skip(-1).count()", [3], id="skipping less than none"),
        pytest.param("name.take(-1)", [], id="taking less than none"),
        pytest.param("name[5]", [], id="an index beyond the end"),
        pytest.param("deceased = @2020-01-01T11:00:00+01:00", [True], id="equal moments in other zones"),
        pytest.param("(@2020-01-01T10:00:00Z | @2020-01-01T11:00:00+01:00).count()", [1], id="are one in a union"),
        pytest.param("(1 'g' | 1000 'mg').count()", [1], id="equal quantities are one in a union"),
        pytest.param("name.aggregate($total + 1, 0)", [3], id="aggregate counts"),
        pytest.param("name.sort(family).family", ["Durand", "Durand", "Roux"], id="sort by an element"),
        pytest.param("name.sort(-family).family", ["Roux", "Durand", "Durand"], id="sort falling"),
        pytest.param("name.sort(given.first()).family", ["Roux", "Durand", "Durand"], id="what has no value comes first"),
        # arithmetic
        pytest.param("1 + {}", [], id="a sum with nothing"),
        pytest.param("9223372036854775807 + 1", [], id="an overflow is empty"),
        pytest.param("-7 div 2", [-3], id="div cuts off towards zero"),
        pytest.param("-7 mod 2", [-1], id="mod has the sign of the left"),
        pytest.param("7.5 mod 2", [Decimal("1.5")], id="mod of a decimal"),
        pytest.param("-(1 'g')", [{"value": Decimal(-1), "unit": "g", "system": "http://unitsofmeasure.org", "code": "g"}],
                     id="a negative quantity"),
        pytest.param("(2 'g' - 500 'mg').value", [], id="a System quantity has no elements"),
        pytest.param("2 'g' - 500 'mg' = 1.5 'g'", [True], id="a difference of quantities"),
        pytest.param("6 'g' / 2 = 3 'g'", [True], id="a quantity over a number"),
        pytest.param("2 * 3 'g' = 6 'g'", [True], id="a number times a quantity"),
        pytest.param("6 'g' / 0", [], id="a quantity over zero"),
        pytest.param("6 'g' / 0 'm'", [], id="a quantity over a quantity of zero"),
        pytest.param("6 'g' * 2 'furlong'", [], id="a quantity of an unknown unit"),
        pytest.param("1 = 1 '1'", [True], id="a number is a quantity of the unit 1"),
        pytest.param("1 '1' = 1", [True], id="on either side"),
        pytest.param("1 'furlong' = 1 'furlong'", [True], id="the same unknown unit compares"),
        pytest.param("1 'furlong' = 1 'm'", [], id="an unknown unit does not"),
        pytest.param("1 year = 12 months", [True], id="calendar years are months"),
        # numbers
        pytest.param("(-0.5).round()", [Decimal(-1)], id="halves are rounded away from zero"),
        pytest.param("0.ln()", [], id="the logarithm of zero"),
        pytest.param("(-8).log(2)", [], id="the logarithm of a negative number"),
        pytest.param("10.power(40)", [Decimal("1E+40")], id="a large power is a decimal"),
        pytest.param("10.power(1000000000)", [], id="too large a power is nothing"),
        pytest.param("1000000.exp() = {}", [], id="too large an exponential is nothing"),
        pytest.param("1.5.ceiling() + (-1.5).floor() + 1.9.truncate()", [1], id="ceiling, floor and truncate"),
        pytest.param("(5 'mg').abs() = 5 'mg'", [True], id="abs of a quantity"),
        # conversion
        pytest.param("'T'.toBoolean()", [True], id="letters are booleans"),
        pytest.param("2.5.toBoolean()", [], id="other numbers are not"),
        pytest.param("'1e3'.toDecimal()", [], id="an exponent is no decimal"),
        pytest.param("deceased.toDate()", ["2020-01-01"], id="the day of a moment"),
        pytest.param("birthDate.toDateTime() is DateTime", [True], id="a day as a moment"),
        pytest.param("'10:30'.toTime()", ["10:30"], id="a time"),
        pytest.param("@T10:30.toTime()", ["10:30"], id="a time is one"),
        pytest.param("birthDate.toTime()", [], id="a date is no time"),
        pytest.param("name[0].toString()", [], id="an element has no text"),
        pytest.param("1.toQuantity('mg')", [], id="a number has no mass"),
        pytest.param("'2 weeks'.toQuantity('day').toString()", ["14 day"], id="calendar words convert"),
        pytest.param("true.toQuantity().toString()", ["1.0 '1'"], id="true is one"),
        # strings
        pytest.param("'abc'.lastIndexOf('c')", [2], id="lastIndexOf"),
        pytest.param("'abc'.substring(1, 0)", [""], id="a substring of no length"),
        pytest.param("'abc'.split('')", ["a", "b", "c"], id="split into letters"),
        pytest.param("'abc'.encode('rot13')", [], id="an unknown encoding"),
        pytest.param("'a\"b'.unescape('json')", ['a"b'], id="quotes may stand unescaped"),
        pytest.param("'a'.escape('yaml')", [], id="an unknown escape"),
        pytest.param("birthDate.startsWith('1950')", [True], id="a FHIR date is also its text"),
        # boundaries
        pytest.param("birthDate.highBoundary()", ["1950-04-01"], id="a day is its own last day"),
        pytest.param("@2014-02.highBoundary()", ["2014-02-28"], id="the last day of a month"),
        pytest.param("@2014-02.lowBoundary(5)", [], id="no date has five digits"),
        pytest.param("@T10.highBoundary()", ["10:59:59.999"], id="the last moment of an hour"),
        pytest.param("@T10.highBoundary(3)", [], id="no time has three digits"),
        pytest.param("1.0 'g'.lowBoundary(-1)", [], id="no quantity has less than no digits"),
        pytest.param("'a'.precision()", [], id="a text has no precision"),
        pytest.param("1.comparable(2)", [], id="numbers are not asked whether they compare"),
        # FHIR
        pytest.param("maritalStatus.memberOf('http://hl7.org/fhir/ValueSet/administrative-gender')", [False],
                     id="a concept is a member by its codings"),
        pytest.param("contained.first().is(Group)", [True], id="a contained resource is of its type"),
        pytest.param("generalPractitioner.resolve().type", ["person"], id="a contained resource is found"),
        pytest.param("managingOrganization.resolve().gender", ["female"], id="# alone is the container"),
        pytest.param("name.memberOf('http://hl7.org/fhir/ValueSet/administrative-gender')", [], id="several items are none"),
        pytest.param("conformsTo({})", [], id="nothing is asked"),
        pytest.param("contained.where(id in %resource.generalPractitioner.reference.select(substring(1))).exists()", [True],
                     id="paths from %resource are evaluated once"),
        pytest.param("name.where(%resource.name.count() = 3).count()", [3], id="and used for each item"),
    ],
)  # fmt: skip
def test_functions(expression: str, found: list[Any] | None) -> None:
    if found is None:
        with pytest.raises(Exception, match="Unexpected token"):
            compile(expression)
    else:
        assert compile(expression)(PATIENT) == found


@pytest.mark.parametrize(
    "expression",
    [
        "name.allTrue()", "'a' * 2", "'a' div 2", "'a' mod 2", "-'a'", "1 - 'a'", "'a' / 'b'", "name.abs()", "'a'.round()",
        "1.round(99)", "1.upper()", "'a'.substring('b')", "'a'.lowBoundary()", "1.5 & 'a'", "'\\u12'.unescape('json')",
        "'zz'.decode('hex')", "true and (1 | 2)", "name[0] < name[1]", "true < false", "name.family.indexOf('a')",
    ],
)  # fmt: skip
def test_types_that_do_not_fit_are_errors(expression: str) -> None:
    with pytest.raises(EvaluationError):
        compile(expression)(PATIENT)


LARGE = {
    "resourceType": "Questionnaire",
    "item": [{"linkId": str(i), "code": [{"system": "a", "code": str(i)}]} for i in range(3_000)],
}


@pytest.mark.parametrize(
    "expression",
    [
        "descendants().select(%resource.descendants())",
        "item.where($this in %resource.item)",
        "item.where(%resource.item = %resource.item)",
        "item.where(%resource ~ %resource)",
        "item.where(%resource = %resource).where(%resource = %resource)",
        "item.all(%resource.item.where(linkId = '5').exists())",
    ],
)
def test_what_would_take_long_comes_to_an_end(expression: str) -> None:
    with pytest.raises(EvaluationError, match="costs more"):
        compile(expression, "Questionnaire")(LARGE)


def test_what_is_linear_in_a_large_resource_is_allowed() -> None:
    compiled = compile("descendants().linkId.isDistinct() and item.distinct().count() = item.count()", "Questionnaire")
    assert compiled(LARGE) == [True]
