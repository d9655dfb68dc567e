"""Times keep their precision and their sender's offset."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from adapters.hl7.times import Zone, header_offset, micros, read, read_clock, stamp

PARIS = Zone(ZoneInfo("Europe/Paris"))


@pytest.mark.parametrize(
    ("written", "fhir", "rule"),
    [
        pytest.param("2026", "2026", "", id="a year stays a year"),
        pytest.param("202611", "2026-11", "", id="a month stays a month"),
        pytest.param("20261120", "2026-11-20", "", id="a day stays a day"),
        pytest.param("202611200830", "2026-11-20T08:30:00+01:00", "", id="seconds are added, the zone in winter"),
        pytest.param("202607200830", "2026-07-20T08:30:00+02:00", "", id="the zone in summer"),
        pytest.param("2026112008", "2026-11-20T08:00:00+01:00", "time-precision-added", id="an hour alone is reported"),
        pytest.param("20261120083000.1234", "2026-11-20T08:30:00.1234+01:00", "", id="four digits of a second"),
        pytest.param(
            "20261120083000+0545", "2026-11-20T08:30:00+05:45", "", id="the sender's own offset, never converted"
        ),
        pytest.param("20261120083000-0000", "2026-11-20T08:30:00+00:00", "", id="minus zero"),
        pytest.param("202610250230", "2026-10-25T02:30:00+02:00", "time-ambiguous", id="the hour that comes twice"),
        pytest.param("202603290230", "2026-03-29T02:30:00+01:00", "time-skipped", id="the hour that does not come"),
        pytest.param("20161231235960", "2016-12-31T23:59:60+01:00", "", id="a leap second"),
    ],
)
def test_reading(written: str, fhir: str, rule: str) -> None:
    found = read(written, PARIS)
    assert found is not None
    assert (found.text, found.rule) == (fhir, rule)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("", id="nothing"),
        pytest.param("0000", id="year zero"),
        pytest.param("00000000", id="zeros"),
        pytest.param("20261325", id="month 13"),
        pytest.param("20260230", id="30 February"),
        pytest.param("2026112024", id="hour 24"),
        pytest.param("202611200860", id="minute 60"),
        pytest.param("20261120083061", id="second 61"),
        pytest.param("20261120083000+1530", id="an offset beyond 14 hours"),
        pytest.param("20 nov 2026", id="words"),
        pytest.param("2026-11-20", id="another format"),
        pytest.param("٢٠٢٦", id="digits of another script"),
    ],
)
def test_what_is_no_time_is_none(written: str) -> None:
    assert read(written, PARIS) is None


def test_the_header_s_offset_counts_before_the_zone() -> None:
    found = read("202611200830", Zone(PARIS.place, header_offset("20261120083000-0400")))
    assert found is not None
    assert found.text == "2026-11-20T08:30:00-04:00"


@pytest.mark.parametrize(
    ("written", "fhir"),
    [
        pytest.param("0830", "08:30:00", id="hours and minutes"),
        pytest.param("083015.25+0100", "08:30:15.25", id="FHIR's time has no zone"),
        pytest.param("2430", None, id="hour 24"),
        pytest.param("8h30", None, id="another format"),
    ],
)
def test_reading_a_time_of_day(written: str, fhir: str | None) -> None:
    assert read_clock(written) == fhir


def test_instants_of_two_offsets_compare() -> None:
    early, late = read("20261120083000+0100", PARIS), read("20261120080000+0000", PARIS)
    assert early is not None and late is not None
    assert micros(late.at) - micros(early.at) == 30 * 60 * 1_000_000


def test_the_stamp_of_an_answer_is_in_utc() -> None:
    assert stamp(1_795_163_400_000_000) == "20261120083000+0000"
