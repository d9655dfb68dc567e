"""How each structure of R4 looks in XML: which JSON keys are elements, which attributes, and in which order.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/xml.html and https://hl7.org/fhir/R4/json.html#xml
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple

from fhir_server.definitions import properties, resource_types, structure

FHIR: Final = "http://hl7.org/fhir"
XHTML: Final = "http://www.w3.org/1999/xhtml"
SCHEMA_INSTANCE: Final = "http://www.w3.org/2001/XMLSchema-instance"


class Form(Enum):
    """The way a JSON key is written in XML."""

    ATTRIBUTE = "attribute"  # of the parent's tag: the id of an element, the url of an extension
    PRIMITIVE = "primitive"  # <status value="final"/>
    COMPLEX = "complex"  # <code> with children
    RESOURCE = "resource"  # <contained> around one resource
    XHTML = "xhtml"  # the div of a narrative, in its own namespace


class Part(NamedTuple):
    """One JSON key of a structure."""

    order: int  # among the elements of the structure; all keys of one choice share it
    key: str  # JSON key and XML name
    is_list: bool
    type: str
    form: Form


def _form(owner: str, key: str, type: str) -> Form:
    # R4 marks these two as xmlAttr; the id of a resource is an element like the others.
    if structure(owner).kind != "resource" and (key == "id" or (owner == "Extension" and key == "url")):
        return Form.ATTRIBUTE
    if type == "xhtml":
        return Form.XHTML
    found = structure(type)
    if found.kind == "resource":
        return Form.RESOURCE
    return Form.PRIMITIVE if found.kind == "primitive-type" else Form.COMPLEX


@cache
def layout(name: str) -> Mapping[str, Part]:
    """Return, by JSON key, what a structure holds; raise KeyError when R4 has no such structure."""
    order = {element: index for index, element in enumerate(structure(name).elements)}
    return MappingProxyType(
        {
            key: Part(order[element.name], key, element.is_list, type, _form(name, key, type))
            for key, (element, type) in properties(name).items()
        }
    )


def is_resource_type(name: str) -> bool:
    """Whether R4 has a resource type of this name that is not abstract."""
    return name in resource_types()
