r"""Splitting parameter values at their separators, which a backslash escapes.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#escaping: `\,` `\|` `\$` and `\\` stand for the
characters themselves.
"""

from __future__ import annotations

import re
from typing import Final

_ESCAPED: Final = re.compile(r"\\([\\,|$])")


def split(text: str, separator: str, most: int = 0) -> list[str]:
    """Split at separators that are not escaped, leaving escapes as they are.

    Args:
        text: A value as it was sent, percent-decoded.
        separator: One of `,` `|` `$`.
        most: How many cuts at most; 0: all.
    """
    if "\\" not in text:
        return text.split(separator, most or -1)
    parts: list[str] = []
    start = at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
            if most and len(parts) == most:
                break
        at += 1
    parts.append(text[start:])
    return parts


def unescape(text: str) -> str:
    """Return the text with its escapes resolved; a backslash before any other character stays."""
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text
