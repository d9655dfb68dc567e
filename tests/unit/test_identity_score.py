"""How alike two Patients are: the weights, the ladder of birth dates and names, and the INS rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.identity.candidates import escape, questions
from fhir_server.identity.likeness import is_near
from fhir_server.identity.score import BIRTH, CERTAIN, NOT, POSSIBLE, PROBABLE, Person, compare
from fhir_server.search.escape import split, unescape

INS = "urn:oid:1.2.250.1.213.1.4.8"


def person(**more: Any) -> Person:
    base = {
        "resourceType": "Patient",
        "name": [{"family": "Durand", "given": ["Jeanne", "Marie"]}],
        "gender": "female",
        "birthDate": "1951-04-03",
    }
    return Person({name: value for name, value in {**base, **more}.items() if value is not None})


def named(family: str, *given: str) -> list[dict[str, Any]]:
    return [{"family": family, "given": list(given)}]


@pytest.mark.parametrize(
    ("other", "grade"),
    [
        pytest.param(person(), PROBABLE, id="all equal is probable, never certain without a qualified INS"),
        pytest.param(person(name=named("DURAND", "jeanne")), PROBABLE, id="case does not matter"),
        pytest.param(person(name=named("Durant", "Jeanne")), PROBABLE, id="a letter off in one name"),
        pytest.param(person(name=named("Durand-Petit", "Jeanne")), PROBABLE, id="a name added by marriage"),
        pytest.param(person(name=named("Jeanne", "Durand")), PROBABLE, id="names in each other's place"),
        pytest.param(person(birthDate="1951-03-04"), PROBABLE, id="day and month swapped"),
        pytest.param(person(birthDate="1951-04-04"), POSSIBLE, id="a day off"),
        pytest.param(person(birthDate="1951"), POSSIBLE, id="the year alone"),
        pytest.param(person(birthDate=None), POSSIBLE, id="no birth date"),
        pytest.param(person(name=named("Durand", "Paul"), gender="male"), NOT, id="a twin"),
        pytest.param(person(name=named("Durand", "Zoé"), birthDate="1980-01-01"), NOT, id="a daughter"),
        pytest.param(person(name=named("Martin", "Paul"), gender="male"), NOT, id="another of the same birth date"),
        pytest.param(person(birthDate="1990-12-31"), NOT, id="a namesake of another age"),
    ],
)
def test_a_person_is_told_from_others(other: Person, grade: str) -> None:
    score = compare(person(), other)
    assert score.grade == grade, score
    assert compare(other, person()) == score, "neither side comes first"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param("1951-04-03", "1951-04-03", 0, id="equal"),
        pytest.param("1951-04-03", "1951-03-04", 1, id="day and month swapped"),
        pytest.param("1951-04-03", "1951-04-08", 2, id="one digit"),
        pytest.param("1951-04-30", "1951-05-01", 2, id="one day"),
        pytest.param("1951-04-03", "1915-04-03", 2, id="two digits of the year swapped"),
        pytest.param("1951-04", "1951-04-03", 2, id="the month"),
        pytest.param("1951", "1951-04-03", 3, id="the year"),
        pytest.param("1951-04-03", "1962-11-28", 4, id="another"),
        pytest.param("1951-13-03", "1951-02-31", 4, id="what is no date is no reason to fail"),
    ],
)
def test_birth_dates_are_weighed(one: str, other: str, expected: int) -> None:
    base = {"name": None, "gender": None}
    bits = compare(person(birthDate=one, **base), person(birthDate=other, **base)).bits
    assert bits == compare(person(birthDate=None, **base), person(birthDate=None, **base)).bits + BIRTH[expected]


def test_an_ins_is_certain_only_where_the_identity_is_qualified() -> None:
    ins = [{"system": INS, "value": "251044412345678"}]
    url = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability"

    def reliable(code: str) -> list[dict[str, Any]]:
        return [{"url": url, "extension": [{"url": "identityStatus", "valueCoding": {"code": code}}]}]

    asked = person(identifier=ins)
    assert compare(asked, person(identifier=ins)).grade == PROBABLE
    assert compare(asked, person(identifier=ins, extension=reliable("PROV"))).grade == PROBABLE
    for code in ("VALI", "QUAL"):
        assert compare(asked, person(identifier=ins, extension=reliable(code))).grade == CERTAIN
        old = [{**ins[0], "use": "old"}]
        assert compare(asked, person(identifier=old, extension=reliable(code))).grade == PROBABLE
        another = [{"system": INS, "value": "251044412345699"}]
        assert compare(asked, person(identifier=another, extension=reliable(code))).grade != CERTAIN


def test_a_french_number_is_the_same_with_and_without_its_country() -> None:
    ours = person(telecom=[{"system": "phone", "value": "06 12 34 56 78"}])
    for value in ("+33 6 12 34 56 78", "0033612345678", "0612345678"):
        theirs = person(telecom=[{"system": "phone", "value": value}])
        assert compare(ours, theirs).bits > compare(ours, person()).bits


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("durand", "durant", True),
        ("durand", "durnad", True),
        ("durand", "duran", True),
        ("durand", "dourand", True),
        ("durand", "durand", True),
        ("durand", "darant", False),
        ("lea", "leo", False),
        ("", "", True),
    ],
)
def test_one_error_is_near(one: str, other: str, near: bool) -> None:
    assert is_near(one, other) is is_near(other, one) is near


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)


@given(words, words)
def test_nearness_goes_both_ways(one: str, other: str) -> None:
    assert is_near(one, other) is is_near(other, one)


@given(st.lists(words, min_size=1, max_size=3), words, st.sampled_from(["", "1951", "1951-04", "1951-04-03", "x"]))
def test_no_patient_breaks_a_comparison(givens: list[str], family: str, birth: str) -> None:
    strange = person(name=named(family, *givens), birthDate=birth or None)
    for other in (strange, person()):
        assert 0 <= compare(strange, other).probability <= 1
    assert all(value for pairs in questions(strange) for _, value in pairs)


@given(words)
def test_an_escaped_value_is_one_value(text: str) -> None:
    assert [unescape(part) for part in split(escape(text), ",")] == [text]
