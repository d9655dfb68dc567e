"""One XML document given to expat: what expat should not see at all is refused before."""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

from fhir_server.errors import Malformed

MAX_ATTRIBUTES: Final = 64  # of one element
CHUNK: Final = 1 << 20
"""Bytes given to expat at once. After a refusal expat runs on to the end of what it was given, so that must be
little; a token that is not whole is looked at again with each piece, so the pieces must be few."""

_crowded = re.compile(
    rb"<[^\s<>/!?]++(?:\s++[^\s=<>\"']++\s*+=\s*+(?:\"[^\"<]*+\"|'[^'<]*+')){%d}" % (MAX_ATTRIBUTES + 1)
).search


def run(parser: expat.XMLParserType, body: bytes) -> None:
    """Give a body to a parser that has its handlers.

    Args:
        parser: Made for UTF-8.
        body: The bytes of one XML document, UTF-8; a byte order mark is allowed, as XML allows it.

    Raises:
        Malformed: It is no such document, or has a DOCTYPE or an element of too many attributes. What a handler
            raises comes through.
    """
    _check(body)
    parser.XmlDeclHandler = _declare
    parser.StartDoctypeDeclHandler = _forbid
    parser.EntityDeclHandler = _forbid
    try:
        for at in range(0, len(body), CHUNK):
            parser.Parse(body[at : at + CHUNK], False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise Malformed(f"The body is not well-formed XML: see line {error.lineno}.") from None


def _check(body: bytes) -> None:
    """Refuse what expat should not see at all."""
    try:
        body.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise Malformed("The body is not valid UTF-8.") from None
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise Malformed("DOCTYPE and entities are not allowed.")
    if _crowded(body):
        raise Malformed("An element has more than 64 attributes.")


def _declare(_: str, encoding: str | None, __: int) -> None:
    if encoding is not None and encoding.lower() != "utf-8":
        raise Malformed("FHIR XML is UTF-8.")


def _forbid(*_: object) -> None:
    raise Malformed("DOCTYPE and entities are not allowed.")
