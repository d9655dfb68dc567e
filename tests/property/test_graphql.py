"""GraphQL's language: what is read, and that nothing but a QueryError comes of any text."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.graphql import QueryError, read
from fhir_server.graphql.syntax import Field, Inline, Spread
from fhir_server.graphql.variables import coerced

WORDS = ["{", "}", "(", ")", "[", "]", ":", "$", "!", "@", "=", "...", "query", "fragment", "on", "a", "Patient", "1", "-1.5e3", '"x"', '"""y"""', "#c\n", "\n", ",", "null", '"\\u00e9"', "\\", "&"]  # fmt: skip


def argument(text: str) -> Any:
    (field,) = read(f"{{ a(x: {text}) }}").queries[0].selection
    assert isinstance(field, Field)
    return field.arguments["x"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("1", 1, id="a whole number"),
        pytest.param("-1.50", Decimal("-1.50"), id="a decimal with its digits"),
        pytest.param("1e3", Decimal("1e3"), id="an exponent"),
        pytest.param('"a\\"b\\u00e9\\n"', 'a"bé\n', id="escapes"),
        pytest.param('"\\ud83d\\ude00"', "😀", id="a pair of escapes that is one character"),
        pytest.param('"""\n    a\n      b\n    """', "a\n  b", id="a block without its indentation"),
        pytest.param('"""a\\"""b"""', 'a"""b', id="a block with quotes"),
        pytest.param("[1, [true], null]", [1, [True], None], id="lists"),
        pytest.param("[]", [], id="an empty list"),
        pytest.param("official", "official", id="a bare word"),
    ],
)
def test_values_are_read(text: str, value: Any) -> None:
    assert argument(text) == value
    assert str(argument(text)) == str(value)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("01", id="a leading zero"),
        pytest.param("1.", id="a point without digits"),
        pytest.param("1a", id="a number that becomes a name"),
        pytest.param('"a', id="a text without an end"),
        pytest.param('"\\ud83d"', id="half a character"),
        pytest.param('"\\u0000"', id="NUL"),
        pytest.param("{a: 1}", id="an object"),
        pytest.param("9" * 61, id="a number too long"),
    ],
)
def test_other_values_are_refused(text: str) -> None:
    with pytest.raises(QueryError):
        argument(text)


def test_a_document_is_read_whole() -> None:
    document = read(
        "query Q($a: [ID!]!) @x { a } ".replace("@x ", "") + "fragment F on Patient { ...F ... @skip(if: $a) { b } }"
    )
    assert [query.name for query in document.queries] == ["Q"]
    spread, inline = document.fragments["F"].selection
    assert isinstance(spread, Spread) and isinstance(inline, Inline)
    assert (inline.type, inline.directives[0].name) == ("", "skip")


@pytest.mark.parametrize(
    ("type", "given_value", "fits"),
    [
        pytest.param("Int", 1, True, id="a number for Int"),
        pytest.param("Int", "1", False, id="a text for Int"),
        pytest.param("Boolean", True, True, id="true for Boolean"),
        pytest.param("Boolean", 1, False, id="a number for Boolean"),
        pytest.param("ID", 1, True, id="a number for ID"),
        pytest.param("date", "2026", True, id="a text for a FHIR primitive"),
        pytest.param("String", None, True, id="null where it may be"),
        pytest.param("String!", None, False, id="null where it may not be"),
        pytest.param("[String]", "a", True, id="one for a list"),
        pytest.param("String", ["a"], False, id="a list for one"),
    ],
)
def test_variables_are_of_their_type(type: str, given_value: Any, fits: bool) -> None:
    (query,) = read(f"query Q($v: {type}) {{ a }}").queries
    if fits:
        expected = [given_value] if type.startswith("[") else given_value
        assert coerced(query, {"v": given_value}) == {"v": expected}
    else:
        with pytest.raises(QueryError):
            coerced(query, {"v": given_value})


@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join)))
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(QueryError):
        assert read(text).queries
