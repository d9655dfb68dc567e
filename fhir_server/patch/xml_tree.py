"""XML as a tree that a patch can change: elements with namespaces, attributes and text, without comments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from fhir_server import xmlformat
from fhir_server.errors import TooCostly

MOST_ELEMENTS: Final = 100_000
MOST_DEPTH: Final = 70  # deeper than any resource
MOST_PREFIXES: Final = 16  # of namespaces at one place: each element that declares one has a table of all
_XML: Final = "http://www.w3.org/XML/1998/namespace"


@dataclass(slots=True, eq=False)
class Element:
    """One element."""

    space: str  # namespace
    name: str
    attributes: dict[str, str]  # by name; of another namespace by `namespace name`
    children: list[Element | str] = field(default_factory=list)
    scope: Mapping[str, str] = field(default_factory=dict)  # namespaces by prefix, "" the default one

    @property
    def elements(self) -> list[Element]:
        """The children that are elements."""
        return [child for child in self.children if isinstance(child, Element)]

    @property
    def text(self) -> str:
        """The text directly inside."""
        return "".join(child for child in self.children if isinstance(child, str))

    def copy(self) -> Element:
        """Return a copy that shares nothing."""
        children = [child.copy() if isinstance(child, Element) else child for child in self.children]
        return Element(self.space, self.name, dict(self.attributes), children, self.scope)


class _Builder:
    """The handlers of one parse."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self.open: list[Element] = []
        self.scopes: list[dict[str, str]] = [{}]
        self.declared: dict[str, str] = {}
        self.count = 0
        self.said: list[str] = []  # pieces of a text: expat gives a long one in several

    def declare(self, prefix: str | None, uri: str | None) -> None:
        self.declared[prefix or ""] = uri or ""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.settle()
        self.count += 1
        if self.count > MOST_ELEMENTS or len(self.open) >= MOST_DEPTH:
            raise TooCostly("The XML of a patch, or of what it changes, has too many elements.")
        scope = {**self.scopes[-1], **self.declared} if self.declared else self.scopes[-1]
        if len(scope) > MOST_PREFIXES:
            raise TooCostly(f"The XML of a patch has more than {MOST_PREFIXES} namespace prefixes at one place.")
        self.declared = {}
        self.scopes.append(scope)
        space, _, name = tag.rpartition(" ")
        made = Element(space, name, dict(attributes), scope=scope)
        if self.open:
            self.open[-1].children.append(made)
        else:
            self.root = made
        self.open.append(made)

    def end(self, _: str) -> None:
        self.settle()
        self.open.pop()
        self.scopes.pop()

    def data(self, text: str) -> None:
        self.said.append(text)

    def settle(self) -> None:
        """Add the text that has come to its end."""
        if self.said:
            self.open[-1].children.append("".join(self.said))
            self.said.clear()


def parse(body: bytes) -> Element:
    """Read an XML document.

    Raises:
        Malformed: It is not well-formed, not UTF-8, or has a DOCTYPE.
        TooCostly: It is beyond its bounds.
    """
    parser, builder = expat.ParserCreate("utf-8", " "), _Builder()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartNamespaceDeclHandler = builder.declare
    xmlformat.run(parser, body)
    assert builder.root is not None, "what is well-formed has an element"
    return builder.root


def write(element: Element, space: str = "") -> str:
    """Return the XML of an element, which says its namespace where it is another than `space`, the one around it."""
    parts = [f"<{element.name}"]
    if element.space != space:
        parts.append(f" xmlns={quoteattr(element.space)}")
    for name, value in element.attributes.items():
        parts.append(f" {name.replace(f'{_XML} ', 'xml:')}={quoteattr(value)}")
    if not element.children:
        return "".join((*parts, "/>"))
    parts.append(">")
    for child in element.children:
        parts.append(write(child, element.space) if isinstance(child, Element) else escape(child))
    return "".join((*parts, f"</{element.name}>"))
