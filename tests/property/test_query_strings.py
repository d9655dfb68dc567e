"""Query strings that need no decoding, and links that need no encoding, are those that the standard library makes."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import BadRequest
from fhir_server.http.message import read_pairs
from fhir_server.http.search import link

TEXT = st.text("ab19=&;:%+|/ ,~._-\u00e9\n#?", max_size=9)


@given(TEXT)
def test_a_query_string_is_read_as_the_library_reads_it(query: str) -> None:
    try:
        expected = parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        expected = [("not", "UTF-8")]
    try:
        found = read_pairs(query)
    except BadRequest:
        found = [("not", "UTF-8")]
    assert found == expected


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3))
def test_a_link_is_written_as_the_library_writes_it(pairs: list[tuple[str, str]]) -> None:
    assert link("https://hub/fhir", pairs) == "https://hub/fhir?" + urlencode(pairs, safe=":,/")
