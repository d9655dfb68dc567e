"""Decisions on the whole record."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.consent_cases import (
    DOCTOR,
    OTHER,
    VENDOR,
    actor,
    at,
    care_team,
    coding,
    concept,
    consent,
    decided,
)

PERMIT, DENY = consent("permit", VENDOR), consent("deny", VENDOR)
LATER = {"dateTime": "2026-02-01"}
ELSEWHERE = {"reference": "https://elsewhere.example/fhir/Organization/vendor"}


@pytest.mark.parametrize(
    ("consents", "outcome"),
    [
        pytest.param([], "deny", id="without a consent a stranger sees nothing"),
        pytest.param([PERMIT], "permit", id="a permission opens the record to whom it names"),
        pytest.param([consent("permit", OTHER)], "deny", id="a permission of another opens nothing"),
        pytest.param([consent("permit")], "deny", id="a permission that names nobody opens nothing"),
        pytest.param([consent()], "deny", id="OPTIN without provision opens nothing to strangers"),
        pytest.param([{**PERMIT, "status": "draft"}], "deny", id="a draft has no effect"),
        pytest.param([{**PERMIT, "status": "inactive"}], "deny", id="an inactive consent has no effect"),
        pytest.param([{**PERMIT, "status": "entered-in-error"}], "deny", id="an erroneous consent has no effect"),
        pytest.param(
            [{**PERMIT, "scope": concept("consentscope", "research")}], "deny", id="another scope has no effect"
        ),
        pytest.param([PERMIT, {**DENY, **LATER}], "deny", id="a newer refusal replaces a permission"),
        pytest.param(
            [DENY, {**PERMIT, **LATER}], "permit", id="a newer permission replaces a refusal of the same matter"
        ),
        pytest.param([PERMIT, DENY], "deny", id="of the same moment the refusal wins"),
        pytest.param(
            [{**DENY, "dateTime": None}, {**PERMIT, **LATER}], "deny", id="an undated refusal is not replaced"
        ),
        pytest.param(
            [{**PERMIT, "dateTime": None}, DENY], "deny", id="an undated permission yields to a dated refusal"
        ),
        pytest.param(
            [DENY, {**PERMIT, **LATER, "organization": [{"reference": "Organization/x"}]}],
            "deny",
            id="between lineages a refusal wins, however old",
        ),
        pytest.param(
            [consent("deny"), {**PERMIT, **LATER}],
            "deny",
            id="a refusal to all is another matter than a permission of one",
        ),
        pytest.param(
            [consent("deny", OTHER), {**PERMIT, **LATER}], "permit", id="a refusal of another leaves a permission"
        ),
        pytest.param(
            [consent("deny", OTHER), PERMIT], "permit", id="decisions about different people do not replace each other"
        ),
        pytest.param(
            [consent("permit", VENDOR, policyRule=concept("v3-ActCode", "OPTOUT"))],
            "permit",
            id="the type of the root goes before policyRule",
        ),
        pytest.param([consent("", VENDOR)], "permit", id="a root without type takes permit from OPTIN"),
        pytest.param([consent("", VENDOR, policyRule=None)], "deny", id="a root with neither says nothing"),
        pytest.param(
            [consent("permit", VENDOR, modifierExtension=[{"url": "urn:x"}])],
            "deny",
            id="an unknown modifier extension never permits",
        ),
        pytest.param(
            [consent("permit", VENDOR, provision_modifierExtension=[{"url": "urn:x"}])],
            "deny",
            id="nor inside the provision",
        ),
        pytest.param([consent("permit", VENDOR, implicitRules="urn:x")], "deny", id="implicit rules never permit"),
        pytest.param(
            [consent("permit", provision_actor=[actor(VENDOR, "CST")])], "deny", id="a custodian is not who receives"
        ),
        pytest.param(
            [consent("permit", provision_actor=[actor(ELSEWHERE)])], "deny", id="a reference elsewhere never permits"
        ),
        pytest.param(
            [consent("permit", provision_actor=[actor({"display": "Vendor"})])], "deny", id="a name alone never permits"
        ),
        pytest.param(
            [consent("permit", "http://hub.example/fhir/Organization/vendor")],
            "permit",
            id="an absolute reference to this hub is local",
        ),
        pytest.param(
            [consent("permit", VENDOR + "/_history/3")], "permit", id="a versioned reference means the same one"
        ),
        pytest.param([consent("permit", VENDOR, OTHER)], "permit", id="one of several actors is enough"),
        pytest.param(
            [consent("permit", VENDOR, provision_action=[concept("consentaction", "access")])],
            "permit",
            id="reading is the action access",
        ),
        pytest.param(
            [consent("permit", VENDOR, provision_action=[concept("consentaction", "disclose")])],
            "deny",
            id="disclose alone does not permit reading",
        ),
        pytest.param(
            [consent("permit", VENDOR, provision_action=[concept("consentaction", "correct")])],
            "deny",
            id="correct does not permit reading",
        ),
        pytest.param(
            [PERMIT, consent("deny", VENDOR, provision_action=[concept("consentaction", "disclose")])],
            "deny",
            id="a refusal to disclose is a refusal to show",
        ),
        pytest.param(
            [PERMIT, consent("deny", VENDOR, OTHER, provision_action=[concept("consentaction", "correct")])],
            "permit",
            id="a refusal to correct leaves reading",
        ),
        pytest.param(
            [PERMIT, consent("deny", provision_actor=[actor(ELSEWHERE)])],
            "deny",
            id="a refusal whose actor cannot be told holds for all",
        ),
        pytest.param(
            [PERMIT, consent("deny", "Group/g")],
            "deny",
            id="members of a group are not looked up: its refusal holds for all",
        ),
        pytest.param([consent("permit", "Group/g")], "deny", id="and its permission for nobody"),
    ],
)
def test_a_stranger(consents: list[dict[str, Any]], outcome: str) -> None:
    assert decided(*consents).outcome == outcome
    assert decided(*reversed(consents)).outcome == outcome


@pytest.mark.parametrize(
    ("consents", "outcome"),
    [
        pytest.param([], "permit", id="sees without any consent"),
        pytest.param([consent("deny", DOCTOR)], "deny", id="does not where the patient objects"),
        pytest.param([consent("deny")], "deny", id="does not where the patient refuses everybody"),
        pytest.param([consent("deny", VENDOR)], "permit", id="does where the patient refuses another"),
        pytest.param(
            [consent(policyRule=concept("v3-ActCode", "OPTOUT"))],
            "deny",
            id="OPTOUT without provision refuses everybody",
        ),
        pytest.param(
            [consent("deny", provision_provision=[{"type": "permit", "actor": [actor(DOCTOR)]}])],
            "permit",
            id="does where the patient refuses everybody but them",
        ),
        pytest.param(
            [consent("deny", provision_period={"end": "2026-05-31"})], "permit", id="does when a refusal is over"
        ),
    ],
)
def test_a_member_of_the_care_team(consents: list[dict[str, Any]], outcome: str) -> None:
    decision = decided(*consents, names=(DOCTOR,), teams=(care_team(DOCTOR),))
    assert (decision.outcome, decision.member) == (outcome, True)


@pytest.mark.parametrize(
    ("team", "member"),
    [
        pytest.param(care_team(DOCTOR), True, id="an active team"),
        pytest.param(care_team(DOCTOR, status="proposed"), False, id="a team that is not active"),
        pytest.param(care_team(OTHER), False, id="a team of others"),
        pytest.param(care_team(DOCTOR, period={"end": "2026-06-01"}), True, id="the last day of a team is a whole day"),
        pytest.param(care_team(DOCTOR, period={"end": "2026-05-31"}), False, id="a team that is over"),
        pytest.param(care_team(DOCTOR, period={"start": "2026-06-02"}), False, id="a team that begins tomorrow"),
        pytest.param(
            care_team(participant=[{"member": {"reference": DOCTOR}, "period": {"end": "2026-05-01"}}]),
            False,
            id="a member who has left",
        ),
        pytest.param(
            care_team(DOCTOR, period={"start": "nonsense"}), False, id="a period that cannot be read is never"
        ),
        pytest.param(
            care_team(DOCTOR, modifierExtension=[{"url": "urn:x"}]), False, id="a team that is not understood"
        ),
        pytest.param(care_team(participant=[{"member": {"display": "Dr"}}]), False, id="a member without reference"),
    ],
)
def test_who_is_in_the_care_team(team: dict[str, Any], member: bool) -> None:
    assert decided(names=(DOCTOR,), teams=(team,)).outcome == ("permit" if member else "deny")


@pytest.mark.parametrize(
    ("nested", "outcome"),
    [
        pytest.param([{"type": "deny", "actor": [actor(VENDOR)]}], "deny", id="the nested provision decides"),
        pytest.param(
            [{"type": "deny", "actor": [actor(OTHER)]}], "permit", id="one that does not match leaves the root"
        ),
        pytest.param([{"type": "deny"}, {"type": "permit"}], "deny", id="between siblings the refusal"),
        pytest.param(
            [{"type": "deny", "provision": [{"type": "permit"}]}], "permit", id="the most deeply nested decides"
        ),
        pytest.param([{"actor": [actor(VENDOR)]}], "deny", id="a nested provision without type refuses"),
        pytest.param(
            [{"type": "deny", "purpose": [coding("v3-ActReason", "HRESCH")]}], "permit", id="for another purpose"
        ),
        pytest.param(
            [{"type": "deny", "modifierExtension": [{"url": "urn:x"}], "provision": [{"type": "permit"}]}],
            "deny",
            id="an exception to what is not understood does not count",
        ),
    ],
)
def test_nesting(nested: list[dict[str, Any]], outcome: str) -> None:
    assert decided(consent("permit", VENDOR, provision_provision=nested)).outcome == outcome


@pytest.mark.parametrize(
    ("purpose", "asked", "outcome"),
    [
        pytest.param("TREAT", "TREAT", "permit", id="the same"),
        pytest.param("TREAT", "ETREAT", "permit", id="an emergency is a kind of treatment"),
        pytest.param("ETREAT", "TREAT", "deny", id="treatment is no kind of emergency"),
        pytest.param("TREAT", "HRESCH", "deny", id="another"),
        pytest.param("HRESCH", "CLINTRCHPC", "permit", id="two levels down"),
        pytest.param("TREAT", "", "deny", id="no purpose"),
    ],
)
def test_purposes(purpose: str, asked: str, outcome: str) -> None:
    given = consent("permit", VENDOR, provision_purpose=[coding("v3-ActReason", purpose)])
    assert decided(given, purpose=asked).outcome == outcome


@pytest.mark.parametrize(
    ("period", "now", "outcome"),
    [
        pytest.param(
            {"end": "2026-06-01"}, "2026-06-01T23:59:59+02:00", "permit", id="to the last second of the last day"
        ),
        pytest.param({"end": "2026-06-01"}, "2026-06-02T00:00:00+02:00", "deny", id="not beyond"),
        pytest.param({"start": "2026-06-01"}, "2026-05-31T23:59:59+02:00", "deny", id="not before the first day"),
        pytest.param(
            {"start": "2026-06-01"}, "2026-05-31T22:00:00+00:00", "permit", id="the day begins in the hub's zone"
        ),
        pytest.param({"end": "2026-06"}, "2026-06-30T23:00:00+02:00", "permit", id="a month is the whole month"),
        pytest.param({"end": "2026"}, "2026-12-31T23:59:59+01:00", "permit", id="a year is the whole year"),
        pytest.param(
            {"end": "2026-10-25"}, "2026-10-25T23:30:00+01:00", "permit", id="the day of 25 hours ends with its night"
        ),
        pytest.param(
            {"start": "x"}, "2026-06-01T00:00:00+02:00", "deny", id="a period that cannot be read never permits"
        ),
    ],
)
def test_periods(period: dict[str, str], now: str, outcome: str) -> None:
    assert decided(consent("permit", VENDOR, provision_period=period), now=now).outcome == outcome


def test_a_decision_says_when_time_alone_may_change_it() -> None:
    until = consent("permit", VENDOR, provision_period={"start": "2026-01-01", "end": "2026-06-30"})
    team = care_team(VENDOR, period={"end": "2026-06-15"})
    assert decided(until).expires == at("2026-07-01T00:00:00+02:00")
    assert decided(until, teams=(team,)).expires == at("2026-06-16T00:00:00+02:00")
    assert decided(until, now="2027-01-01T00:00:00+01:00").expires is None


def test_a_decision_names_what_decided() -> None:
    assert decided(PERMIT | {"id": "a"}, consent("deny", OTHER) | {"id": "b"}).rules == ("Consent/a",)
    assert decided(teams=(care_team(VENDOR),)).rules == ("CareTeam/t",)
    assert decided(PERMIT, teams=(care_team(VENDOR),)).rules == ("Consent/c",)
    assert decided().rules == ()
