"""The JSON form of a resource to XML.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/xml.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import NotAcceptable
from fhir_server.model import Resource
from fhir_server.validation.narrative import NOT_DIV, NOT_XML, narrative_problems
from fhir_server.xmlformat.layout import FHIR, Form, Part, is_resource_type, layout

_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>'
# Tabs and line ends as references: in an attribute a reader takes them for spaces (XML 1.0, 3.3.3).
_ESCAPES: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)
_not_xml = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]").search
"""What XML 1.0 has no way to write: https://www.w3.org/TR/xml/#charsets"""


def _unfit() -> NotAcceptable:
    return NotAcceptable("The resource holds what XML cannot carry; ask for application/fhir+json.")


def _text(value: Any) -> str:
    """Return the text of a primitive's `value` attribute."""
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, (dict, list)):
        raise _unfit()
    return gate.write(value).decode()


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unfit()
    return value


def _items(part: Part, value: Any) -> list[Any]:
    if part.is_list is not isinstance(value, list):
        raise _unfit()
    return value if part.is_list else [value]


def _present(type: str, value: dict[str, Any]) -> list[Part]:
    """Return the parts that an object has, in the order of R4; raise NotAcceptable for a key that R4 has not."""
    parts = layout(type)
    found: dict[str, Part] = {}
    for key in value:
        name = key[1:] if key.startswith("_") else key
        part = parts.get(name)
        if part is None or (name is not key and part.form is not Form.PRIMITIVE):
            raise _unfit()
        found[name] = part
    return sorted(found.values())


def _attributes(parts: list[Part], value: dict[str, Any]) -> str:
    return "".join(f' {part.key}="{_text(value[part.key])}"' for part in parts if part.form is Form.ATTRIBUTE)


def _primitives(part: Part, owner: dict[str, Any]) -> Iterator[str]:
    values = _items(part, owner[part.key]) if part.key in owner else []
    extras = _items(part, owner["_" + part.key]) if "_" + part.key in owner else []
    for index in range(max(len(values), len(extras))):
        value = values[index] if index < len(values) else None
        extra = extras[index] if index < len(extras) else None
        written = "" if value is None else f' value="{_text(value)}"'
        yield from _element(part.key, part.type, _object(extra or {}), written)


def _element(name: str, type: str, value: dict[str, Any], more: str = "") -> Iterator[str]:
    """Yield the text of an element with children; `more` are attributes beside its own."""
    parts = _present(type, value)
    yield f"<{name}{_attributes(parts, value)}{more}"
    if all(part.form is Form.ATTRIBUTE for part in parts):
        yield "/>"
        return
    yield ">"
    for part in parts:
        yield from _part(part, value)
    yield f"</{name}>"


def _part(part: Part, owner: dict[str, Any]) -> Iterator[str]:
    """Yield the elements of one key."""
    if part.form is Form.PRIMITIVE:
        yield from _primitives(part, owner)
    elif part.form is Form.XHTML:
        yield _div(owner[part.key])
    elif part.form is not Form.ATTRIBUTE:
        for item in _items(part, owner[part.key]):
            if part.form is Form.RESOURCE:
                yield f"<{part.key}>"
                yield from _resource(_object(item))
                yield f"</{part.key}>"
            else:
                yield from _element(part.key, part.type, _object(item))


def _div(text: Any) -> str:
    """Return a narrative as it is, since it is XML; raise NotAcceptable where it would break the document."""
    if not isinstance(text, str):
        raise _unfit()
    problems = narrative_problems(text)
    if NOT_XML in problems or NOT_DIV in problems:
        raise _unfit()
    return text


def _resource(resource: Resource, more: str = "") -> Iterator[str]:
    type = resource.get("resourceType")
    if not isinstance(type, str) or not is_resource_type(type):
        raise _unfit()
    return _element(type, type, {key: value for key, value in resource.items() if key != "resourceType"}, more)


def write(resource: Resource) -> bytes:
    """Write one resource as FHIR XML, UTF-8, elements in the order of R4.

    Raises:
        NotAcceptable: It holds what XML cannot carry: a control character, a narrative that is no XML, or a key
            that R4 does not have.
    """
    text = _HEAD + "".join(_resource(resource, f' xmlns="{FHIR}"'))
    if _not_xml(text):
        raise _unfit()
    return text.encode()
