"""Dates, quantities, units, regular expressions and narratives of FHIRPath."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.fhirpath import EvaluationError, compile, patterns
from fhir_server.fhirpath.narrative import is_narrative
from fhir_server.fhirpath.temporal import compare, parse_date, parse_datetime, parse_time


@pytest.mark.parametrize(
    ("text", "parts", "offset"),
    [
        pytest.param("2024", (2024,), None, id="a year"),
        pytest.param("2024-02-29", (2024, 2, 29), None, id="a leap day"),
        pytest.param("2024-02-29T10:05:07.25+01:30", (2024, 2, 29, 10, 5, 7, 250_000), 90, id="a moment with zone"),
        pytest.param("2024-02-29T10:05:07-00:30", (2024, 2, 29, 10, 5, 7), -30, id="a zone just west"),
        pytest.param(
            "2024-02-29T10:05:07.1234567Z", (2024, 2, 29, 10, 5, 7, 123_456), 0, id="seven digits of a second"
        ),
    ],
)
def test_datetimes_are_read_as_they_are_written(text: str, parts: tuple[int, ...], offset: int | None) -> None:
    read = parse_datetime(text)
    assert read is not None
    assert (read.parts, read.offset) == (parts, offset)
    assert str(read)[:19] == text[:19]


@pytest.mark.parametrize(
    "text",
    ["2023-02-29", "2024-00", "2024-1", "24", "2024-02-29T24:00", "2024-02-29T10:60", "2024-02T10:00", "0000", "²024"],
)
def test_what_is_no_date_is_not_read(text: str) -> None:
    assert parse_datetime(text) is None


def test_dates_have_no_time_and_times_no_date() -> None:
    assert parse_date("2024-02-29T10:00") is None
    assert parse_time("2024") is None


@pytest.mark.parametrize(
    ("left", "right", "order"),
    [
        pytest.param("2024-01-01T00:30+01:00", "2023-12-31T23:30Z", 0, id="zones are brought together"),
        pytest.param("2024-01-01T00:30+01:00", "2023-12-31T23:29Z", 1, id="and then compared"),
        pytest.param("2024", "2024-05", None, id="less precision leaves it open"),
        pytest.param("2023", "2024-05", -1, id="unless it is decided before"),
        pytest.param("2024-05-05T10:00:00", "2024-05-05T10:00:00Z", None, id="a missing zone leaves it open"),
        pytest.param("2024-05-01T10:00:00", "2024-05-05T10:00:00Z", -1, id="unless no zone is that far away"),
        pytest.param("2024-05-05T10:00:00.0Z", "2024-05-05T10:00:00Z", 0, id="seconds and fractions are one precision"),
    ],
)
def test_datetimes_are_ordered_as_far_as_they_are_known(left: str, right: str, order: int | None) -> None:
    a, b = parse_datetime(left), parse_datetime(right)
    assert a is not None
    assert b is not None
    assert compare(a, b) == order
    assert compare(b, a) == (None if order is None else -order)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        pytest.param("@2024-01-31 + 1 month", "2024-02-29", id="a month ends on its last day"),
        pytest.param("@2024-02-29 + 1 year", "2025-02-28", id="a leap day moves to the 28th"),
        pytest.param("@2024 + 25 months", "2026", id="months count as whole years for a year"),
        pytest.param("@2024-03 - 31 days", "2024-02", id="days count as months of 30 for a month"),
        pytest.param("@2024-01-01 + 36 hours", "2024-01-02", id="hours count as whole days for a day"),
        pytest.param("@T23:30 + 45 minutes", "00:15", id="times go round the clock"),
        pytest.param("@2024-12-31T23:59:59Z + 1.5 seconds", "2025-01-01T00:00:00Z", id="fractions are cut off"),
        pytest.param(
            "@2024-12-31T23:59:59.000Z + 1.5 seconds", "2025-01-01T00:00:00.500Z", id="where none are written"
        ),
    ],
)
def test_dates_are_moved_by_durations(expression: str, found: str) -> None:
    assert compile(expression)({}) == [found]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        pytest.param("1 'kg' + 500 'g'", "1.5 'kg'", id="a sum has the unit of the left"),
        pytest.param("1 'kg' + 1 'm'", "", id="a sum of other dimensions is empty"),
        pytest.param("3 'm' * 2", "6 'm'", id="a number scales"),
        pytest.param("'5 days'.toQuantity('h')", "120 'h'", id="a conversion"),
        pytest.param("'5 mg'.toQuantity()", "", id="a UCUM unit needs quotes"),
        pytest.param("37 'Cel' = 98.6 '[degF]'", "true", id="scales with an offset are compared"),
        pytest.param("37 'Cel' * 1 'm'", "", id="a scale with an offset takes no part in a product"),
        pytest.param("7.4 '[pH]' > 7.3 '[pH]'", "true", id="a logarithmic unit compares with itself"),
        pytest.param("1 '[IU]' = 1 '[iU]'", "true", id="two spellings of the international unit"),
    ],
)
def test_quantities_are_calculated(expression: str, found: str) -> None:
    assert compile(f"({expression}).toString()")({}) == ([found] if found else [])


# --- regular expressions ----------------------------------------------------------------------------------

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "^", "a|b", r"\b"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.builds("({}|{})".format, inner, inner),
        st.builds("(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "{1,2}", "{2}", "*?", "+?", "{0,2}?"])),
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(PATTERNS, st.text("ab1 ", max_size=8))
def test_the_machine_matches_what_re_matches(pattern: str, text: str) -> None:
    machine = patterns._Machine(patterns._program(pattern), text)
    expected = re.compile(pattern, re.DOTALL)
    span = machine.run(0, anchored=False)
    found = expected.search(text)
    assert (span is None) == (found is None)
    if span is not None and found is not None:
        assert span[0] == found.start()
    assert (machine.run(0, anchored=True) is None) == (expected.fullmatch(text) is None)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        pytest.param("(a+)+$", "a" * 5_000 + "!", False, id="repetitions inside each other"),
        pytest.param("(a|a)*b", "a" * 5_000, False, id="alternatives that are the same"),
        pytest.param("(.*,){10}x", "1," * 500, False, id="ten times anything"),
        pytest.param("^[A-Z]([A-Za-z0-9_]){0,254}$", "Name_1", True, id="R4's rule for names"),
    ],
)
def test_hostile_patterns_come_to_an_end(pattern: str, text: str, found: bool) -> None:
    assert patterns.found(text, pattern) is found


@pytest.mark.parametrize(
    "pattern", ["(", "[", "*a", r"(a)\1", "(?=a)a*b*", "(?<n>a)", "a" * 2_001, "(a{1000}){1000}b*", "a**"]
)
def test_patterns_that_are_not_supported_are_refused(pattern: str) -> None:
    with pytest.raises(EvaluationError):
        patterns.replaced("aaa", pattern, "b")


@pytest.mark.parametrize(
    ("pattern", "new", "found"),
    [
        pytest.param("(a)(b)", "$2$1", "ba-c", id="groups are put in"),
        pytest.param("[a-c]", "", "-", id="nothing is put in"),
        pytest.param("x*", "+", "+a+b+-+c+", id="empty matches stand between the letters"),
    ],
)
def test_matches_are_replaced(pattern: str, new: str, found: str) -> None:
    assert patterns.replaced("ab-c", pattern, new) == found


# --- narrative --------------------------------------------------------------------------------------------

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'


@pytest.mark.parametrize(
    ("inside", "allowed"),
    [
        pytest.param("<p class='a'>Bonjour &amp; <b>merci</b></p>", True, id="formatting"),
        pytest.param("<img src='#p' alt='curve'/>", True, id="an image alone shows something"),
        pytest.param("<!-- note --> text", True, id="a comment"),
        pytest.param(" \n ", False, id="nothing but white space"),
        pytest.param("<script>alert(1)</script>", False, id="a script"),
        pytest.param("<p onclick='x()'>a</p>", False, id="an event attribute"),
        pytest.param("<a href='javascript:x()'>a</a>", False, id="a script as an address"),
        pytest.param("<form>a</form>", False, id="a form"),
        pytest.param("<p>a", False, id="an element that is not closed"),
        pytest.param("<p>a</b></p>", False, id="elements that cross"),
        pytest.param("a & b", False, id="a bare ampersand"),
        pytest.param("<b>" * 300 + "a" + "</b>" * 300, False, id="elements 300 deep"),
    ],
)
def test_narratives_hold_basic_formatting_only(inside: str, allowed: bool) -> None:
    assert is_narrative(DIV.format(inside)) is allowed
    assert compile("htmlChecks()", "xhtml")(DIV.format(inside)) == [allowed]


@pytest.mark.parametrize("xhtml", ["<p>a</p>", "a", "", "<div>a</div><div>b</div>", "<div>a</div>b", "<div"])
def test_a_narrative_is_one_div(xhtml: str) -> None:
    assert not is_narrative(xhtml)
