"""Numbers and texts are stored so that their order, and the ends of what starts alike, are exact."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import BadParameter
from fhir_server.search.query import Parameter, Sort
from fhir_server.store.sqlite.find.order import Cursor, read_cursor, write_cursor
from fhir_server.store.sqlite.find.ranges import after
from fhir_server.store.sqlite.numbers import HIGHEST, LOWEST, encode
from fhir_server.store.sqlite.terms import hasher

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal("-1e900"), max_value=Decimal("1e900"))
CLOSE = st.builds(lambda n, places: Decimal(n).scaleb(-places), st.integers(-1_000, 1_000), st.integers(0, 4))


@given(st.one_of(DECIMALS, CLOSE), st.one_of(DECIMALS, CLOSE))
def test_bytes_stand_in_the_order_of_the_numbers(one: Decimal, other: Decimal) -> None:
    assert (encode(one) < encode(other)) == (one < other)
    assert (encode(one) == encode(other)) == (one == other)


@given(DECIMALS)
def test_every_number_lies_between_the_open_ends(number: Decimal) -> None:
    assert LOWEST < encode(number) < HIGHEST


@pytest.mark.parametrize("text", ["5.4", "5.40", "5.400"])
def test_trailing_zeros_make_no_difference(text: str) -> None:
    assert encode(Decimal(text)) == encode(Decimal("5.4"))


@given(st.text(min_size=1), st.text())
def test_what_starts_with_a_text_lies_before_its_end(start: str, rest: str) -> None:
    end = after(start)
    assert end is None or start <= start + rest < end


@given(st.text(min_size=1), st.text())
def test_what_lies_between_a_text_and_its_end_starts_with_it(start: str, other: str) -> None:
    end = after(start)
    if other >= start and (end is None or other < end):
        assert other.startswith(start)


def test_hashes_depend_on_the_key() -> None:
    assert hasher(b"a" * 32)("x") != hasher(b"b" * 32)("x")


def sort(kind: str) -> tuple[Sort]:
    return (Sort(Parameter("p", kind, "Patient", "p")),)


@pytest.mark.parametrize(
    ("kind", "key"), [("date", -5), ("number", b"\x80"), ("quantity", None), ("string", "x"), ("token", None)]
)
def test_a_cursor_comes_back_as_it_was(kind: str, key: object) -> None:
    cursor = Cursor((key,), 7)
    assert read_cursor(sort(kind), write_cursor(cursor)) == cursor


@pytest.mark.parametrize(
    ("kind", "after_"),
    [
        pytest.param("date", (), id="nothing"),
        pytest.param("date", (1,), id="of no sort"),
        pytest.param("date", ("x", 1), id="text for a date"),
        pytest.param("date", (True, 1), id="a boolean for a date"),
        pytest.param("date", (2**70, 1), id="a date beyond all"),
        pytest.param("number", ("zz", 1), id="no digits for a number"),
        pytest.param("string", (5, 1), id="a number for a text"),
        pytest.param("string", ("x", "y"), id="no seq"),
        pytest.param("string", ("x", 2**70), id="a seq beyond all"),
        pytest.param("string", ("x", None), id="a missing seq"),
    ],
)
def test_a_cursor_of_another_search_is_refused(kind: str, after_: tuple[object, ...]) -> None:
    with pytest.raises(BadParameter):
        read_cursor(sort(kind), after_)
