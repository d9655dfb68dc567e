"""What is stated replaces, the null value deletes, what is not stated stays."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.hl7.merge import complete, replace, united
from tests.hl7_messages import adt, arrive, patient, pid

STORED: dict[str, Any] = patient(
    adt(person=pid(f11="1 RUE A^^BOURGES", f13="^PRN^PH^^^^^^^^^0248000000", f14="^WPN^PH^^^^^^^^^0248111111", f16="M"))
)


def stated(**fields: str) -> Any:
    """Return what a message says whose PID has only these fields beside the identifier."""
    draft = arrive(adt(person=pid(**{"f5": "", "f7": "", "f8": "", **fields}))).draft
    assert draft is not None
    return draft.people[0].stated


def numbers(resource: dict[str, Any]) -> list[str]:
    return [t["value"] for t in resource["telecom"]]


def test_what_is_not_stated_stays() -> None:
    assert replace(STORED, stated()) == STORED


def test_the_same_again_changes_nothing() -> None:
    again = stated(f5="DUPOND^Amélie^^^Mme^^L", f13="^PRN^PH^^^^^^^^^0248000000", f16="M", f11="1 RUE A^^BOURGES")
    assert replace(STORED, again) == STORED


@pytest.mark.parametrize(
    ("field", "element"),
    [("f5", "name"), ("f7", "birthDate"), ("f8", "gender"), ("f11", "address"), ("f16", "maritalStatus")],
)
def test_the_null_value_deletes(field: str, element: str) -> None:
    assert element in STORED
    assert element not in replace(STORED, stated(**{field: '""'}))


def test_a_deleted_home_phone_leaves_the_one_at_work() -> None:
    assert numbers(replace(STORED, stated(f13='""'))) == ["0248111111"]
    assert numbers(replace(STORED, stated(f14='""'))) == ["0248000000"]


def test_a_new_home_phone_stands_where_the_old_one_stood() -> None:
    assert numbers(replace(STORED, stated(f13="^PRN^PH^^^^^^^^^0600000000"))) == ["0600000000", "0248111111"]


def test_a_null_identifier_deletes_none() -> None:
    made = replace(STORED, stated(f2='""'))
    assert made["identifier"] == STORED["identifier"]


def test_one_choice_replaces_the_other() -> None:
    dead = replace(STORED, stated(f30="Y"))
    assert dead["deceasedBoolean"] is True
    dated = replace(dead, stated(f29="20261119"))
    assert (dated.get("deceasedBoolean"), dated["deceasedDateTime"]) == (None, "2026-11-19")
    assert "deceasedDateTime" not in replace(dated, stated(f29='""'))


def test_a_birth_date_without_time_takes_the_time_away() -> None:
    timed = replace(STORED, stated(f7="195104230815"))
    assert "_birthDate" in timed
    assert "_birthDate" not in replace(timed, stated(f7="19510423"))


def test_a_value_that_cannot_be_read_changes_nothing() -> None:
    assert replace(STORED, stated(f7="yesterday", f8="?")) == STORED


def test_what_others_wrote_stays() -> None:
    enriched = {**STORED, "generalPractitioner": [{"reference": "Practitioner/1"}], "active": True}
    made = replace(enriched, stated(f5="NOUVEAU^Amélie"))
    assert (made["generalPractitioner"], made["active"], made["name"][0]["family"]) == (
        enriched["generalPractitioner"],
        True,
        "NOUVEAU",
    )


def test_neither_argument_is_changed() -> None:
    before = repr(STORED)
    replace(STORED, stated(f5="X", f11='""', f13="1"))
    assert repr(STORED) == before


def test_results_fill_what_is_missing_and_tell_what_differs() -> None:
    bare = {key: value for key, value in STORED.items() if key not in ("gender", "telecom")}
    made, differing = complete(bare, stated(f5="AUTRE^Nom", f8="F", f13="^PRN^PH^^^^^^^^^1"))
    assert (made["gender"], numbers(made), made["name"]) == ("female", ["1"], STORED["name"])
    assert [one.row.field for one in differing] == [5]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"f5": "DUPOND^Amélie^^^Mme^^L"}, None, id="the name that is stored"),
        pytest.param({"f5": "DUPOND^Amélie^^^Mme^^L~DURAND^Amélie^^^^^M"}, 5, id="one more name"),
        pytest.param({"f13": "^PRN^PH^^^^^^^^^0248000000"}, None, id="the home phone, beside the one at work"),
        pytest.param({"f13": "^PRN^PH^^^^^^^^^0248111111"}, 13, id="the number of work as that of home"),
        pytest.param({"f11": "1 RUE A^^BOURGES"}, None, id="the address"),
        pytest.param({"f16": "S"}, 16, id="another marital status"),
        pytest.param({"f29": "20260101"}, None, id="a death that nobody told of is no contradiction"),
    ],
)
def test_results_tell_what_differs_just_as_laying_it_over_does(fields: dict[str, str], field: int | None) -> None:
    said = stated(**fields)
    _, differing = complete(STORED, said)
    assert [one.row.field for one in differing] == ([] if field is None else [field])
    laid = [one for one in said if one.row.element in STORED and one.row.element != "identifier"]
    assert differing == [one for one in laid if replace(STORED, [one]) != STORED]


def test_results_about_a_patient_who_lacks_nothing_give_the_stored_resource_itself() -> None:
    made, _ = complete(STORED, stated(f5="AUTRE^Nom"))
    assert made is STORED


def test_results_delete_nothing() -> None:
    made, differing = complete(STORED, stated(f5='""', f8='""'))
    assert (made, differing) == (STORED, [])


def test_identifiers_are_renewed_and_never_lost() -> None:
    old, new = {"system": "s", "value": "1"}, {"system": "s", "value": "1", "use": "official"}
    other = {"system": "s", "value": "2"}
    assert united([old, other], [new]) == [new, other]
