"""The meaning of a search, value by value: R4's own examples, and what the contract suite cannot reach."""

from __future__ import annotations

from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from fhir_server.search.asks import Reader
from fhir_server.search.dates import span
from fhir_server.search.match import Alone, Node, distance_km, fits, matches
from fhir_server.search.query import Ask, Match, Parameter
from fhir_server.search.values import Number, Period, Position, Quantity, Reference, Text, Token, Uri, Value

ZONE = ZoneInfo("Europe/Paris")
NOW = 1_790_000_000_000_000
FIRST, LAST = -(2**63), 2**63 - 1


def answers(kind: str, text: str, *values: Value, modifier: str = "") -> bool:
    """Whether a resource with these values matches `p[:modifier]=text`."""
    parameter = Parameter("p", kind, "Patient", "p", ("Patient",))
    clause = Reader(ZONE, NOW).match("p", parameter, modifier, text)
    return matches(clause, Node("Patient", "1", {"p": values}), Alone())


def period(start: str | None, end: str | None) -> Period:
    return Period(span(start, ZONE).lo if start else FIRST, span(end, ZONE).hi if end else LAST)


@pytest.mark.parametrize(
    ("asked", "value", "expected"),
    [
        ("eq2013-01-14", span("2013-01-14T00:00", ZONE), True),
        ("eq2013-01-14", span("2013-01-14T10:00", ZONE), True),
        ("eq2013-01-14", span("2013-01-15T00:00", ZONE), False),
        ("ne2013-01-14", span("2013-01-15T00:00", ZONE), True),
        ("ne2013-01-14", span("2013-01-14T00:00", ZONE), False),
        ("ne2013-01-14", span("2013-01-14T10:00", ZONE), False),
        ("lt2013-01-14T10:00", span("2013-01-14", ZONE), True),
        ("gt2013-01-14T10:00", span("2013-01-14", ZONE), True),
        ("ge2013-03-14", period("2013-01-21", None), True),
        ("le2013-03-14", period("2013-01-21", None), True),
        ("sa2013-03-14", period("2013-03-15", None), True),
        ("sa2013-03-14", period("2013-01-21", None), False),
        ("sa2013-03-14", period(None, "2013-01-21"), False),
        ("eb2013-03-14", period("2013-03-15", None), False),
        ("eb2013-03-14", period("2013-01-21", None), False),
        ("eb2013-03-14", period(None, "2013-01-21"), True),
        ("ap2013-03-14", span("2013-03-14", ZONE), True),
        ("ap2013-03-14", span("2015-06-15", ZONE), False),
    ],
)
def test_the_dates_that_r4_gives_as_examples(asked: str, value: Period, expected: bool) -> None:
    if asked.startswith("ap"):  # R4 wrote its example in 2019, when the gap to 2013 was six years
        parameter = Parameter("p", "date", "Patient", "p")
        clause = Reader(ZONE, span("2019-11-01", ZONE).lo).match("p", parameter, "", asked)
        assert matches(clause, Node("Patient", "1", {"p": (value,)}), Alone()) is expected
    else:
        assert answers("date", asked, value) is expected


@pytest.mark.parametrize(
    ("prefix", "inside", "same", "wider", "before", "after", "across_begin", "across_end"),
    [
        # of the year 2020 against: a day in it, itself, 2019-2021, 2018, 2022, 2019-06/2020-06, 2020-06/2021-06
        pytest.param("eq", True, True, False, False, False, False, False, id="eq: contains"),
        pytest.param("ne", False, False, True, True, True, True, True, id="ne: does not contain"),
        pytest.param("gt", False, False, True, False, True, False, True, id="gt: reaches above"),
        pytest.param("lt", False, False, True, True, False, True, False, id="lt: reaches below"),
        pytest.param("ge", True, True, True, False, True, True, True, id="ge: ends at or after its start"),
        pytest.param("le", True, True, True, True, False, True, True, id="le: begins before its end"),
        pytest.param("sa", False, False, False, False, True, False, False, id="sa: wholly above"),
        pytest.param("eb", False, False, False, True, False, False, False, id="eb: wholly below"),
    ],
)
def test_prefixes_on_spans(
    prefix: str, inside: bool, same: bool, wider: bool, before: bool, after: bool, across_begin: bool, across_end: bool
) -> None:
    spans = {
        period("2020-05-05", "2020-05-05"): inside,
        period("2020", "2020"): same,
        period("2019", "2021"): wider,
        period("2018", "2018"): before,
        period("2022", "2022"): after,
        period("2019-06", "2020-06"): across_begin,
        period("2020-06", "2021-06"): across_end,
    }
    assert {value: answers("date", f"{prefix}2020", value) for value in spans} == spans


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param("ge2026-03-01", True, id="it ends on the day asked for"),
        pytest.param("ge2026-03-01T12:00", False, id="it ends where the minute asked for begins"),
        pytest.param("ge2026-03-01T11:59", True, id="it ends where the minute asked for ends"),
        pytest.param("ge2026-03-02", False, id="it ends before"),
        pytest.param("le2026-02-27", True, id="it begins on the day asked for"),
        pytest.param("le2026-02-26", False, id="it begins after"),
        pytest.param("gt2026-03-01", False, id="gt: no part of it is after that day"),
        pytest.param("lt2026-02-27", False, id="lt: no part of it is before that day"),
    ],
)
def test_a_stay_of_some_days(asked: str, expected: bool) -> None:
    stay = Period(span("2026-02-27", ZONE).lo, span("2026-03-01T12:00", ZONE).lo)
    assert answers("date", asked, stay) is expected


def test_spans_that_touch_do_not_overlap() -> None:
    year_before, year_after = span("2019", ZONE), span("2021", ZONE)
    assert answers("date", "sa2020", year_after) and answers("date", "eb2020", year_before)
    assert not answers("date", "ap2026", year_after) and not answers("date", "ge2020", year_before)


@pytest.mark.parametrize(
    ("asked", "yes", "no"),
    [
        ("100", ["99.5", "100", "100.49"], ["99.49", "100.5"]),
        ("100.00", ["99.995", "100.0049"], ["100.005", "99.99"]),
        ("1e2", ["95", "104.9"], ["94.9", "105"]),
        ("lt100", ["99.999", "-5"], ["100", "100.1"]),
        ("le100", ["100", "99"], ["100.001"]),
        ("gt100", ["100.001"], ["100", "99"]),
        ("ge100", ["100", "101"], ["99.999"]),
        ("ne100", ["99.4", "100.5"], ["99.5", "100"]),
        ("sa100", ["100.1"], ["100"]),
        ("eb100", ["99.9"], ["100"]),
        ("ap100", ["90", "110"], ["89.9", "110.1"]),
        ("2", ["2"], ["1", "3"]),
        ("2.5", [], ["2", "3"]),
    ],
)
def test_the_numbers_that_r4_gives_as_examples(asked: str, yes: list[str], no: list[str]) -> None:
    for text in yes + no:
        assert answers("number", asked, Number(Decimal(text), Decimal(text))) is (text in yes), text


def test_a_range_is_met_by_its_parts() -> None:
    doses = Number(Decimal(3), Decimal(5))
    assert not answers("number", "4", doses) and answers("number", "ne4", doses)
    assert answers("number", "gt4", doses) and answers("number", "lt4", doses)
    assert answers("number", "ap5", doses) and answers("number", "sa2.9", doses) and not answers("number", "sa3", doses)
    assert not answers("number", "ge5", doses), "it reaches 5, not above it, and 5 does not contain it"


def test_a_comparator_leaves_one_side_open() -> None:
    below = Quantity(None, Decimal(5), "", "mg", "mg")
    above = Quantity(Decimal(5), None, "", "mg", "mg")
    assert answers("quantity", "lt1", below) and not answers("quantity", "gt5", below)
    assert answers("quantity", "gt1000", above) and not answers("quantity", "lt5", above)
    assert not answers("quantity", "5", below) and answers("quantity", "ne5", above)
    assert answers("quantity", "eb6", below) and not answers("quantity", "sa1", below)


def test_not_is_about_the_whole_set() -> None:
    both = (Token("", "a"), Token("", "b"))
    assert not answers("token", "a", *both, modifier="not")
    assert answers("token", "c", *both, modifier="not")
    assert answers("token", "a", modifier="not"), "without any value"


def test_a_token_without_code_answers_only_its_system() -> None:
    value = Token("urn:s", None)
    assert (
        answers("token", "urn:s|", value)
        and not answers("token", "urn:s|x", value)
        and not answers("token", "x", value)
    )


def test_alternatives_are_or_and_any_value_counts() -> None:
    assert answers("string", "x,ma", Text("Zoé"), Text("Martin"))
    assert not answers("string", "x,y", Text("Zoé"), Text("Martin"))


def test_an_empty_text_starts_with_nothing() -> None:
    assert not answers("token", "a", Token("", "a", ""), modifier="text")
    assert not answers("string", "a", Text(""))


@pytest.mark.parametrize(
    ("asked", "value", "expected"),
    [
        ("http://a.example/x", "http://a.example/x", True),
        ("http://a.example/x", "http://a.example/x/1", True),
        ("http://a.example/x", "http://a.example/xy", False),
        ("http://a.example/x/", "http://a.example/x/1", True),
        ("http://a.example/x/", "http://a.example/x", False),
    ],
)
def test_below_is_by_segments(asked: str, value: str, expected: bool) -> None:
    assert answers("uri", asked, Uri(value), modifier="below") is expected
    assert answers("uri", value, Uri(asked), modifier="above") is expected


def test_a_reference_elsewhere_is_not_the_local_one_of_the_same_id() -> None:
    elsewhere = Reference("Patient", "1", "http://other/fhir/Patient/1")
    assert not answers("reference", "Patient/1", elsewhere)
    assert answers("reference", "http://other/fhir/Patient/1", elsewhere)


def test_a_reference_without_identifier_has_none_to_match() -> None:
    assert not answers("reference", "s|1", Reference("Patient", "1"), modifier="identifier")
    assert answers("reference", "s|1", Reference("", "", identifier=Token("s", "1")), modifier="identifier")


def test_a_value_of_another_kind_does_not_answer() -> None:
    assert not fits("", Ask(Text("a")), Uri("a"))
    assert not fits("", Ask(Token(None, "a")), Text("a"))


def test_near_is_a_distance_on_the_earth() -> None:
    paris, rennes = Position(48.8566, 2.3522), Position(48.1173, -1.6778)
    assert 305 < distance_km(paris, rennes) < 312
    assert distance_km(paris, paris) == 0
    near = Parameter("near", "special", "Location", "Location.position")
    for reach, expected in (("320", True), ("300", False)):
        clause = Reader(ZONE, NOW).match("near", near, "", f"48.8566|2.3522|{reach}")
        assert matches(clause, Node("Location", "1", {"near": (rennes,)}), Alone()) is expected
    across = Position(0, 179.9), Position(0, -179.9)
    assert distance_km(*across) < 23, "the antimeridian is no wall"


def test_missing_asks_for_values_not_for_matches() -> None:
    parameter = Parameter("p", "token", "Patient", "p")
    node = Node("Patient", "1", {"p": ()})
    assert matches(Match(parameter, (), "missing", missing=True), node, Alone())
    assert not matches(Match(parameter, (), "missing", missing=False), node, Alone())
