"""The XHTML of a narrative: txt-1 (allowed elements and attributes) and txt-2 (some content).

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/narrative.html#xhtml, and the parts of HTML 4.0 it names:
chapters 7-11 (without 9.4, ins and del) and 15, `a`, images and the style attribute.
"""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

from fhir_server.validation.findings import Problem

_XHTML = "http://www.w3.org/1999/xhtml "
_XML = "http://www.w3.org/XML/1998/namespace "

_ELEMENTS: Final = frozenset(
    """a abbr acronym address area b bdo big blockquote br caption center cite code col colgroup dd dfn div dl dt em
    font h1 h2 h3 h4 h5 h6 hr i img kbd li map ol p pre q s samp small span strike strong sub sup table tbody td
    tfoot th thead tr tt u ul var""".split()  # noqa: SIM905 - the list reads as the standard prints it
)
_COMMON: Final = frozenset(
    """abbr accesskey align axis char charoff class colspan dir headers id lang rowspan scope span style tabindex
    title valign width""".split()  # noqa: SIM905
)
_OF_ELEMENT: Final = {
    "a": frozenset(["charset", "coords", "href", "hreflang", "name", "rel", "rev", "shape", "type"]),
    "area": frozenset(["alt", "coords", "href", "nohref", "shape"]),
    "blockquote": frozenset(["cite"]),
    "br": frozenset(["clear"]),
    "col": frozenset(["height"]),
    "div": frozenset(["border"]),
    "font": frozenset(["color", "face", "size"]),
    "hr": frozenset(["noshade", "size"]),
    "img": frozenset(["alt", "border", "height", "hspace", "ismap", "longdesc", "name", "src", "usemap", "vspace"]),
    "li": frozenset(["type", "value"]),
    "map": frozenset(["name"]),
    "ol": frozenset(["compact", "start", "type"]),
    "pre": frozenset(["space"]),
    "q": frozenset(["cite"]),
    "table": frozenset(["bgcolor", "border", "cellpadding", "cellspacing", "frame", "height", "rules", "summary"]),
    "td": frozenset(["bgcolor", "height", "nowrap"]),
    "th": frozenset(["bgcolor", "height", "nowrap"]),
    "tr": frozenset(["bgcolor"]),
    "ul": frozenset(["compact", "type"]),
}
_ADDRESSES: Final = frozenset(["href", "src", "cite", "longdesc", "usemap"])
_SCRIPT = re.compile("(?:javascript|vbscript|livescript):|data:(?!image/)", re.IGNORECASE).match
_ACTIVE_STYLE = re.compile(r"expression\s*\(|javascript:|vbscript:|behaviou?r\s*:|-moz-binding|@import", re.I).search
_BLANK = re.compile("[\x00-\x20\x7f-\x9f]+").sub

NOT_XML: Final[Problem] = ("", "structure", "The narrative must be well-formed XML, without DOCTYPE and entities.")
NOT_DIV: Final[Problem] = ("", "structure", "The narrative must be one div of the XHTML namespace.")
TXT_1: Final[Problem] = ("", "invariant", "txt-1: The narrative holds elements or attributes that are not allowed.")
TXT_2: Final[Problem] = ("", "invariant", "txt-2: The narrative SHALL have some non-whitespace content.")


class _Forbidden(Exception):
    """A declaration that no narrative may have."""


class _Reader:
    def __init__(self) -> None:
        self.is_div: bool | None = None
        self.is_allowed = True
        self.has_content = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        space, name = tag[: len(_XHTML)], tag[len(_XHTML) :]
        if self.is_div is None:
            self.is_div = space == _XHTML and name == "div"
        if space != _XHTML or name not in _ELEMENTS:
            self.is_allowed = False
        elif attributes:
            if name == "img" and attributes.get("src"):
                self.has_content = True
            if not all(_allows(name, key, value) for key, value in attributes.items()):
                self.is_allowed = False

    def text(self, data: str) -> None:
        if not data.isspace():
            self.has_content = True

    @staticmethod
    def forbid(*_: object) -> None:
        raise _Forbidden


def _allows(element: str, attribute: str, value: str) -> bool:
    if attribute.startswith(_XML):
        return attribute[len(_XML) :] in ("lang", "space")
    if attribute not in _COMMON and attribute not in _OF_ELEMENT.get(element, ()):
        return False
    if attribute in _ADDRESSES:
        return not _SCRIPT(_BLANK("", value))
    return attribute != "style" or not _ACTIVE_STYLE(value)


def narrative_problems(text: str) -> list[Problem]:
    """Return what is wrong with the div of a narrative; nothing when it holds."""
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.forbid
    parser.EntityDeclHandler = reader.forbid
    parser.ProcessingInstructionHandler = reader.forbid
    parser.XmlDeclHandler = reader.forbid
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, _Forbidden, UnicodeEncodeError):
        return [NOT_XML]
    found = [] if reader.is_div else [NOT_DIV]
    if not reader.is_allowed:
        found.append(TXT_1)
    if not reader.has_content:
        found.append(TXT_2)
    return found
