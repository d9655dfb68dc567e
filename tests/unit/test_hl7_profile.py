"""What is usual of a sender is learned from samples, and only what is out of the ordinary is drift."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters.hl7.arrival import read as read_arrival
from adapters.hl7.local import Local
from adapters.hl7.log.profile import Learner, coded_fields, drift, problems_of, read, sender_of
from adapters.hl7.log.silence import SLACK_S, SLOTS, Feed, slot_of
from tests.hl7_messages import CHANNEL, adt, header, message, obx, oru, pid, pv1, segment

PARIS = ZoneInfo("Europe/Paris")
SAMPLES = [adt(control=f"A{n}", person=pid(f8="MFU"[n % 3])) for n in range(6)]
SAMPLES += [oru(obx(), control=f"O{n}") for n in range(6)]


def learn(*samples: str) -> dict[str, Any]:
    learner = Learner()
    for text in samples:
        learner.see(read(text.encode()))
    return learner.profile("DPI|CHU TEST", learned="2026-11-23T00:00:00.000+00:00")


PROFILE = learn(*SAMPLES)


def rules(text: str, profile: dict[str, Any] = PROFILE) -> list[tuple[str, str, str]]:
    return [(p.path, p.rule, p.code) for p in drift(profile, read(text.encode()))]


@pytest.mark.parametrize("sample", SAMPLES[:2] + SAMPLES[-2:])
def test_what_was_learned_is_no_drift(sample: str) -> None:
    assert rules(sample) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(message(header(f12="2.6"), "EVN||20261120083000", pid(), pv1()),
                     ("MSH[1]-12", "profile-version-new", "2.6"), id="another version"),
        pytest.param(message(header(f18="8859/1"), "EVN||20261120083000", pid(), pv1()),
                     ("MSH[1]-18", "profile-charset-new", "8859/1"), id="another character set"),
        pytest.param(adt("A08"), ("MSH[1]-9", "profile-type-new", "ADT^A08"), id="another type"),
        pytest.param(adt()[:-1] + "\rZBE|1\r", ("ZBE[1]", "profile-segment-new", "ZBE"), id="a Z segment"),
        pytest.param(adt()[:-1] + "\rOBX|1\r", ("OBX[1]", "profile-segment-new", "OBX"), id="a known one, new here"),
        pytest.param(message(header(), "EVN||20261120083000", pid()), ("PV1[1]", "profile-segment-missing", "PV1"),
                     id="a segment that is always there"),
        pytest.param(adt(person=pid(f16="M")), ("PID[1]-16", "profile-field-new", ""), id="a field"),
        pytest.param(adt(stay=pv1(f19="")), ("PV1[1]-19", "profile-field-missing", ""), id="a field always there"),
        pytest.param(adt(person=pid(f8="X")), ("PID[1]-8", "profile-code-new", "X"), id="a code"),
        pytest.param(adt(person=pid(f5="A^B~C^D")), ("PID[1]-5", "profile-repetition-new", ""), id="a repetition"),
        pytest.param(adt(person=pid(f5="A" * 200)), ("PID[1]-5", "profile-field-longer", ""), id="a longer field"),
        pytest.param(oru(obx(), obx("1-8^x^LN")), ("OBX[2]", "profile-segment-more", "OBX"), id="more segments"),
    ],
)  # fmt: skip
def test_what_is_out_of_the_ordinary_is_drift(text: str, expected: tuple[str, str, str]) -> None:
    assert expected in rules(text)


def test_usages_and_counts_are_learned() -> None:
    type = PROFILE["types"]["ADT^A01"]
    assert (type["messages"], PROFILE["messages"], PROFILE["versions"]) == (6, 12, ["2.5"])
    field = type["segments"]["PID"]["fields"]["8"]
    assert field == {"usage": "R", "repeats": 1, "length": 1, "codes": ["F", "M", "U"]}
    half = learn(*[adt(person=pid(f16="M" if n % 2 else "")) for n in range(6)])
    assert half["types"]["ADT^A01"]["segments"]["PID"]["fields"]["16"]["usage"] == "RE"
    few = learn(*[adt(person=pid(f16="" if n else "M")) for n in range(6)])
    assert few["types"]["ADT^A01"]["segments"]["PID"]["fields"]["16"]["usage"] == "O"


def test_a_profile_holds_no_value_but_codes() -> None:
    """Names, numbers, dates and results of the samples are not in it: only fields whose type is a code give values."""
    named = [
        adt(person=pid("SECRET1^^^CHU&1.2.3&ISO^PI", "SECRET2^SECRET3", f11="SECRET4 STREET^^CITY", f13="SECRET5")),
        oru(obx(value="SECRET6", kind="ST"), obx("1-8^x^LN", "SECRET7^SECRET8", kind="CWE")),
        message(header(), pid(), segment("NTE", f3="SECRET9")),
    ]
    assert "SECRET" not in json.dumps(learn(*named))
    assert 5 not in coded_fields("OBX", "2.5")


def test_a_field_with_very_many_codes_is_open() -> None:
    samples = [oru(obx(f"{n}-1^x^LN"), control=f"C{n}") for n in range(150)]
    assert "codes" not in learn(*samples)["types"]["ORU^R01"]["segments"]["OBX"]["fields"]["3"]
    assert not [rule for _, rule, _ in rules(oru(obx("999-9^x^LN")), learn(*samples)) if rule == "profile-code-new"]


def test_few_samples_make_nothing_required() -> None:
    profile = learn(adt(person=pid(f16="M")))
    assert [rule for _, rule, _ in rules(adt(), profile)] == []


def test_drift_is_noted_with_the_message_of_its_sender_only() -> None:
    told = replace(CHANNEL, local=Local(profiles={"DPI|CHU TEST": PROFILE}))
    text = adt(person=pid(f16="M")).encode()
    assert "profile-field-new" in [p.rule for p in read_arrival(told, text).problems]
    assert "profile-field-new" not in [p.rule for p in read_arrival(CHANNEL, text).problems]
    other = message(header(f4="OTHER"), "EVN||20261120083000", pid(f16="M"), pv1()).encode()
    assert not [p.rule for p in read_arrival(told, other).problems if p.rule.startswith("profile-")]


def test_the_number_of_problems_is_bounded() -> None:
    wild = adt()[:-1] + "".join(f"\rZ{n:02d}|x" for n in range(80)) + "\r"
    assert len(drift(PROFILE, read(wild.encode()))) == 50


def test_what_is_no_message_is_one_problem() -> None:
    assert [p.rule for p in problems_of(PROFILE, b"hello")] == ["fault-100"]
    assert sender_of(read(adt().encode())) == "DPI|CHU TEST"


# --- silence -------------------------------------------------------------------------------------------------
HOUR, DAY = 3600.0, 86_400.0
MONDAY = 1_793_574_000.0  # 2026-11-02T00:00 in Paris


def test_the_first_moment_of_these_tests_is_a_monday_at_midnight() -> None:
    assert slot_of(MONDAY, PARIS) == 0


def office(days: int) -> Feed:
    """A feed with a message every ten minutes from 8 to 18 on working days, `days` long."""
    feed = Feed("LAB|CHU")
    for day in range(days):
        if day % 7 < 5:
            for minute in range(8 * 60, 18 * 60, 10):
                feed.see(MONDAY + day * DAY + minute * 60, PARIS)
    return feed


@pytest.mark.parametrize(
    ("days", "at", "expected"),
    [
        pytest.param(26, 25 * DAY + 18 * HOUR, False, id="the last message of a Friday has just come"),
        pytest.param(26, 26 * DAY + 12 * HOUR, False, id="a Saturday is always silent"),
        pytest.param(26, 28 * DAY + 6 * HOUR, False, id="the night before Monday too"),
        pytest.param(26, 28 * DAY + 11 * HOUR, True, id="a Monday at eleven never was"),
        pytest.param(8, 7 * DAY + 30 * HOUR, False, id="nothing is said in the first two weeks"),
    ],
)
def test_a_feed_is_silent_by_its_own_hours(days: int, at: float, expected: bool) -> None:
    assert office(days).is_silent(MONDAY + at, PARIS) is expected


def test_an_outage_is_not_learned_as_usual() -> None:
    feed = office(26)
    allowed = feed.allowed(slot_of(MONDAY + 28 * DAY + 11 * HOUR, PARIS), MONDAY + 28 * DAY)
    feed.see(MONDAY + 30 * DAY + 12 * HOUR, PARIS)
    again = feed.allowed(slot_of(MONDAY + 28 * DAY + 11 * HOUR, PARIS), MONDAY + 31 * DAY)
    assert allowed is not None and again is not None
    assert again <= 2 * allowed + SLACK_S


def test_a_late_message_changes_no_silence() -> None:
    feed = office(20)
    before = list(feed.quiet)
    feed.see(MONDAY + DAY, PARIS)
    assert (feed.quiet, feed.last) == (before, office(20).last)


def test_a_silence_of_weeks_counts_for_every_hour() -> None:
    feed = Feed("x|y")
    feed.see(MONDAY, PARIS)
    feed.see(MONDAY + 10 * DAY, PARIS)
    assert len([seconds for seconds in feed.quiet if seconds >= 10 * DAY]) == SLOTS
