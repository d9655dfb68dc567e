"""The language of `_filter`: what it reads, what it means, where it says that it cannot be read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import BadParameter, FhirError, TooCostly, UnknownParameter
from fhir_server.search.filter import MAX_TEXT, OPERATORS, Both, Comparison, Either, Negation, Step, read_filter
from fhir_server.search.parse import parse
from fhir_server.search.query import AllOf, AnyOf, Chain, Clause, Has, Match, Not

NOW = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z


def one(name: str, operator: str, value: str, at: int = 1) -> Comparison:
    return Comparison((Step(name),), operator, value, at)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a eq 1", one("a", "eq", "1"), id="a test"),
        pytest.param('  a  co\t"x y" ', one("a", "co", "x y", 3), id="space around and a string"),
        pytest.param(r'a co "x\"\u00e9"', one("a", "co", 'x"é'), id="escapes of JSON"),
        pytest.param("(a eq 1)", one("a", "eq", "1", 2), id="parentheses alone"),
        pytest.param("a eq 1 or b eq 2 or c eq 3", Either((one("a", "eq", "1"), one("b", "eq", "2", 11), one("c", "eq", "3", 21))), id="a list of or"),
        pytest.param("a eq 1 or b eq 2 and c eq 3", Both((Either((one("a", "eq", "1"), one("b", "eq", "2", 11))), one("c", "eq", "3", 22))), id="left to right: no word binds tighter"),
        pytest.param("a eq 1 or (b eq 2 and c eq 3)", Either((one("a", "eq", "1"), Both((one("b", "eq", "2", 12), one("c", "eq", "3", 23))))), id="parentheses bind"),
        pytest.param("not(a eq 1)", Negation(one("a", "eq", "1", 5)), id="not"),
        pytest.param("not eq 1", one("not", "eq", "1"), id="a parameter may be named not"),
        pytest.param("a.b:T.c eq http://x|1", Comparison((Step("a"), Step("b:T"), Step("c")), "eq", "http://x|1", 1), id="a chain with a type, a value with a bar"),
        pytest.param("a[b eq c].d pr true", Comparison((Step("a", one("b", "eq", "c", 3)), Step("d")), "pr", "true", 1), id="brackets"),
        pytest.param("_has:A:b:c eq 1", one("_has:A:b:c", "eq", "1"), id="_has"),
        pytest.param("a eq 1)", None, id="a parenthesis too many"),
        pytest.param("(a eq 1", None, id="a parenthesis too few"),
        pytest.param("a[b eq c] pr true", None, id="brackets at the end of a path"),
        pytest.param("a[b eq c.d eq 1", None, id="an open bracket"),
        pytest.param("", None, id="nothing"),
        pytest.param("a", None, id="a name alone"),
        pytest.param("a is 1", None, id="no such operator"),
        pytest.param("a EQ 1", None, id="operators are small letters"),
        pytest.param("a eq", None, id="no value"),
        pytest.param('a eq"x"', None, id="no space before the value"),
        pytest.param('a eq "x', None, id="an open string"),
        pytest.param(r'a eq "\ud800"', None, id="half a character"),
        pytest.param("a eq 1 b eq 2", None, id="no word between"),
        pytest.param("a eq 1 and", None, id="nothing after and"),
        pytest.param("not a eq 1", None, id="not without parentheses"),
        pytest.param(".a eq 1", None, id="a dot first"),
    ],
)  # fmt: skip
def test_reading(text: str, expected: object) -> None:
    if expected is None:
        with pytest.raises(BadParameter, match=r"^The parameter '_filter' cannot be read at character [0-9]+: "):
            read_filter(text)
    else:
        assert read_filter(text) == expected


@pytest.mark.parametrize(
    ("text", "place"), [("a eq 1 xor b eq 2", 8), ("name is x", 6), ("(a eq 1", 8), ("a eq 1 and ", 12)]
)
def test_an_error_names_the_place(text: str, place: int) -> None:
    with pytest.raises(BadParameter, match=f"at character {place}:"):
        read_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("(" * 11 + "a eq 1" + ")" * 11, id="too deep"),
        pytest.param(" and ".join(["a eq 1"] * 101), id="too many tests"),
        pytest.param("a eq " + "1" * MAX_TEXT, id="too long"),
        pytest.param("(" * 100_000, id="a flood of parentheses"),
    ],
)
def test_bounds(text: str) -> None:
    with pytest.raises(TooCostly):
        read_filter(text)


@given(st.text(alphabet=st.sampled_from('ab:_-.[]()"\\ eqcondrt1'), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_filter(text)
    except FhirError as error:
        assert error.status == 400


@given(st.text(min_size=1).filter(lambda s: s.isprintable()), st.sampled_from(sorted(OPERATORS)))
def test_a_string_comes_through_whole(text: str, operator: str) -> None:

    made = read_filter(f"name {operator} {json.dumps(text)}")
    assert isinstance(made, Comparison) and (made.operator, made.value) == (operator, text)


# --- meaning ------------------------------------------------------------------------------------------------


def clause(type: str, text: str) -> Clause:
    (found,) = parse((type,), [("_filter", text)], zone="Europe/Paris", now=NOW).where
    return found


def shape(found: Clause) -> str:
    """Return a clause in short: parameter, modifier, prefixes."""
    match found:
        case Match(parameter, asks, modifier, missing):
            name = f"{parameter.code}{':' + modifier if modifier else ''}"
            return f"{name}={missing}" if modifier == "missing" else f"{name} {asks[0].prefix}"
        case Chain(parameter, targets, then):
            return f"{parameter.code}>{','.join(targets)}({'; '.join(sorted({shape(one) for one in then}))})"
        case Has(source, parameter, then):
            return f"{source}.{parameter.code}<({shape(then)})"
        case Not(inner):
            return f"not({shape(inner)})"
        case AllOf(parts):
            return "(" + " and ".join(map(shape, parts)) + ")"
        case AnyOf(parts):
            return "(" + " or ".join(map(shape, parts)) + ")"


MEANINGS = [
    ("Patient", "name eq x", "name:equals eq"),
    ("Patient", "name co x", "name:contains eq"),
    ("Patient", "name sw x", "name eq"),
    ("Patient", "name ew x", "name:ends eq"),
    ("Patient", "name ne x", "(name:missing=False and not(name:equals eq))"),
    ("Patient", "gender ne male", "(gender:missing=False and not(gender eq))"),
    ("Patient", "name pr true", "name:missing=False"),
    ("Patient", "name pr false", "name:missing=True"),
    ("Patient", "birthdate ne 1950", "birthdate ne"),
    ("Patient", "birthdate ge 1950", "birthdate ge"),
    ("Patient", "birthdate sa 1950", "birthdate sa"),
    ("Patient", "birthdate eb 1950", "birthdate eb"),
    ("Patient", "birthdate ap 1950", "birthdate ap"),
    ("Encounter", "date po 2026", "date ap"),
    ("Observation", "value-quantity lt 5.4|http://unitsofmeasure.org|mg", "value-quantity lt"),
    ("Observation", "subject re Patient/1", "subject eq"),
    ("Observation", "code in http://x", "code:in eq"),
    ("Observation", "code ni ValueSet/1", "code:not-in eq"),
    ("Observation", "code ss http://x|1", "code:below eq"),
    ("Observation", "code sb http://x|1", "code:above eq"),
    ("ValueSet", "url ss http://x", "url:below eq"),
    ("Observation", 'code-value-quantity eq "a$1"', "code-value-quantity eq"),
    ("Observation", "patient.name co pet", "patient>Patient(name:contains eq)"),
    ("Observation", "subject:Patient[gender eq male].name sw x", "subject>Patient((gender eq and name eq))"),
    ("Patient", "_has:Observation:patient:code eq 1", "Observation.patient<(code eq)"),
    ("Patient", "_has:Observation:patient:encounter.status eq x", "Observation.patient<(encounter>Encounter(status eq))"),
    ("Patient", "not (gender eq male) and _id eq 1", "(not(gender eq) and _id eq)"),
]  # fmt: skip


@pytest.mark.parametrize(("type", "text", "expected"), [pytest.param(*row, id=row[1]) for row in MEANINGS])
def test_meaning(type: str, text: str, expected: str) -> None:
    assert shape(clause(type, text)) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("secret eq 1", UnknownParameter),
        ("gender co male", UnknownParameter),
        ("birthdate sw 19", UnknownParameter),
        ("name in http://x", UnknownParameter),
        ("name.family eq x", UnknownParameter),
        ("link.secret eq x", UnknownParameter),
        ("_has:Secret:patient:code eq 1", UnknownParameter),
        ("name pr maybe", BadParameter),
        ("birthdate eq secret", BadParameter),
        ("birthdate eq gt1950", BadParameter),
        ('name eq ""', BadParameter),
        ("identifier ss 12", BadParameter),
        ("organization." + "partof." * 10 + "name eq x", TooCostly),
    ],
)
def test_what_has_no_meaning_is_refused_by_its_place(text: str, error: type[FhirError]) -> None:
    with pytest.raises(error) as raised:
        clause("Patient", f"gender eq male and {text}")
    assert "secret" not in raised.value.text.lower()
    assert error is TooCostly or "_filter, character 20" in raised.value.text
