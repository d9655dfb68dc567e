"""XML to the JSON form of a resource, strictly and within bounds.

Refused: bytes that are not UTF-8, DOCTYPE and entities, elements, attributes or namespaces that R4 does not have
at their place, elements out of order, text between elements, values that cannot be written in JSON.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/xml.html
"""

from __future__ import annotations

import re
from typing import Any, Final
from xml.parsers import expat

from fhir_server import gate
from fhir_server.definitions import property
from fhir_server.errors import Malformed
from fhir_server.model import Resource
from fhir_server.validation.narrative import NOT_DIV, NOT_XML, narrative_problems
from fhir_server.xmlformat import document
from fhir_server.xmlformat.layout import FHIR, SCHEMA_INSTANCE, XHTML, Form, Part, is_resource_type, layout

MAX_NODES: Final = 1_000_000  # elements of a body, those of narratives counted

_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?").fullmatch
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)").fullmatch
_INTEGERS: Final = frozenset({"integer", "positiveInt", "unsignedInt"})


def _number(type: str, text: str) -> Any:
    if not (_INTEGER if type in _INTEGERS else _DECIMAL)(text):
        raise Malformed("A number is not written as R4 has it.")
    if len(text) > gate.MAX_NUMBER or text == "-0" or not _INTEGER(text):
        return gate.number(text)
    return int(text)


def _value(type: str, text: str) -> Any:
    """Return what JSON holds for the `value` attribute of a primitive."""
    if type == "boolean":
        if text not in ("true", "false"):
            raise Malformed("A boolean is neither true nor false.")
        return text == "true"
    if type == "decimal" or type in _INTEGERS:
        return _number(type, text)
    return text


class _Frame:
    """An element that is open: an object of the JSON being made."""

    __slots__ = ("depth", "lists", "made", "order", "part", "parts", "type", "url", "value")

    def __init__(self, type: str, part: Part | None, depth: int) -> None:
        self.type = type
        self.part = part  # its place in the parent; None: the outermost
        self.depth = depth  # of JSON objects and lists
        self.parts = layout(type)
        self.made: dict[str, Any] = {}
        self.order = -1  # of the last child
        self.lists: list[str] = []  # keys of lists of primitives
        self.url: str | None = None  # of an extension, until its place comes
        self.value: Any = None  # of a primitive

    def close(self) -> dict[str, Any]:
        """Return the object, with the two lists of each repeated primitive made equally long."""
        self.set_url()
        for key in self.lists:
            extras = self.made.get("_" + key)
            if extras is not None:
                extras.extend([None] * (len(self.made[key]) - len(extras)))
                if all(value is None for value in self.made[key]):
                    del self.made[key]
        return self.made

    def set_url(self) -> None:
        """Give an extension its url, which JSON has between nested extensions and value."""
        if self.url is not None:
            self.made["url"] = self.url
            self.url = None

    def put(self, part: Part, value: Any) -> None:
        """Add an object."""
        if part.is_list:
            self.made.setdefault(part.key, []).append(value)
        else:
            self.made[part.key] = value

    def put_primitive(self, part: Part, value: Any, extra: dict[str, Any]) -> None:
        """Add a primitive, and what it has of id and extensions: one of the two at least."""
        beside = "_" + part.key
        if not part.is_list:
            if value is not None:
                self.made[part.key] = value
            if extra:
                self.made[beside] = extra
            return
        values = self.made.setdefault(part.key, [])
        if not values:
            self.lists.append(part.key)
        values.append(value)
        if extra:
            extras = self.made.setdefault(beside, [])
            extras.extend([None] * (len(values) - 1 - len(extras)))
            extras.append(extra)


class _Slot:
    """An element that holds one resource: contained, Bundle.entry.resource, Parameters.parameter.resource."""

    __slots__ = ("depth", "is_filled", "part")

    def __init__(self, part: Part, depth: int) -> None:
        self.part, self.depth, self.is_filled = part, depth, False


class _Reader:
    """The handlers of one parse."""

    def __init__(self, body: bytes, parser: expat.XMLParserType) -> None:
        self.body, self.parser = body, parser
        self.open: list[_Frame | _Slot] = []
        self.resource: Resource | None = None
        self.nodes = 0
        self.div = 0  # open elements of a narrative
        self.div_start = 0  # byte where it begins

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise Malformed("The XML has more than 1,000,000 elements.")
        if self.div:
            self.div += 1
            if self.div > gate.MAX_DEPTH:
                raise Malformed("A narrative is nested deeper than 64 levels.")
            return
        space, _, name = tag.rpartition(" ")
        parent = self.open[-1] if self.open else None
        if isinstance(parent, _Frame):
            self._child(parent, space, name, attributes)
        else:
            self._root(parent, space, name, attributes)

    def _root(self, slot: _Slot | None, space: str, name: str, attributes: dict[str, str]) -> None:
        """Open a resource."""
        if space != FHIR or not is_resource_type(name):
            raise Malformed("The XML is no resource of R4 in the namespace http://hl7.org/fhir.")
        if any(key != f"{SCHEMA_INSTANCE} schemaLocation" for key in attributes):
            raise Malformed("A resource has an attribute that R4 does not have.")
        part = None
        if slot is not None:
            if slot.is_filled:
                raise Malformed("An element holds more than one resource.")
            slot.is_filled, part = True, slot.part
        frame = _Frame(name, part, slot.depth if slot else 1)
        frame.made["resourceType"] = name
        self.open.append(frame)

    def _child(self, parent: _Frame, space: str, name: str, attributes: dict[str, str]) -> None:
        part = parent.parts.get(name)
        if part is None or part.form is Form.ATTRIBUTE:
            raise Malformed(f"{parent.type} has no such element.")
        if space != (XHTML if part.form is Form.XHTML else FHIR):
            raise Malformed("An element is in the wrong namespace.")
        if part.order < parent.order:
            raise Malformed(f"The elements of {parent.type} are out of order.")
        if part.order == parent.order and not part.is_list:
            raise Malformed(f"An element of {parent.type} that cannot repeat is there twice.")
        parent.order = part.order
        depth = parent.depth + 1 + part.is_list
        if depth > gate.MAX_DEPTH + (part.form is Form.PRIMITIVE):
            raise Malformed("The XML is nested deeper than 64 levels.")
        if part.key != "extension":
            parent.set_url()
        if part.form is Form.XHTML:
            self.div, self.div_start = 1, self.parser.CurrentByteIndex
        elif part.form is Form.RESOURCE:
            if attributes:
                raise Malformed("An element that holds a resource has no attributes.")
            self.open.append(_Slot(part, depth))
        else:
            self._open(part, depth, attributes)

    def _open(self, part: Part, depth: int, attributes: dict[str, str]) -> None:
        frame = _Frame(part.type, part, depth)
        self.open.append(frame)
        for key, text in attributes.items():
            if key == "id":
                frame.made["id"] = text
            elif key == "value" and part.form is Form.PRIMITIVE:
                frame.value = _value(part.type, text)
            elif key == "url" and part.type == "Extension":
                frame.url = text
            else:
                raise Malformed(f"{part.type} has no such attribute.")

    def end(self, _: str) -> None:
        if self.div:
            self.div -= 1
            if not self.div:
                self._close_div()
            return
        closed = self.open[-1]
        if isinstance(closed, _Slot):
            if not closed.is_filled:
                raise Malformed("An element that should hold a resource is empty.")
            self.open.pop()
            return
        made = closed.close()
        if not made and closed.value is None and closed.part is not None and closed.part.form is Form.PRIMITIVE:
            raise Malformed("An element has neither a value nor an extension.")
        self.open.pop()
        if closed.part is None:
            self.resource = made
            return
        parent = self.open[-1]
        if isinstance(parent, _Slot):  # the resource goes where its slot stands
            parent = self.open[-2]
        assert isinstance(parent, _Frame)
        if closed.part.form is Form.PRIMITIVE:
            if made and closed.depth > gate.MAX_DEPTH:
                raise Malformed("The XML is nested deeper than 64 levels.")
            parent.put_primitive(closed.part, closed.value, made)
        else:
            parent.put(closed.part, made)

    def where(self) -> str:
        """The innermost open element that R4 has, in FHIRPath; "" before the first."""
        path, above = "", None
        for one in self.open:
            if one.part is None:
                path = one.type if isinstance(one, _Frame) else ""
            elif above is not None and not (isinstance(one, _Frame) and isinstance(above, _Slot)):
                found = property(above.type, one.part.key) if isinstance(above, _Frame) else None
                name = found[0].name if found is not None else one.part.key
                number = len(above.made.get(one.part.key, ())) if isinstance(above, _Frame) else 0
                path += f".{name}[{number}]" if one.part.is_list else f".{name}"
            above = one
        return path

    def _close_div(self) -> None:
        """Keep the text of a narrative as it is written."""
        end = self.parser.CurrentByteIndex  # of the end tag; past the tag where it is empty
        name = re.match(rb"<([^\s/>]+)", self.body[self.div_start : self.div_start + 256])
        closing = re.compile(rb"</" + re.escape(name[1] if name else b"div") + rb"\s*>").match(self.body, end)
        text = self.body[self.div_start : closing.end() if closing else end].decode()
        problems = narrative_problems(text)
        if NOT_XML in problems or NOT_DIV in problems:
            raise Malformed("The div of a narrative does not say its namespace itself.")
        parent = self.open[-1]
        assert isinstance(parent, _Frame)
        parent.made["div"] = text

    def text(self, data: str) -> None:
        if not self.div and data.strip(" \t\r\n"):
            raise Malformed("There is text between elements.")


def read(body: bytes) -> Resource:
    """Read one resource in FHIR XML.

    Args:
        body: The bytes of one XML document, UTF-8; a byte order mark is allowed, as XML allows it.

    Returns:
        The JSON form, with keys in the order of R4's elements; decimals as `gate.number` gives them.

    Raises:
        Malformed: The bytes are not such a document; says what is wrong and where, shows no value.
    """
    parser = expat.ParserCreate("utf-8", " ")
    reader = _Reader(body, parser)
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        document.run(parser, body)
    except Malformed as error:
        raise error.placed(reader.where()) from None
    if reader.resource is None:
        raise Malformed("The XML holds no resource.")
    return reader.resource
