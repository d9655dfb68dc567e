"""What a narrative may hold: the rules txt-1 and txt-2.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/narrative.html#xhtml
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

# Elements of HTML 4.0, chapters 7 to 11 (but of 4 of section 9) and 15, with a and img.
ELEMENTS: Final = frozenset(
    {
        "a", "abbr", "acronym", "b", "big", "blockquote", "br", "caption", "cite", "code", "col", "colgroup", "dd",
        "del", "dfn", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd",
        "li", "ol", "p", "pre", "q", "samp", "small", "span", "strong", "sub", "sup", "table", "tbody", "td", "tfoot",
        "th", "thead", "tr", "tt", "ul", "var", "address", "bdo", "center", "font", "s", "strike", "u", "map", "area",
    }
)  # fmt: skip
_ALONE: Final = frozenset({"br", "hr", "img", "col", "area"})
_ATTRIBUTES: Final = frozenset(
    {
        "title", "style", "class", "id", "lang", "xml:lang", "dir", "accesskey", "tabindex", "span", "width", "align",
        "valign", "char", "charoff", "abbr", "axis", "headers", "scope", "rowspan", "colspan", "cellspacing",
        "cellpadding", "border", "frame", "rules", "summary", "bgcolor", "color", "face", "size", "href", "name",
        "rel", "rev", "type", "charset", "hreflang", "target", "shape", "coords", "src", "alt", "longdesc", "height",
        "usemap", "ismap", "xmlns", "cite", "datetime", "start", "value", "compact", "noshade", "clear", "hspace",
        "vspace", "nowrap",
    }
)  # fmt: skip
_TOKEN = re.compile(
    r"<!--(?:(?!-->).)*-->|<(?P<close>/?)(?P<name>[A-Za-z][A-Za-z0-9:]*)(?P<attributes>(?:\s+[A-Za-z:\-]+\s*=\s*"
    r"(?:\"[^\"<]*\"|'[^'<]*'))*)\s*(?P<alone>/?)>|(?P<text>[^<]+)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"\s+([A-Za-z:\-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_ENTITY = re.compile(r"&(?!(?:[A-Za-z][A-Za-z0-9]*|#[0-9]+|#x[0-9A-Fa-f]+);)")
_MAX_DEPTH: Final = 200


def _allows(attributes: str) -> bool:
    for name, double, single in _ATTRIBUTE.findall(attributes):
        if name.lower() not in _ATTRIBUTES:
            return False
        if name in ("href", "src") and (double or single).strip().lower().startswith(("javascript:", "vbscript:")):
            return False
    return True


@lru_cache(maxsize=256)
def is_narrative(xhtml: str) -> bool:
    """Whether a `div` holds basic formatting only, is well formed, and shows something.

    Active content (scripts, event attributes, forms, objects, frames) is no basic formatting.
    """
    open_elements: list[str] = []
    shown = False
    at = 0
    text = xhtml.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or (at and not open_elements):
            return False
        at = match.end()
        if match["text"] is not None:
            if not open_elements or _ENTITY.search(match["text"]):
                return False
            shown = shown or bool(match["text"].strip())
            continue
        name = match["name"]
        if name is None:  # a comment
            continue
        if match["close"]:
            if not open_elements or open_elements.pop() != name:
                return False
            continue
        if name not in ELEMENTS or not _allows(match["attributes"]) or (not open_elements and name != "div"):
            return False
        shown = shown or name == "img"
        if not match["alone"]:
            open_elements.append(name)
        if len(open_elements) > _MAX_DEPTH:
            return False
    return shown and not open_elements
