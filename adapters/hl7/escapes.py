r"""Escape sequences of HL7 v2: decoded in one pass from left to right, on the leaves only.

One pass, because `\E\T\E\` means the text `\T\`; a second pass would make `&` of it. A lone escape
character is data. Sequences that cannot be decoded stay as they are written.
Source: HL7 v2.5.1 chapter 2, section 2.7 (use of escape sequences in text fields).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

MOST_LINES = 99  # of `.sp n` and `.sk n`: a longer run is no formatting, it stays as written

_ALLOWED_CONTROLS = "\t\n\r"


class Delimiters(NamedTuple):
    """The characters that MSH-1 and MSH-2 name."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""  # the fifth character of MSH-2, where there is one

    @property
    def encoding(self) -> str:
        """MSH-2."""
        return self.component + self.repetition + self.escape + self.subcomponent + self.truncation


@lru_cache(maxsize=64)
def _decoder(escape: str) -> re.Pattern[str]:
    mark = re.escape(escape)
    return re.compile(
        rf"{mark}(?:(?P<letter>[FSTREPHN])|X(?P<hex>(?:[0-9A-Fa-f]{{2}})+)"
        rf"|\.(?P<command>(?i:br|sp|in|ti|fi|nf|ce|sk))[ ]?[+-]?(?P<count>[0-9]{{0,9}})[ ]*){mark}"
    )


@lru_cache(maxsize=64)
def _sequences(escape: str) -> re.Pattern[str]:
    """Match what `_decoder` does, and the sequences that are never decoded; from left to right, so none in another."""
    mark = re.escape(escape)
    return re.compile(rf"{_decoder(escape).pattern}|{mark}(?P<kept>[CMZ][0-9A-Za-z]*|X[0-9A-Fa-f]+){mark}")


def is_kept_raw(text: str, delimiters: Delimiters, codec: str = "utf-8") -> bool:
    r"""Whether a text holds a sequence that is kept as written and reported.

    Args:
        text: A field, or a part of one.
        delimiters: Those of the message.
        codec: Python's name of the message's character set, for `\X..\`.

    Returns:
        True for `\C..\`, `\M..\`, `\Z..\`, bytes that are no text, and a run of lines or blanks that is too long.
    """
    for match in _sequences(delimiters.escape).finditer(text):
        _, digits, command, count, kept = match.groups()
        if (
            kept is not None
            or (digits and _bytes_text(digits, codec) is None)
            or (command and _formatted(command, count) is None)
        ):
            return True
    return False


def _formatted(command: str, count: str) -> str | None:
    number = int(count) if count else 1
    if number > MOST_LINES:
        return None
    command = command.lower()
    if command in ("br", "ce"):
        return "\n"
    if command == "sp":
        return "\n" * number
    if command == "sk":
        return " " * number
    return " " if command in ("in", "ti") else ""


def _bytes_text(digits: str, codec: str) -> str | None:
    r"""Decode the bytes of `\X..\`.

    As UTF-8 in sets of two or four bytes a character, where `\X0D\` means CR too, and in ASCII, as bare bytes are read.
    """
    raw = bytes.fromhex(digits)
    if codec.startswith(("utf-16", "utf-32", "ascii")):
        codec = "utf-8"
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError:
        return None
    if any(char < " " and char not in _ALLOWED_CONTROLS for char in text):
        return None
    return text


def unescape(text: str, delimiters: Delimiters, codec: str) -> str:
    r"""Decode the escape sequences of one leaf.

    Args:
        text: A field's part without delimiters in it.
        delimiters: Those of the message.
        codec: Python's name of the message's character set, for `\X..\`.
    """
    letters = {
        "F": delimiters.field,
        "S": delimiters.component,
        "T": delimiters.subcomponent,
        "R": delimiters.repetition,
        "E": delimiters.escape,
        "P": delimiters.truncation or "#",
        "H": "",
        "N": "",
    }

    def decoded(match: re.Match[str]) -> str:
        letter, digits, command, count = match.groups()
        made: str | None
        if letter:
            made = letters[letter]
        elif digits:
            made = _bytes_text(digits, codec)
        else:
            made = _formatted(command, count)
        return match.group() if made is None else made

    return _decoder(delimiters.escape).sub(decoded, text)


@lru_cache(maxsize=64)
def _encoder(delimiters: Delimiters) -> tuple[re.Pattern[str], dict[str, str]]:
    mark = delimiters.escape
    table = {
        delimiters.field: f"{mark}F{mark}",
        delimiters.component: f"{mark}S{mark}",
        delimiters.subcomponent: f"{mark}T{mark}",
        delimiters.repetition: f"{mark}R{mark}",
        delimiters.escape: f"{mark}E{mark}",
        "\r": f"{mark}X0D{mark}",
        "\n": f"{mark}X0A{mark}",
    }
    if delimiters.truncation:
        table[delimiters.truncation] = f"{mark}P{mark}"
    return re.compile("[" + re.escape("".join(table)) + "]"), table


def escape(text: str, delimiters: Delimiters) -> str:
    """Write a text so that it is one leaf: no delimiter and no line end stays bare."""
    pattern, table = _encoder(delimiters)
    return pattern.sub(lambda match: table[match.group()], text)
