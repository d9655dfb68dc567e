"""Laws of parsing: whatever is sent, the answer is a query or a FhirError that shows no value."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.errors import FhirError
from fhir_server.search.escape import split, unescape
from fhir_server.search.fold import fold
from fhir_server.search.parameters import parameters_of
from fhir_server.search.parse import parse
from fhir_server.search.query import Match
from fhir_server.search.values import Number

NOW = 1_790_000_000_000_000
TYPES = ("Patient", "Observation", "Location", "ValueSet", "Provenance")
CODES = [
    *sorted({code for type in TYPES for code in parameters_of(type)}),
    *("_has:Observation:patient:code", "_sort", "_count", "_include", "_revinclude", "_type", "_total", "_summary"),
]
MODIFIERS = ["", "", ":missing", ":exact", ":not", ":Patient", ":identifier", ":of-type", ":below", ":iterate", ".name"]

names = st.one_of(
    st.builds("{}{}".format, st.sampled_from(CODES), st.sampled_from(MODIFIERS)),
    st.text(alphabet="_abhsPO:.-", max_size=30),
)
texts = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="0123456789.-eE|$,\\TZ:+abgtlp /", max_size=30),
    st.sampled_from(
        ["1", "2020-02-30", "gt5.4|u|c", "a$1", "Patient/1", "http://x/y|1", "48|2|5|km", "true", "*", "Patient:link"]
    ),
)


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(st.sampled_from(TYPES), max_size=2, unique=True),
    st.lists(st.tuples(names, texts), max_size=4),
    st.booleans(),
)
def test_anything_gives_a_query_or_a_refusal(types: list[str], pairs: list[tuple[str, str]], lenient: bool) -> None:
    marked = [(name, f"{value}qXq" if value else value) for name, value in pairs]
    for sent in (pairs, marked):
        try:
            query = parse(types, sent, zone="Europe/Paris", now=NOW, base_url="http://h/fhir", lenient=lenient)
        except FhirError as error:
            assert error.status == 400 and "qXq" not in error.text
        else:
            assert len(query.text) + len(query.ignored) <= len(sent)
            assert lenient or not query.ignored


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=30))
def test_what_is_escaped_comes_back_whole(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|").replace("$", "\\$")
    for separator in ",|$":
        assert [unescape(part) for part in split(escaped, separator)] == [text]
        assert [unescape(part) for part in split(f"{escaped}{separator}{escaped}", separator)] == [text, text]


@settings(max_examples=500, deadline=None)
@given(st.decimals(min_value=-(10**12), max_value=10**12, allow_nan=False, allow_infinity=False, places=4))
def test_a_number_lies_in_the_range_of_its_own_text(value: Decimal) -> None:
    text = format(value, "f")
    (clause,) = parse(("RiskAssessment",), [("probability", text)], zone="UTC", now=NOW).where
    assert isinstance(clause, Match)
    ask = clause.asks[0]
    assert isinstance(ask.value, Number)
    assert ask.value.lo <= value < ask.value.hi and ask.exact == value
    assert ask.value.hi - ask.value.lo == Decimal("0.0001")


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=30))
def test_folding_is_done_once_and_blind_to_case(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold(text.upper()) == fold(text.upper().lower())
