"""Full text: what `_text` and `_content` ask, and the text of a resource that they ask it of.

R4 leaves the language of these parameters to the server (https://hl7.org/fhir/R4/search.html#content). Here
they take words, "several words in order", `and`, `or`, `not` and parentheses: `(bone or liver) and "acute pain"`.
Words that stand beside each other are joined by `and`, which binds tighter than `or`; a word that ends in `*`
asks for words that begin so. Case and accents do not count, punctuation parts words; a comma outside of quotes
joins by `or` what stands on its two sides, as in every parameter.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from fhir_server import gate
from fhir_server.search.fold import LETTERS

CODES: Final = ("_text", "_content")
MAX_TEXT: Final = 2_000  # characters of one question
MOST_WORDS: Final = 50  # of one question
MAX_DEPTH: Final = 10  # parentheses inside each other

_PARTS: Final = re.compile(r'"([^"]*)"|([()])|([^\s()"]+)')
_WORD: Final = re.compile(r"[^\W_]+")
_MARKED: Final = re.compile(r"[^\x00-\x7f]{1,16}")
_TAGS: Final = re.compile(r"<[^<>]*>")
_DATA: Final = frozenset({"data", "resourceType", "div"})  # base64, what every resource says, and markup


_ODD: Final = (b"\\", b"&", b"<", b'"data":', b'"div":')
"""Escapes, entities, narratives and data that is no text: what is to be read as `text_of` does."""
_BASE64: Final = re.compile(rb'"data":"[^"\\]*"')
_STRINGS: Final = re.compile(rb'"resourceType":"[A-Za-z]+"|"[A-Za-z_]+":|"([^"]*)"')
"""What stands in quotes; its group has the strings, and is empty for keys and what every resource says."""


class Phrase(NamedTuple):
    """Words that stand in this order beside each other."""

    text: str  # folded, parted by single spaces
    is_start: bool = False  # whether the last word may go on


class Every(NamedTuple):
    """Each of these is there."""

    parts: tuple[Words, ...]


class Some(NamedTuple):
    """One of these is there."""

    parts: tuple[Words, ...]


class Without(NamedTuple):
    """This is not there."""

    part: Words


Words: TypeAlias = Phrase | Every | Some | Without


def folded(text: str) -> str:
    """Return the words of a text without case and accents, parted by single spaces."""
    if text.isascii():
        return " ".join(_WORD.findall(text.lower()))
    plain = _MARKED.sub(_run, text)
    plain = plain.lower() if plain.isascii() else plain.casefold().translate(LETTERS)
    return " ".join(_WORD.findall(plain))


def _run(found: re.Match[str]) -> str:
    """Return what stands for a run of letters outside ASCII: few are, in a French text, and always the same."""
    return _letters(found[0])


@lru_cache(maxsize=4096)
def _letters(text: str) -> str:
    return _bare(_bare(text).casefold())


def _bare(text: str) -> str:
    """Return a text in letters without marks; folding case may bring some back."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


@lru_cache(maxsize=1024)
def read(text: str) -> Words:
    """Read a question.

    Raises:
        ValueError: It has no words, a parenthesis or quote without its other half, or is too long.
    """
    if len(text) > MAX_TEXT:
        raise ValueError("not a full text question")
    parts = [_part(found) for found in _PARTS.finditer(text)]
    if text.count('"') % 2 or not parts or len(parts) > 4 * MOST_WORDS:
        raise ValueError("not a full text question")
    reader = _Reader(parts)
    made = reader.either(0)
    if reader.at != len(parts) or reader.words > MOST_WORDS:
        raise ValueError("not a full text question")
    return made


def _part(found: re.Match[str]) -> tuple[str, str]:
    """Return (kind, text) of a part: kind is phrase, word, or the sign itself."""
    phrase, sign, word = found.groups()
    if phrase is not None:
        return "phrase", phrase
    if sign:
        return sign, sign
    low = word.lower()
    return (low, low) if low in ("and", "or", "not") else ("word", word)


class _Reader:
    """Goes through the parts of a question."""

    def __init__(self, parts: list[tuple[str, str]]) -> None:
        self._parts, self.at, self.words = parts, 0, 0

    def _next(self) -> str:
        return self._parts[self.at][0] if self.at < len(self._parts) else ""

    def either(self, depth: int) -> Words:
        parts = [self._every(depth)]
        while self._next() == "or":
            self.at += 1
            parts.append(self._every(depth))
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _every(self, depth: int) -> Words:
        parts = [self._one(depth)]
        while self._next() not in ("", "or", ")"):
            if self._next() == "and":
                self.at += 1
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _one(self, depth: int) -> Words:
        kind = self._next()
        if depth > MAX_DEPTH or kind in ("", "and", "or", ")"):
            raise ValueError("not a full text question")
        text = self._parts[self.at][1]
        self.at += 1
        if kind == "not":
            return Without(self._one(depth + 1))
        if kind == "(":
            made = self.either(depth + 1)
            if self._next() != ")":
                raise ValueError("not a full text question")
            self.at += 1
            return made
        words = folded(text)
        self.words += words.count(" ") + 1
        if not words:
            raise ValueError("not a full text question")
        return Phrase(words, is_start=kind == "word" and text.endswith("*"))


def holds(question: Words, text: str) -> bool:
    """Return whether a folded text answers a question."""
    return _holds(question, f" {text} ")


def _holds(question: Words, text: str) -> bool:
    if isinstance(question, Phrase):
        return f" {question.text}{'' if question.is_start else ' '}" in text
    if isinstance(question, Without):
        return not _holds(question.part, text)
    return (all if isinstance(question, Every) else any)(_holds(part, text) for part in question.parts)


def text_of(code: str, resource: Any) -> str:
    """Return the folded text of a resource: its narrative for `_text`, all its strings for `_content`.

    Neither has base64 data; contained resources are part of the content, and of the narrative they are not.
    """
    if code == "_text":
        return folded(_narrative(resource))
    return folded("\n".join(_strings(resource)))


def content_of(body: bytes) -> str:
    """Return the words of a stored body as `_content` means them, for an index that takes no note of case and order.

    Most bodies are plain: their strings are what stands in quotes and is no key. What is said again is left out.
    """
    plain = _plain(body)
    if plain is not None:
        said = b" ".join(dict.fromkeys(_STRINGS.findall(plain)))
        if said.isascii():
            return said.decode()
        text = folded(said.decode())
    else:
        text = text_of("_content", gate.load(body))
    return " ".join(dict.fromkeys(text.split(" ")))


def whole_content_of(body: bytes) -> str:
    """Return them with all that is said again, in order."""
    plain = _plain(body)
    if plain is None:
        return text_of("_content", gate.load(body))
    said = b" ".join(_STRINGS.findall(plain)).decode()
    return said if said.isascii() else folded(said)


def _plain(body: bytes) -> bytes | None:
    """Return a body whose strings can be found by their quotes, without its base64; None where that is not so."""
    plain = _BASE64.sub(b"", body) if b'"data":"' in body else body
    return None if any(mark in plain for mark in _ODD) else plain


def as_query(question: Words) -> tuple[str, bool]:
    """Return what asks an index of words (https://www.sqlite.org/fts5.html#full_text_query_syntax).

    Returns:
        The expression, "" for everything; and whether it finds the answers alone. Else it finds more, never fewer: the
        index knows no places of words, so a phrase asks for all of them.
    """
    if isinstance(question, Phrase):
        parts = [f'"{word}"' for word in question.text.split(" ")]
        return " AND ".join(parts) + (" *" if question.is_start else ""), len(parts) == 1
    if isinstance(question, Without):
        return "", False
    made = [(part, *as_query(part)) for part in question.parts]
    if isinstance(question, Some):
        if any(not text for _, text, _ in made):
            return "", False
        return " OR ".join(f"({text})" for _, text, _ in made), all(exact for _, _, exact in made)
    return _every([(text, exact) for part, text, exact in made if not isinstance(part, Without)], question)


def _every(made: list[tuple[str, bool]], question: Every) -> tuple[str, bool]:
    """Join what must be there; what must not be is taken off where the index knows it for certain."""
    found = " AND ".join(f"({text})" for text, _ in made if text)
    without = [as_query(part.part) for part in question.parts if isinstance(part, Without)]
    if not found:
        return "", False
    taken = "".join(f" NOT ({text})" for text, exact in without if text and exact)
    return f"({found}){taken}", all(exact for _, exact in (*made, *without))


def _narrative(resource: Any) -> str:
    div = (resource.get("text") or {}).get("div")
    return html.unescape(_TAGS.sub(" ", div)) if isinstance(div, str) else ""


def _strings(value: Any) -> Iterator[str]:
    """Yield the strings below a value; the depth is bounded by the parser gate."""
    if isinstance(value, dict):
        if isinstance(value.get("div"), str):
            yield html.unescape(_TAGS.sub(" ", value["div"]))
        for name, item in value.items():
            if name not in _DATA:
                yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value
