"""The index of words beside the plain reading of full text: the same words, and never fewer answers."""

from __future__ import annotations

from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.search import words
from tests.conformance.examples import bodies

SOME = [
    "blood",
    "Bloodhound",
    "café",
    "caf&eacute;",
    "a_b",
    "x-y 70",
    "œdème",
    "C'est",
    "<b>bo</b>ld",
    'say "no"',
    "tab\there",
    "ſ",
]


def tokens(text: str) -> set[str]:
    """Part a text as the index does: at all of ASCII that is no letter or digit."""
    return set("".join(c if c.isalnum() or ord(c) > 127 else " " for c in text.lower()).split())


@pytest.mark.parametrize("part", range(8))
def test_the_words_of_every_example_are_those_that_are_read(part: int) -> None:
    for name in sorted(bodies())[part::8]:
        body = bodies()[name]
        assert tokens(words.content_of(body)) == set(words.text_of("_content", gate.load(body)).split()), name


VALUES = st.recursive(
    st.sampled_from(SOME) | st.text(max_size=8) | st.integers() | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["code", "data", "div", "text", "note"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES)
def test_the_words_of_any_value_are_those_that_are_read(value: Any) -> None:
    body = gate.write({"resourceType": "Basic", "note": value})
    read = set(words.text_of("_content", gate.load(body)).split())
    assert tokens(words.content_of(body)) == read


QUESTIONS = st.recursive(
    st.sampled_from(["blood", "bloo*", '"blood red"', "red", "café", "not blue", "gre*", '"red car"']),
    lambda inner: st.tuples(inner, st.sampled_from([" ", " and ", " or ", " and not "]), inner).map(
        lambda t: f"({t[0]}{t[1]}{t[2]})"
    ),
    max_leaves=5,
)
TEXTS = [
    "blood",
    "red blood",
    "blood red car",
    "bloodhound green",
    "café blue",
    "red",
    "car red",
    "",
    "green grey blue",
]


@pytest.fixture(scope="module")
def index() -> apsw.Connection:
    made = apsw.Connection(":memory:")
    made.execute("CREATE VIRTUAL TABLE words USING fts5(text, content='', columnsize=0, detail=none, tokenize='ascii')")
    for number, text in enumerate(TEXTS):
        made.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (number, words.folded(text)))
    return made


@given(QUESTIONS)
def test_the_index_finds_all_answers_and_where_it_says_so_no_others(index: apsw.Connection, text: str) -> None:
    question = words.read(text)
    right = {number for number, one in enumerate(TEXTS) if words.holds(question, words.folded(one))}
    expression, exact = words.as_query(question)
    if not expression:
        assert not exact
        return
    found = {row[0] for row in index.execute("SELECT rowid FROM words WHERE words MATCH ?", (expression,))}
    assert right <= found
    if exact:
        assert right == found
