"""What `$validate` says of a StructureDefinition that would keep it, or a part of it, from being checked against.

A write takes such a definition: R4 allows it, and the profile that it is built on may come after it.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/elementdefinition.html and https://hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fhir_server import fhirpath
from fhir_server.definitions import is_structure, property, structure
from fhir_server.profiles.findings import Item, Run, text_of
from fhir_server.profiles.slicing import steps_of
from fhir_server.profiles.tree import BadProfile, base_of, build, elements_of

KINDS: Final = frozenset(["value", "exists", "pattern", "type", "profile"])
"""Of discriminators: http://hl7.org/fhir/R4/valueset-discriminator-type.html"""


def advise_definition(run: Run, item: Item) -> None:
    """Note what of a StructureDefinition that constrains a type cannot be used here, as warnings."""
    definition = item.node.value
    if definition.get("derivation") != "constraint":
        return
    try:
        elements, base = elements_of(definition), base_of(definition)
        build(definition, None)
    except BadProfile as error:
        run.report("not-supported", f"Nothing can be checked against it: {error}", item.where, "warning")
        return
    except (AttributeError, TypeError, KeyError, ValueError):  # of another shape than R4's: the errors say where
        return
    if base and run.profile(base) is None and base not in run.missing_profiles:
        text = "The profile that this one is built on is not known here, or cannot be used: nothing would be checked."
        run.report("not-found", text, f"{item.where}.baseDefinition", "warning")
    part = "snapshot" if definition.get("snapshot") else "differential"
    for number, element in enumerate(elements):
        run.spend()
        _advise_element(run, element, f"{item.where}.{part}.element[{number}]")


def _advise_element(run: Run, element: Mapping[str, Any], where: str) -> None:
    type = _type_at(element["path"])
    if type is None:
        run.report("invalid", "R4 has no such element: what is asked of it is never met.", f"{where}.path", "warning")
    for number, rule in enumerate(_dicts(element.get("constraint"))):
        expression = text_of(rule.get("expression"))
        try:
            fhirpath.compile(expression or "true", type or "")
        except fhirpath.InvalidExpression as error:
            text = f"This rule cannot be evaluated here, and is not checked: {error}"
            run.report("invalid", text, f"{where}.constraint[{number}].expression", "warning")
    slicing = element.get("slicing")
    for number, given in enumerate(_dicts(slicing.get("discriminator") if slicing.__class__ is dict else None)):
        if given.get("type") not in KINDS or steps_of(text_of(given.get("path"))) is None:
            text = "Nothing is told apart by this discriminator: its path is more than R4 allows, or its type is none."
            run.report("not-supported", text, f"{where}.slicing.discriminator[{number}]", "warning")


def _type_at(path: str) -> str | None:
    """Return the structure at a path; "" where several types may stand, None where R4 has no such element."""
    type, *names = path.split(".")
    for name in names:
        if not is_structure(type):
            return ""
        element = structure(type).elements.get(name.removesuffix("[x]"))
        if element is None:
            found = property(type, name)
            if found is None:
                return None
            type = found[1]
        else:
            type = "" if element.choice or "Resource" in element.types else element.types[0]
    return type


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    yield from (item for item in (value if value.__class__ is list else ()) if item.__class__ is dict)
