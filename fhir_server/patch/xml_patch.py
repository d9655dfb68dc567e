"""XML Patch: add, replace and remove on the XML form of a resource.

Source: RFC 5261, https://www.rfc-editor.org/rfc/rfc5261; FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

from fhir_server import xmlformat
from fhir_server.errors import BadRequest, Malformed, NotAcceptable, Unprocessable
from fhir_server.model import Resource
from fhir_server.patch import xml_tree
from fhir_server.patch.target import check_number, malformed, unfit, worked
from fhir_server.patch.xml_select import Path, Unreadable, Walk
from fhir_server.patch.xml_select import read as read_path
from fhir_server.patch.xml_tree import Element

MEDIA_TYPE: Final = "application/xml-patch+xml"
_KINDS: Final = ("add", "replace", "remove")
_PLACES: Final = ("", "prepend", "before", "after")


class _Operation(NamedTuple):
    """One child of the patch document."""

    number: int
    kind: str
    path: Path
    place: str  # of an addition
    attribute: str  # that an addition makes, or ""
    content: Element


def read(body: bytes) -> Callable[[Resource], Resource]:
    """Read a patch document and return the patch.

    Raises:
        BadRequest, Malformed: It is no such document.
        TooCostly: It is beyond its bounds.
    """
    document = xml_tree.parse(body)
    if document.name != "diff":
        raise BadRequest("An XML Patch is an element diff.")
    check_number(len(document.elements))
    return partial(_apply, [_read(number, one) for number, one in enumerate(document.elements)])


def _read(number: int, element: Element) -> _Operation:
    if element.name not in _KINDS:
        raise malformed(number, "it is one of add, replace, remove.")
    try:
        path = read_path(element.attributes.get("sel", ""), element.scope)
    except Unreadable as error:
        raise malformed(number, str(error)) from None
    place, made = element.attributes.get("pos", ""), element.attributes.get("type", "")
    if place not in _PLACES:
        raise malformed(number, "pos is one of prepend, before, after.")
    if made and not (made.startswith("@") and made[1:].isidentifier()):
        raise malformed(number, "type is an attribute, such as @value.")
    if element.name == "add" and (path.attribute or path.is_text):
        raise malformed(number, "an addition selects an element.")
    return _Operation(number, element.name, path, place, made[1:], element)


def _apply(operations: list[_Operation], resource: Resource) -> Resource:
    return worked(resource, lambda target: _patched(operations, target))


def _patched(operations: list[_Operation], resource: Resource) -> Resource:
    try:
        root = xml_tree.parse(xmlformat.write(resource))
    except (NotAcceptable, Malformed):
        raise Unprocessable("XML cannot carry what the resource holds; patch it as JSON.") from None
    plain = _resource(root)
    around, walk = Element("", "", {}, [root]), Walk()
    for operation in operations:
        _run(operation, around, walk)
    if len(around.elements) != 1:
        raise Unprocessable("The patch leaves no resource.")
    made = _resource(around.elements[0])
    _keep_narratives(resource, plain, made)
    return made


def _resource(root: Element) -> Resource:
    try:
        return xmlformat.read(xml_tree.write(root).encode())
    except Malformed as error:
        raise Unprocessable(f"The patch leaves no resource of R4: {error.issues[0].text}") from None


def _keep_narratives(before: Resource, plain: Resource, made: Resource) -> None:
    """Leave each narrative that no operation changed just as it was written, comments and all.

    Args:
        before: The resource.
        plain: The same, as the tree writes it.
        made: What the patch made of the tree; changed.
    """
    pairs = zip(_with_narratives(before), _with_narratives(plain), strict=True)
    written = {tree["div"]: own["div"] for own, tree in pairs}
    for text in _with_narratives(made):
        text["div"] = written.get(text["div"], text["div"])


def _with_narratives(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the narratives below a value, in an order that that of keys does not change."""
    if isinstance(value, list):
        for item in value:
            yield from _with_narratives(item)
    elif isinstance(value, dict):
        if isinstance(value.get("div"), str):
            yield value
        for key in sorted(value):
            yield from _with_narratives(value[key])


def _run(operation: _Operation, around: Element, walk: Walk) -> None:
    root = around.elements[0] if around.elements else None
    found = operation.path.find(root, walk) if root is not None else []
    if len(found) != 1:
        raise unfit(operation.number, "sel leads to nothing." if not found else "sel leads to more than one.")
    parent, element = found[0]
    parent = around if element is root else parent
    if operation.kind == "add":
        _add(operation, parent, element)
    elif operation.path.attribute:
        _change_attribute(operation, element)
    elif operation.path.is_text:
        walk.look(len(element.children))
        _change_text(operation, element)
    else:
        _change_element(operation, parent, element)


def _add(operation: _Operation, parent: Element, element: Element) -> None:
    if operation.attribute:
        if operation.attribute in element.attributes:
            raise unfit(operation.number, "the attribute is there already.")
        element.attributes[operation.attribute] = operation.content.text
        return
    nodes = _nodes(operation)
    if operation.place in ("before", "after"):
        at = parent.children.index(element) + (operation.place == "after")
        parent.children[at:at] = nodes
    else:
        at = 0 if operation.place == "prepend" else len(element.children)
        element.children[at:at] = nodes


def _change_attribute(operation: _Operation, element: Element) -> None:
    name = operation.path.attribute
    if name not in element.attributes:
        raise unfit(operation.number, "sel leads to nothing.")
    if operation.kind == "remove":
        del element.attributes[name]
    else:
        element.attributes[name] = operation.content.text


def _change_text(operation: _Operation, element: Element) -> None:
    places = [at for at, child in enumerate(element.children) if isinstance(child, str)]
    if len(places) != 1:
        raise unfit(operation.number, "sel leads to nothing." if not places else "sel leads to more than one.")
    text = operation.content.text if operation.kind == "replace" else ""
    element.children[places[0] : places[0] + 1] = [text] if text else []


def _change_element(operation: _Operation, parent: Element, element: Element) -> None:
    at = parent.children.index(element)
    if operation.kind == "remove":
        del parent.children[at]
        return
    nodes = _nodes(operation)
    if len(nodes) != 1 or not isinstance(nodes[0], Element):
        raise unfit(operation.number, "an element is replaced by one element.")
    parent.children[at] = nodes[0]


def _nodes(operation: _Operation) -> list[Element | str]:
    """Return copies of what an operation brings, blanks between elements aside."""
    return [
        child.copy() if isinstance(child, Element) else child
        for child in operation.content.children
        if isinstance(child, Element) or child.strip()
    ]
