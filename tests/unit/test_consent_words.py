"""Rules and decisions in words; names; dates."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from consent.dates import ALWAYS_HI, ALWAYS_LO, Span, read_date, read_period
from consent.people import name_in
from consent.provisions import compile_consent, local
from consent.words import LANGUAGES, reason_in_words, rule_in_words
from tests.unit.consent_cases import DOCTOR, VENDOR, ZONE, actor, at, care_team, coding, concept, consent, decided

NAMES = {VENDOR: "Télésoins", DOCTOR: "Dr Martin"}
MASKED = [coding("v3-ActCode", "PSY"), coding("v3-Confidentiality", "R")]
TYPES = [{"system": "http://hl7.org/fhir/resource-types", "code": one} for one in ("Observation", "Binary")]


@pytest.mark.parametrize(
    ("given", "french", "english"),
    [
        pytest.param(
            consent("permit", VENDOR, DOCTOR),
            "Vous autorisez Dr Martin et Télésoins à voir le dossier.",
            "You allow Dr Martin and Télésoins to see the record.",
            id="a permission",
        ),
        pytest.param(
            consent("deny", DOCTOR),
            "Vous refusez l’accès au dossier à Dr Martin.",
            "You refuse access to the record to Dr Martin.",
            id="an objection",
        ),
        pytest.param(
            consent("deny", provision_provision=[{"type": "permit", "actor": [actor(DOCTOR)]}]),
            "Vous refusez l’accès au dossier à toute personne. Exception : accès autorisé à Dr Martin.",
            "You refuse access to the record to everybody. Exception: access allowed to Dr Martin.",
            id="an objection with an exception",
        ),
        pytest.param(
            consent("permit", VENDOR, provision_period={"start": "2026-05-01", "end": "2026-06-30"}),
            "Vous autorisez Télésoins à voir le dossier, à partir du 01/05/2026 jusqu’au 30/06/2026.",
            "You allow Télésoins to see the record, from 01/05/2026 until 30/06/2026.",
            id="the last day is named, not the one after",
        ),
        pytest.param(
            consent("permit", VENDOR, provision_class=TYPES, provision_purpose=[coding("v3-ActReason", "HRESCH")]),
            "Vous autorisez Télésoins à voir le dossier, pour la recherche, seulement : mesures et résultats et Binary.",
            "You allow Télésoins to see the record, for research, only: measurements and results and Binary.",
            id="some types, for a purpose",
        ),
        pytest.param(
            consent("deny", DOCTOR, provision_securityLabel=MASKED, provision_dataPeriod={"end": "2020"}),
            "Vous refusez l’accès au dossier à Dr Martin, pour les données marquées : psychiatrie et confidentialité R, "
            "pour les données jusqu’au 31/12/2020.",
            "You refuse access to the record to Dr Martin, for data marked: psychiatry and confidentiality R, "
            "for data until 31/12/2020.",
            id="some labels, of a time",
        ),
        pytest.param(
            consent(),
            "Vous acceptez le partage du dossier avec l’équipe de soins ; personne d’autre n’y gagne un accès.",
            "You accept that the record is shared with the care team; nobody else gains access by this.",
            id="a general agreement",
        ),
        pytest.param(
            consent("", policyRule=None, provision_code=[concept("x", "y")]),
            "Ce choix ne dit ni oui ni non pour l’ensemble du dossier.",
            "This choice says neither yes nor no for the record as a whole.",
            id="neither yes nor no",
        ),
        pytest.param(
            consent("permit", provision_actor=[actor({"display": "X"})], modifierExtension=[{"url": "urn:x"}]),
            "Vous autorisez une personne inconnue de la plateforme à voir le dossier. La plateforme ne comprend pas tout "
            "ce choix : il n’ouvre donc le dossier à personne.",
            "You allow somebody the hub does not know to see the record. The hub does not understand all of this choice: "
            "so it opens the record to nobody.",
            id="what is not understood is said",
        ),
    ],
)
def test_a_rule_in_words(given: dict[str, Any], french: str, english: str) -> None:
    rule = compile_consent(given, zone=ZONE)
    assert rule is not None
    assert [rule_in_words(rule, NAMES, LANGUAGES[language], ZONE) for language in ("fr", "en")] == [french, english]


def test_others_read_of_the_patient() -> None:
    rule = compile_consent(consent("permit", VENDOR), zone=ZONE)
    assert rule is not None
    said = rule_in_words(rule, NAMES, LANGUAGES["fr"], ZONE, own=False)
    assert said == "Le patient autorise Télésoins à voir le dossier."


@pytest.mark.parametrize(
    ("given", "teams", "french"),
    [
        pytest.param([], (), "Ne fait pas partie de l’équipe de soins, et n’est pas autorisé.", id="a stranger"),
        pytest.param([], (care_team(VENDOR),), "Fait partie de l’équipe de soins.", id="a member"),
        pytest.param([consent("permit", VENDOR)], (), "Le patient l’a autorisé.", id="one who is allowed"),
        pytest.param(
            [consent("deny", VENDOR)], (care_team(VENDOR),), "Le patient s’y oppose.", id="one who is refused"
        ),
        pytest.param(
            [consent("permit", VENDOR, provision_class=TYPES)],
            (),
            "Voit une partie du dossier seulement : un choix du patient dit laquelle.",
            id="one who sees a part",
        ),
    ],
)
def test_a_reason_in_words(given: list[dict[str, Any]], teams: tuple[dict[str, Any], ...], french: str) -> None:
    assert reason_in_words(decided(*given, teams=teams), LANGUAGES["fr"]) == french


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        pytest.param({"name": "CHU"}, "CHU", id="an organisation"),
        pytest.param({"name": [{"prefix": ["Dr"], "given": ["Luc"], "family": "Martin"}]}, "Dr Luc Martin", id="parts in order"),
        pytest.param({"name": [{"use": "old", "family": "A"}, {"use": "official", "family": "B"}]}, "B", id="the official one"),
        pytest.param({"name": [{"text": "Zoé É.", "family": "É"}]}, "Zoé É.", id="the text where there is one"),
        pytest.param({}, "", id="none"),
    ],
)  # fmt: skip
def test_names(resource: dict[str, Any], name: str) -> None:
    assert name_in(resource) == name


def span(lo: str, hi: str) -> Span:
    return Span(at(lo), at(hi))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2026", span("2026-01-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00"), id="a year"),
        pytest.param("2026-12", span("2026-12-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00"), id="December"),
        pytest.param("2026-03-29", span("2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"), id="a day of 23 hours"),
        pytest.param("2026-01-01T00:00:00Z", span("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00"), id="a second"),
        pytest.param("2016-12-31T23:59:60Z", span("2017-01-01T00:00:00+00:00", "2017-01-01T00:00:01+00:00"), id="a leap second"),
        pytest.param("2026-02-30", None, id="a day that is none"),
        pytest.param("0000", None, id="a year that is none"),
        pytest.param("2026-1-1", None, id="another form"),
        pytest.param(2026, None, id="a number"),
    ],
)  # fmt: skip
def test_dates(text: object, expected: Span | None) -> None:
    assert read_date(text, ZONE) == expected


def test_a_fraction_of_a_second_is_as_long_as_its_last_digit() -> None:
    found = read_date("2026-01-01T00:00:00.25Z", ZoneInfo("UTC"))
    assert found == Span(at("2026-01-01T00:00:00+00:00") + 250_000, at("2026-01-01T00:00:00+00:00") + 260_000)


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        pytest.param({}, Span(ALWAYS_LO, ALWAYS_HI), id="without bounds it is always"),
        pytest.param({"start": "x"}, None, id="a bound that cannot be read"),
        pytest.param({"end": "x"}, None, id="an end that cannot be read"),
        pytest.param({"start": "2026-02", "end": "2026-01"}, None, id="it ends before it starts"),
    ],
)
def test_periods(period: dict[str, str], expected: Span | None) -> None:
    assert read_period(period, ZONE) == expected


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        pytest.param({"reference": "Patient/1"}, "Patient/1", id="a literal one"),
        pytest.param({"reference": "http://hub.example/fhir/Patient/1"}, "Patient/1", id="an absolute one to this hub"),
        pytest.param({"reference": "http://hub.example/fhirs/Patient/1"}, "", id="not to a neighbour of it"),
        pytest.param({"reference": "#contained"}, "", id="a contained one"),
        pytest.param({"reference": "urn:uuid:0"}, "", id="a urn"),
        pytest.param({"identifier": {"value": "1"}}, "", id="a logical one"),
        pytest.param({"reference": "Patient/1&x=2"}, "", id="what is no id"),
        pytest.param(None, "", id="none"),
    ],
)
def test_references(reference: Any, expected: str) -> None:
    assert local(reference, "http://hub.example/fhir") == expected
