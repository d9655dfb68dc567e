"""Folding of text: what string search compares.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#string: the search "is insensitive to casing and
included combining characters, like accents or other diacritical marks. Punctuation and non-significant
whitespace (e.g. repeated space characters, tab vs space) should also be ignored."
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

# Letters that Unicode does not decompose, though readers of Latin scripts take them for their base letters.
LETTERS: Final = str.maketrans(
    {"œ": "oe", "æ": "ae", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ı": "i", "þ": "th"}
)

LONGEST_KEPT: Final = 128  # characters; longer texts seldom come again, and thousands of them would fill the memory


def fold(text: str) -> str:
    """Return the text without case, accents and punctuation, its words parted by single spaces.

    Punctuation parts words, so that Jean-Pierre is Jean Pierre and d'Artagnan is D ARTAGNAN, as senders
    write them. A text of punctuation alone is kept: it must not become the start of everything.
    """
    return _kept(text) if len(text) <= LONGEST_KEPT else _folded(text)


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(c for c in plain if not unicodedata.combining(c)).casefold().translate(LETTERS)
    words = "".join(map(_part, kept)).split()
    return " ".join(words) or text.strip()


_kept = lru_cache(maxsize=65_536)(_folded)


def _part(character: str) -> str:
    """Let punctuation and space part words, and drop what has no shape (zero width, direction marks)."""
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    return " " if category[0] in "PZ" or category == "Cc" else character
