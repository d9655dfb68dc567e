"""Full text questions: what they read, what they find, what text a resource has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.words import MAX_TEXT, folded, holds, read, text_of

TEXT = folded("Diabète de type 2 équilibré, sous régime. Œdème du poumon: non retrouvé!")


@pytest.mark.parametrize(
    ("question", "is_found"),
    [
        pytest.param("diabete", True, id="a word without its accents"),
        pytest.param("DIABÈTE", True, id="a word in capitals"),
        pytest.param("diab", False, id="not a part of a word"),
        pytest.param("diab*", True, id="the start of a word"),
        pytest.param("regime diabete", True, id="words beside each other are joined by and"),
        pytest.param("regime asthme", False, id="and needs both"),
        pytest.param("asthme or regime", True, id="or needs one"),
        pytest.param("asthme or regime and type", True, id="and binds tighter than or"),
        pytest.param("(asthme or regime) and goutte", False, id="parentheses bind"),
        pytest.param('"type 2"', True, id="words in order"),
        pytest.param('"2 type"', False, id="words in another order"),
        pytest.param('"sous  Régime"', True, id="case, accents and spaces do not count in a phrase"),
        pytest.param("not asthme", True, id="not"),
        pytest.param("diabete and not regime", False, id="and not"),
        pytest.param("not (asthme or goutte)", True, id="not of a parenthesis"),
        pytest.param('"and"', False, id="a word in quotes is no sign"),
        pytest.param("type-2", True, id="punctuation parts words"),
    ],
)
def test_a_question_finds(question: str, is_found: bool) -> None:
    assert holds(read(question), TEXT) is is_found


@pytest.mark.parametrize(
    "question",
    ["", "  ", "and", "a and", "or a", "not", "(a", "a)", "()", '"a', '""', "!", "a " * 51, "(" * 12 + "a" + ")" * 12,
     "a" * (MAX_TEXT + 1)],
)  # fmt: skip
def test_what_is_no_question(question: str) -> None:
    with pytest.raises(ValueError):
        read(question)


@given(st.text(alphabet=st.sampled_from('aé"()*- notrd'), max_size=40), st.text(max_size=40))
def test_any_text_is_read_or_refused(question: str, text: str) -> None:
    try:
        asked = read(question)
    except ValueError:
        return
    assert isinstance(holds(asked, folded(text)), bool)


@given(st.text(max_size=60))
def test_a_text_holds_itself_as_a_phrase(text: str) -> None:
    words = folded(text)
    assert folded(words) == words
    if words and words.count(" ") < 50:
        assert holds(read(f'"{words}"'), words)


RESOURCE = {
    "resourceType": "Condition",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Jambe <b>gauche</b> &amp; fièvre</div>'},
    "code": {"text": "Fracture"},
    "contained": [{"resourceType": "Practitioner", "name": [{"family": "Petit"}]}],
    "note": [{"text": "Opérée"}],
    "extension": [{"url": "urn:e", "valueAttachment": {"contentType": "text/plain", "data": "Zm9v"}}],
    "recordedDate": "2026-03-01",
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "word", "is_there"),
    [
        ("_text", "gauche", True),
        ("_text", '"gauche fievre"', True),
        ("_text", "fracture", False),
        ("_text", "xhtml", False),
        ("_content", "gauche", True),
        ("_content", "fracture", True),
        ("_content", "petit", True),
        ("_content", "operee", True),
        ("_content", '"2026 03 01"', True),
        ("_content", "Zm9v", False),
        ("_content", "Condition", False),
        ("_content", "xhtml", False),
    ],
)
def test_the_text_of_a_resource(code: str, word: str, is_there: bool) -> None:
    assert holds(read(word), text_of(code, RESOURCE)) is is_there


def test_a_resource_without_narrative_has_no_text() -> None:
    assert text_of("_text", {"resourceType": "Patient"}) == ""
