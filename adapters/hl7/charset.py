"""Bytes to text, by MSH-18; never with replacement characters.

Source: HL7 table 0211 (alternate character sets), https://terminology.hl7.org/CodeSystem-v2-0211.html; Python has no
codec for its CNS 11643-1992. An empty MSH-18 means ASCII; what is not ASCII then is read as strict UTF-8, else in a
set of a later repetition of MSH-18, else in the channel's default. Japanese senders leave the first repetition empty
and write the second set (ISO IR87) by ISO 2022's escapes, which are ASCII. Western sets of ISO 8859 have controls,
which no text holds, where Windows has quotes, dashes and OE: senders name the one and write the other, so these are
read as Windows means them, and that is told. So is UTF-8 under their names: no text of theirs is valid UTF-8 by chance.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from typing import NamedTuple

from adapters.hl7.faults import Fault, Place, Problem, Refused

CODECS = {
    "ASCII": "ascii",
    "ISO IR6": "ascii",
    **{f"8859/{n}": f"iso8859-{n}" for n in (*range(1, 12), 13, 14, 15, 16)},  # there is no 12
    "UNICODE": "utf-16",
    "UNICODE UTF-8": "utf-8",
    "UNICODE UTF-16": "utf-16",
    "UNICODE UTF-32": "utf-32",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    "ISO IR14": "iso2022_jp_ext",  # with JIS X 0201's katakana
    "ISO IR87": "iso2022_jp",
    "ISO IR159": "iso2022_jp_1",
    "JIS X 0202": "iso2022_jp_ext",
    "JAS2020": "iso2022_jp_ext",
}
"""MSH-18 -> Python's codec. Which codec the sets of Asia are is general knowledge, not checked against a feed."""

_ALIAS = re.compile(
    r"(?:ISO[ -]?)?8859[-/](\d{1,2})|(?:WINDOWS|CP)-?1252|UNICODE[ -]UTF-?(8|16|32)|UTF-?(8|16|32)", re.IGNORECASE
)

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: it begins with that mark
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE_HEADS = {
    codec: tuple(name.encode(codec) for name in ("MSH", "BHS", "FHS"))
    for codec in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
}
_HEADER_END = re.compile(rb"[\r\n]")
_BESIDE_JIS_X_0201 = re.compile(rb"[\x80-\xa0\xe0-\xff]")
_NOT_ASCII = re.compile(rb"[^\x20-\x7e]")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
PLACE = Place("MSH", 1, 18)

WESTERN = frozenset({"iso8859-1", "iso8859-15"})
"""Codecs under whose name senders write cp1252."""
_WINDOWS = {
    byte: text for byte in range(0x80, 0xA0) if (text := bytes([byte]).decode("cp1252", "ignore"))
}  # five have no character there
_C1 = re.compile("[\x80-\x9f]")
_ESC = b"\x1b"  # begins a change of the character set in ISO 2022


class Decoded(NamedTuple):
    """A message as text, and how it was read."""

    text: str
    codec: str  # Python's name; the answer is written in it
    problems: tuple[Problem, ...] = ()


def declared(raw: bytes) -> tuple[str, ...]:
    """Return the repetitions of MSH-18 of a message whose header is ASCII-compatible; one "" where it is empty."""
    header = _HEADER_END.split(raw[:4096], maxsplit=1)[0]
    if header[:3] != b"MSH" or len(header) < 9:
        return ("",)
    fields = header.split(header[3:4])
    if len(fields) < 18:
        return ("",)
    return tuple(each.strip().decode("ascii", "replace") for each in fields[17].split(header[5:6]))


def codec_of(label: str) -> str:
    """Return Python's name of a set that MSH-18 names, "" for an unknown one.

    Names that table 0211 does not have, but senders write (`UTF-8`, `ISO-8859-1`, `windows-1252`), are known too.
    """
    if (known := CODECS.get(label) or CODECS.get(label.upper())) is not None:
        return known
    match = _ALIAS.fullmatch(label)
    if match is None:
        return ""
    part, prefixed, bare = match.groups()
    if part:
        return CODECS.get(f"8859/{int(part)}", "")
    return f"utf-{prefixed or bare}" if prefixed or bare else "cp1252"


def header_line(raw: bytes) -> str:
    """Return the header of a message whose set is not known, "?" for each byte that is not ASCII: for its answer."""
    for mark, _ in _MARKS:
        raw = raw.removeprefix(mark)
    narrow = raw[:8192].replace(b"\x00", b"") if b"\x00" in raw[:6] else raw[:4096]
    line = _HEADER_END.split(narrow.lstrip(b" \t\r\n"), maxsplit=1)[0]
    return _NOT_ASCII.sub(b"?", line).decode("ascii")


def narrow(raw: bytes) -> tuple[bytes, str]:
    """Return a message whose structure can be read from its bytes: one in units of two or four as UTF-8, and its codec.

    Any other is returned as it is, without the mark of UTF-8, and "". Bytes that are no text stay as they are.
    """
    codec = next((codec for mark, codec in _MARKS if raw.startswith(mark)), "") or _wide(raw)
    if codec in ("", "utf-8"):
        return raw.removeprefix(codecs.BOM_UTF8), ""
    try:
        return raw.decode(codec).encode("utf-8"), codec
    except UnicodeError:
        return raw, ""


def _strictly(raw: bytes, codec: str) -> str:
    try:
        return raw.decode(codec)
    except UnicodeError:
        raise Refused(Fault("102", PLACE, "The bytes are not in the character set that is declared.")) from None


def _wide(raw: bytes) -> str:
    """Name the codec of a message or batch in units of two or four bytes without a byte order mark, else ""."""
    if b"\0" not in raw[:4]:
        return ""
    return next((codec for codec, heads in _WIDE_HEADS.items() if raw.startswith(heads)), "")


def _read(raw: bytes, default: str) -> tuple[str, str, str]:
    """Return (text, codec of the answer, which codec was guessed: "" for none)."""
    for mark, codec in _MARKS:
        if raw.startswith(mark):
            return _strictly(raw, codec).removeprefix("\ufeff"), codec, ""
    if codec := _wide(raw):
        return _strictly(raw, codec), codec, ""
    first, *others = declared(raw)
    codec = codec_of(first) if first else "ascii"
    if not codec:
        raise Refused(Fault("103", PLACE, "The character set is not known here."))
    if codec in WESTERN:
        return _western(raw, codec)
    if codec != "ascii":
        codec = "shift_jis" if _is_8_bit_katakana(raw, codec) else codec
        return _strictly(raw, codec), codec, ""
    return _beside_ascii(raw, others, default)


def _is_8_bit_katakana(raw: bytes, codec: str) -> bool:
    """Whether JIS X 0201 (ISO IR14) is written in eight bits; Shift JIS has the same bytes for its katakana."""
    return codec == "iso2022_jp_ext" and not raw.isascii() and _BESIDE_JIS_X_0201.search(raw) is None


def _western(raw: bytes, codec: str) -> tuple[str, str, str]:
    """Read what is declared as 8859/1 or 8859/15, and may be UTF-8 or cp1252."""
    text = _strictly(raw, codec)
    if raw.isascii():
        return text, codec, ""
    if (meant := _try(raw, "utf-8")) is not None:
        return meant, "utf-8", "utf-8"
    return (text.translate(_WINDOWS), codec, "cp1252") if _C1.search(text) else (text, codec, "")


def _beside_ascii(raw: bytes, others: Sequence[str], default: str) -> tuple[str, str, str]:
    """Read what is declared as ASCII, and may hold more."""
    if raw.isascii():
        if _ESC in raw:
            for codec in filter(None, map(codec_of, others)):
                if codec.startswith("iso2022") and (text := _try(raw, codec)) is not None:
                    return text, codec, ""
        return raw.decode("ascii"), "ascii", ""
    for codec in ("utf-8", *filter(None, map(codec_of, others))):
        if codec in WESTERN:
            return _western(raw, codec)[0], codec, codec
        if (text := _try(raw, codec)) is not None:
            return text, codec, codec
    return _strictly(raw, default), default, default


def _try(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except UnicodeError:
        return None


def decode(raw: bytes, *, default: str = "cp1252") -> Decoded:
    """Turn the bytes of one message into text.

    Args:
        raw: The message without framing.
        default: Codec of text that is not ASCII, not UTF-8 and declares nothing.

    Raises:
        Refused: 102 where the bytes contradict MSH-18, 103 where it names an unknown set.
    """
    text, codec, guessed = _read(raw, default)
    problems = [Problem(PLACE.path, "charset-guessed", guessed)] if guessed else []
    if _CONTROLS.search(text):
        text = _CONTROLS.sub("", text)
        problems.append(Problem("MSH[1]", "control-characters-left-out"))
    return Decoded(text, codec, tuple(problems))
