"""Folding: what string search takes for the same."""

from __future__ import annotations

import pytest

from fhir_server.search.fold import fold


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Éléonore", "eleonore", id="accents and case"),
        pytest.param("e\u0301", "e", id="an accent that combines"),
        pytest.param("Lecœur", "lecoeur", id="oe as one letter"),
        pytest.param("ÆBLE", "aeble", id="ae as one letter"),
        pytest.param("Straße", "strasse", id="sharp s"),
        pytest.param("Łódź", "lodz", id="a letter with a stroke"),
        pytest.param("Jean-Pierre", "jean pierre", id="a hyphen parts words"),
        pytest.param("D’Artagnan", "d artagnan", id="a typographic apostrophe"),
        pytest.param("D'Artagnan", "d artagnan", id="a typewriter's apostrophe"),
        pytest.param("  de\t la \n Tour ", "de la tour", id="white space"),
        pytest.param("Mar\u200btin\u202e", "martin", id="characters without shape"),
        pytest.param("12, rue de l'Église", "12 rue de l eglise", id="an address"),
        pytest.param("İSTANBUL", "istanbul", id="a dotted capital i"),
        pytest.param("ﬁn", "fin", id="a ligature"),
        pytest.param("--", "--", id="punctuation alone stays, so that it is no start of everything"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_fold(text: str, expected: str) -> None:
    assert fold(text) == expected
    assert fold(fold(text)) == expected
