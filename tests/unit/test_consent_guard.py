"""The guard over a store: who sees whom, through care teams, roles and Consents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from consent import gathering
from consent.guard import ConsentGuard
from fhir_server.app import opened
from fhir_server.errors import FhirError, NotFound
from fhir_server.interactions.core import Hub
from fhir_server.model import EVERYTHING, Actor, Entry, Scope, Visibility
from fhir_server.settings import Settings
from tests.unit.consent_cases import actor, care_team, coding, consent

ALL = (Scope("system", "*", "cruds"),)
P = {"resourceType": "Patient", "id": "p", "name": [{"family": "Épreuve"}]}
PULSE = {
    "resourceType": "Observation", "id": "o", "status": "final", "subject": {"reference": "Patient/p"},
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
}  # fmt: skip


@pytest.fixture
async def core() -> AsyncIterator[Hub]:
    """A hub that forgets, with this room alone."""
    async with opened(Settings(store="memory:", rooms=("consent.room",), zone="Europe/Paris")) as composed:
        yield composed.hub


async def put(core: Hub, *resources: dict[str, Any], by: Actor | None = None) -> None:
    """Store resources under their ids in one transaction."""
    bare = [{name: value for name, value in one.items() if name != "meta"} for one in resources]
    entries = [Entry("PUT", f"{one['resourceType']}/{one['id']}", one) for one in bare]
    await core.submit(entries, actor=by or core.internal("default", "test"))


def who(reference: str = "", *, patient: str = "", purpose: str = "TREAT") -> Actor:
    return Actor("default", "someone", ALL, reference, patient, purpose)


async def sees(core: Hub, actor: Actor, reference: str = "Patient/p") -> bool:
    try:
        await core.read(reference, actor=actor)
    except NotFound:
        return False
    return True


def role(practitioner: str = "doctor", organization: str = "ward", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": f"Practitioner/{practitioner}"},
        "organization": {"reference": f"Organization/{organization}"}, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("member", "roles", "asking", "expected"),
    [
        pytest.param("Practitioner/doctor", [], "Practitioner/doctor", True, id="a member"),
        pytest.param("Practitioner/doctor", [], "Practitioner/other", False, id="not another"),
        pytest.param("Organization/ward", [], "Organization/ward", True, id="an organisation that is a member"),
        pytest.param("Organization/ward", [role()], "Practitioner/doctor", True, id="who works for it"),
        pytest.param("Organization/ward", [role()], "Practitioner/other", False, id="not who does not"),
        pytest.param(
            "Organization/ward", [role(active=False)], "Practitioner/doctor", False, id="not by an inactive role"
        ),
        pytest.param(
            "Organization/ward", [role(period={"end": "2020"})], "Practitioner/doctor", False, id="not by a past role"
        ),
        pytest.param(
            "PractitionerRole/r", [role()], "Practitioner/doctor", True, id="the practitioner of a member role"
        ),
        pytest.param("Practitioner/doctor", [role()], "PractitionerRole/r", True, id="the role of a member"),
        pytest.param(
            "Practitioner/doctor", [role(active=False)], "PractitionerRole/r", False, id="not an inactive role"
        ),
        pytest.param(
            "Practitioner/doctor", [role()], "Organization/ward", False, id="not the organisation of a member"
        ),
    ],
)
async def test_the_care_team(core: Hub, member: str, roles: list[dict[str, Any]], asking: str, expected: bool) -> None:
    await put(core, P, care_team(member), *roles)
    assert await sees(core, who(asking)) is expected


@pytest.mark.parametrize(
    ("given", "asking", "expected"),
    [
        pytest.param(consent("permit", "Organization/ward"), "Practitioner/doctor", True, id="permits an organisation: who works for it"),
        pytest.param(consent("deny", "Organization/ward"), "Practitioner/member", False, id="refuses an organisation: who works for it"),
        pytest.param(consent("permit", "CareTeam/t"), "Practitioner/member", True, id="permits a care team: its members"),
        pytest.param(consent("permit", "CareTeam/t"), "Practitioner/doctor", False, id="permits a care team: nobody else"),
        pytest.param(consent("deny", "CareTeam/t"), "Practitioner/member", False, id="refuses a care team: its members"),
    ],
)  # fmt: skip
async def test_a_consent_that_names_a_group_of_people(
    core: Hub, given: dict[str, Any], asking: str, expected: bool
) -> None:
    roles = [role(), role("member") | {"id": "r2"}]
    await put(core, P, care_team("Practitioner/member"), given, *roles)
    assert await sees(core, who(asking)) is expected


async def test_granting_and_ending_take_effect_on_the_next_read(core: Hub) -> None:
    await put(core, P, PULSE)
    vendor, given = who("Organization/v"), consent("permit", "Organization/v")
    assert not await sees(core, vendor)
    await put(core, given)
    assert await sees(core, vendor) and await sees(core, vendor, "Observation/o")
    await put(core, {**given, "status": "inactive"})
    assert not await sees(core, vendor)


async def test_who_is_named_in_an_exception_only_is_found(core: Hub) -> None:
    vendor = who("Organization/v")
    nobody_but = consent("deny", provision_provision=[{"type": "permit", "actor": [actor("Organization/v")]}])
    await put(core, P)
    assert not await sees(core, vendor)
    await put(core, nobody_but)
    assert await sees(core, vendor)
    assert not await sees(core, who("Organization/w"))
    await put(core, {**nobody_but, "status": "inactive"})
    assert not await sees(core, vendor)


async def test_a_patient_sees_their_own_record_whatever_is_refused(core: Hub) -> None:
    await put(core, P, {**P, "id": "q"}, consent("deny"))
    assert await sees(core, who(patient="p"))
    assert not await sees(core, who(patient="p"), "Patient/q")
    assert not await sees(core, who(patient="q"))


async def test_a_practitioner_in_the_context_of_one_patient_sees_that_one_only(core: Hub) -> None:
    second = care_team("Practitioner/d") | {"id": "u", "subject": {"reference": "Patient/q"}}
    await put(core, P, {**P, "id": "q"}, care_team("Practitioner/d"), second)
    assert await sees(core, who("Practitioner/d"), "Patient/q")
    assert await sees(core, who("Practitioner/d", patient="p"))
    assert not await sees(core, who("Practitioner/d", patient="p"), "Patient/q")


async def test_the_purpose_of_the_token_counts(core: Hub) -> None:
    await put(core, P, consent("permit", "Organization/v", provision_purpose=[coding("v3-ActReason", "HRESCH")]))
    assert await sees(core, who("Organization/v", purpose="HRESCH"))
    assert not await sees(core, who("Organization/v", purpose="TREAT"))


async def test_a_part_of_a_record(core: Hub) -> None:
    only = {"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}
    await put(core, P, PULSE, consent("permit", "Organization/v", provision_class=[only]))
    vendor = who("Organization/v")
    assert await sees(core, vendor, "Observation/o")
    assert not await sees(core, vendor)
    assert (await core.search("Observation?patient=p", actor=vendor)).total == 1
    assert (await core.search("Consent?patient=p", actor=vendor)).total == 0


async def visibility(core: Hub, actor: Actor, now: int | None = None) -> Visibility:
    guard = ConsentGuard(ZoneInfo("Europe/Paris"), core.base_url)
    found: Visibility = await core.ask("default", lambda asking: guard.visibility(asking, actor, now or core.now()))
    return found


async def test_an_answer_ends_when_a_period_does(core: Hub) -> None:
    ends = {"period": {"end": "2998"}}
    await put(core, P, care_team("Organization/v", **ends), {**P, "id": "q"})
    year_2999 = 32_472_140_400_000_000  # 2998-12-31T23:00Z, midnight in Paris
    found = await visibility(core, who("Organization/v"))
    assert (found.patients, found.expires) == (frozenset({"p"}), year_2999)
    assert not (await visibility(core, who("Organization/v"), year_2999)).patients
    await put(core, role("d", "v", period={"end": "2997"}))
    found = await visibility(core, who("Practitioner/d"))
    assert found.patients == frozenset({"p"}) and found.expires is not None and found.expires < year_2999


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        pytest.param(who(), EVERYTHING, id="the operator sees everything"),
        pytest.param(who(patient="x"), Visibility(frozenset({"x"})), id="a patient sees themself"),
        pytest.param(
            who("Practitioner/x&status=active"), Visibility(frozenset()), id="a name that is none sees nothing"
        ),
        pytest.param(who("PractitionerRole/none"), Visibility(frozenset()), id="a role that is not there sees nothing"),
    ],
)
async def test_visibility(core: Hub, actor: Actor, expected: Visibility) -> None:
    await put(core, P, consent("permit", "Organization/v"))
    assert await visibility(core, actor) == expected


async def test_all_consents_are_found_however_many_share_a_millisecond(
    core: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "PAGE", 3)
    monkeypatch.setattr(gathering, "SOME", 4)
    for batch in range(3):
        many = [
            one
            for n in range(5)
            for one in (
                {**P, "id": f"{batch}-{n}"},
                consent("permit", "Organization/v", id=f"{batch}-{n}", patient={"reference": f"Patient/{batch}-{n}"}),
            )
        ]
        await put(core, *many)
    expected = frozenset(f"{batch}-{n}" for batch in range(3) for n in range(5))
    assert (await visibility(core, who("Organization/v"))).patients == expected


async def test_an_organisation_in_many_care_teams(core: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "PAGE", 10)
    many = [
        one
        for n in range(1100)
        for one in ({**P, "id": f"{n}"}, care_team("Organization/v", id=f"{n}", subject={"reference": f"Patient/{n}"}))
    ]
    by_team = consent("permit", "CareTeam/1099", id="named", patient={"reference": "Patient/p"})
    await put(core, *many, P, by_team, consent("deny", "CareTeam/7", patient={"reference": "Patient/7"}))
    expected = frozenset({*(f"{n}" for n in range(1100) if n != 7), "p"})
    assert (await visibility(core, who("Organization/v"))).patients == expected


async def test_more_in_one_millisecond_than_can_be_asked_for_shows_nothing(
    core: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "PAGE", 3)
    monkeypatch.setattr("fhir_server.interactions.asking.MOST_FOUND", 4)
    many = [consent("permit", "Organization/v", id=f"c{n}", patient={"reference": f"Patient/{n}"}) for n in range(1001)]
    await put(core, *many)
    with pytest.raises(FhirError) as failed:
        await visibility(core, who("Organization/v"))
    assert failed.value.status == 503
