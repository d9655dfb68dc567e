"""Who may write Consents, care teams and roles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fhir_server.app import opened
from fhir_server.errors import FhirError, Unprocessable
from fhir_server.interactions.core import Hub
from fhir_server.model import Actor, Entry, Scope
from fhir_server.settings import Settings
from tests.unit.consent_cases import actor, care_team, consent

ALL = (Scope("system", "*", "cruds"),)
P = {"resourceType": "Patient", "id": "p"}
MEMBER, STRANGER, VENDOR = "Practitioner/member", "Practitioner/stranger", "Organization/vendor"
OPERATOR = Actor("default", "operator", ALL)
PATIENT = Actor("default", "patient", ALL, patient="p")
ROLE = {
    "resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": STRANGER},
    "organization": {"reference": "Organization/ward"},
}  # fmt: skip


def who(reference: str) -> Actor:
    return Actor("default", "someone", ALL, reference)


@pytest.fixture
async def core() -> AsyncIterator[Hub]:
    """A hub that forgets, with one patient and a care team of one practitioner and one organisation."""
    async with opened(Settings(store="memory:", rooms=("consent.room",))) as composed:
        await write(composed.hub, OPERATOR, P, care_team(MEMBER, VENDOR))
        yield composed.hub


def entry(resource: dict[str, Any]) -> Entry:
    bare = {name: value for name, value in resource.items() if name != "meta"}
    return Entry("PUT", f"{bare['resourceType']}/{bare['id']}", bare)


async def write(core: Hub, by: Actor, *resources: dict[str, Any]) -> None:
    await core.submit([entry(one) for one in resources], actor=by)


async def status(core: Hub, by: Actor, *resources: dict[str, Any]) -> int:
    """Return what writing comes to, as an HTTP status."""
    try:
        await write(core, by, *resources)
    except FhirError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        pytest.param(OPERATOR, 200, id="the operator"),
        pytest.param(PATIENT, 200, id="the patient"),
        pytest.param(Actor("default", "x", ALL, patient="other"), 403, id="not another patient"),
        pytest.param(who(MEMBER), 200, id="a practitioner of the care team"),
        pytest.param(who(STRANGER), 403, id="not another practitioner"),
        pytest.param(who(VENDOR), 403, id="not an organisation, though it is in the team"),
        pytest.param(
            Actor("default", "x", ALL, MEMBER, patient="other"), 403, id="not in the context of another patient"
        ),
    ],
)
async def test_who_may_record_a_consent(core: Hub, by: Actor, expected: int) -> None:
    assert await status(core, by, consent("permit", STRANGER)) == expected


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        pytest.param(OPERATOR, 200, id="the operator"),
        pytest.param(PATIENT, 200, id="the patient"),
        pytest.param(who(MEMBER), 403, id="not a practitioner of the care team"),
        pytest.param(who(STRANGER), 404, id="not who does not see it: it is not there for them"),
    ],
)
async def test_who_may_end_a_consent(core: Hub, by: Actor, expected: int) -> None:
    await write(core, OPERATOR, consent("permit", VENDOR))
    assert await status(core, by, consent("permit", VENDOR, status="inactive")) == expected


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        pytest.param(OPERATOR, 200, id="the operator may, its history stays"),
        pytest.param(PATIENT, 403, id="the patient ends it instead"),
        pytest.param(who(MEMBER), 403, id="a practitioner may not"),
    ],
)
async def test_who_may_delete_a_consent(core: Hub, by: Actor, expected: int) -> None:
    await write(core, OPERATOR, consent("permit", VENDOR))
    try:
        await core.submit([Entry("DELETE", "Consent/c")], actor=by)
        found = 200
    except FhirError as error:
        found = error.status
    assert found == expected


async def test_a_patient_does_not_take_over_the_consent_of_another(core: Hub) -> None:
    await write(core, OPERATOR, {**P, "id": "q"}, consent("permit", VENDOR, patient={"reference": "Patient/q"}))
    assert await status(core, PATIENT, consent("permit", VENDOR)) in (403, 404)


async def test_a_practitioner_to_whom_the_patient_objects_records_none(core: Hub) -> None:
    await write(core, OPERATOR, consent("deny", MEMBER, id="objection"))
    assert await status(core, who(MEMBER), consent("permit", STRANGER)) == 403


async def test_a_practitioner_does_not_undo_what_was_decided(core: Hub) -> None:
    await write(core, OPERATOR, consent("deny", STRANGER, id="objection"))
    newer = consent("permit", STRANGER, dateTime="2026-05-01")
    assert await status(core, who(MEMBER), newer) == 403
    assert await status(core, PATIENT, newer) == 200


def nested(levels: int) -> dict[str, Any]:
    """A Consent with so many levels of provisions inside the root."""
    inner: dict[str, Any] = {"type": "deny"}
    for _ in range(levels - 1):
        inner = {"type": "deny", "provision": [inner]}
    return consent("permit", VENDOR, **({"provision_provision": [inner]} if levels else {}))


@pytest.mark.parametrize("levels", [0, 1, 2])
async def test_two_levels_of_provisions_are_stored(core: Hub, levels: int) -> None:
    assert await status(core, OPERATOR, nested(levels)) == 200


async def test_a_third_level_is_refused_as_a_rule_of_the_hub(core: Hub) -> None:
    with pytest.raises(Unprocessable) as failed:
        await write(core, OPERATOR, nested(3))
    assert [(i.code, i.expression) for i in failed.value.issues] == [("business-rule", "Consent.provision")]


@pytest.mark.parametrize(
    ("by", "team", "expected"),
    [
        pytest.param(OPERATOR, care_team(MEMBER, STRANGER), 200, id="the operator"),
        pytest.param(PATIENT, care_team(MEMBER, STRANGER), 200, id="the patient"),
        pytest.param(who(MEMBER), care_team(MEMBER, STRANGER), 200, id="a member"),
        pytest.param(who(MEMBER), care_team(STRANGER), 200, id="a member who leaves it"),
        pytest.param(who(MEMBER), care_team(STRANGER, id="u"), 200, id="a member, a second team"),
        pytest.param(who(VENDOR), care_team(VENDOR), 200, id="an organisation that is a member"),
        pytest.param(who(STRANGER), care_team(STRANGER, id="u"), 403, id="not a stranger who names themself"),
        pytest.param(who(STRANGER), care_team(STRANGER), 404, id="nor in a team that is not there for them"),
        pytest.param(Actor("default", "x", ALL, patient="q"), care_team(STRANGER, id="u"), 403, id="not another patient"),
        pytest.param(
            who(STRANGER), care_team(STRANGER, id="u", subject={"reference": "Group/g"}), 200,
            id="a team of a group opens no record",
        ),
    ],
)  # fmt: skip
async def test_who_may_change_a_care_team(core: Hub, by: Actor, team: dict[str, Any], expected: int) -> None:
    assert await status(core, by, team) == expected


async def test_nobody_lets_themself_in_by_one_transaction(core: Hub) -> None:
    self_made = [
        [care_team(STRANGER, id="u"), care_team(STRANGER, id="v")],
        [ROLE | {"organization": {"reference": VENDOR}}, care_team(STRANGER, id="u")],
        [consent("permit", STRANGER), care_team(STRANGER, id="u")],
        [care_team(STRANGER, id="u"), consent("permit", STRANGER)],
    ]
    for resources in self_made:
        assert await status(core, who(STRANGER), *resources) == 403


async def test_a_member_does_not_move_a_care_team_to_another_patient(core: Hub) -> None:
    await write(core, OPERATOR, {**P, "id": "q"})
    assert await status(core, who(MEMBER), care_team(MEMBER, subject={"reference": "Patient/q"})) == 403


async def test_who_registers_a_patient_names_the_care_team(core: Hub) -> None:
    new = {"resourceType": "Patient", "id": "new"}
    team = care_team(STRANGER, id="u", subject={"reference": "Patient/new"})
    assert await status(core, who(STRANGER), new, team) == 200
    assert (await core.read("Patient/new", actor=who(STRANGER))).id == "new"


async def test_a_refused_transaction_leaves_nothing(core: Hub) -> None:
    assert await status(core, who(MEMBER), {**P, "id": "n"}, nested(3)) == 422
    with pytest.raises(FhirError):
        await core.read("Patient/n", actor=OPERATOR)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        pytest.param(OPERATOR, 200, id="the operator"),
        pytest.param(who("Organization/ward"), 200, id="the organisation of the role"),
        pytest.param(who(VENDOR), 403, id="not another organisation"),
        pytest.param(who(STRANGER), 403, id="not the practitioner"),
        pytest.param(PATIENT, 403, id="not a patient"),
    ],
)
async def test_who_may_give_a_role(core: Hub, by: Actor, expected: int) -> None:
    assert await status(core, by, ROLE) == expected


async def test_a_role_is_not_moved_to_an_organisation_by_that_organisation(core: Hub) -> None:
    await write(core, OPERATOR, ROLE)
    assert await status(core, who(VENDOR), ROLE | {"organization": {"reference": VENDOR}}) == 403


async def test_a_team_member_named_by_consent_alone_records_none(core: Hub) -> None:
    await write(core, OPERATOR, consent("permit", provision_actor=[actor(STRANGER)], id="grant"))
    assert await status(core, who(STRANGER), consent("permit", "Organization/x")) == 403
