"""Python source of the checks of one structure, written from its definition.

Every function that is written takes the object `o` (a dict, not empty) and the context `cx`, and returns the
problems found or None. Source is written rather than closures composed because a loop with the checks of a
small data type in line takes half the time (adr on the validator).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from fhir_server.definitions import Element, Structure, codes, structure
from fhir_server.validation.primitives import condition

INLINE: Final = 12  # structures with at most so many elements have them in line
VALUE: Final = re.compile(r"\bv\b")
_APART: Final = frozenset(["id", "extension", "modifierExtension"])  # rare in every element: never in line


def identifier(structure_name: str) -> str:
    """Return the part of a Python name that stands for a structure."""
    return structure_name.replace(".", "_")


def json_keys(element: Element) -> dict[str, str]:
    """Return the type of an element by each JSON key it can have."""
    if not element.choice:
        return {element.name: element.types[0]}
    return {element.name + type[0].upper() + type[1:]: type for type in element.types}


def is_primitive(type: str) -> bool:
    """Whether a type's JSON is no object."""
    return type != "Resource" and structure(type).kind == "primitive-type"


def has_under(owner: Structure, element: Element, type: str) -> bool:
    """Whether the element can have a `_name` beside it: all primitives but ids of elements and Extension.url.

    Source: https://hl7.org/fhir/R4/json.html#primitive; those two are System.String in the definitions.
    """
    if element.name == "id" and owner.kind != "resource":
        return False
    return is_primitive(type) and (owner.name, element.name) != ("Extension", "url")


def element_source(owner: Structure, element: Element, key: str, type: str) -> Iterator[str]:
    """Write the statements that check the value `v` of `key` and join what they find to `f`."""
    if type == "Resource":
        yield from _slot(owner, element)
    elif is_primitive(type):
        yield from _primitive(owner, element, type)
    else:
        yield from _complex(owner, element, type)
    if element.choice:
        yield f"if {_siblings(owner, element, key)}: f = join_below(f, TWICE, {element.name!r})"


def _siblings(owner: Structure, element: Element, key: str) -> str:
    """Return the expression that is true where `o` has another type of the choice that `key` belongs to."""
    others = [k for k in every_key(owner, element) if k.removeprefix("_") != key]
    if len(others) > 5:
        return f"not siblings_{identifier(owner.name)}[{key!r}].isdisjoint(o)"
    return " or ".join(f"{k!r} in o" for k in others) or "False"


def _primitive(owner: Structure, element: Element, type: str) -> Iterator[str]:
    name, codes_name = element.name, bound(element)
    if type == "xhtml":
        yield f"f = join_narrative(f, v, {name!r})"
    elif element.is_list:
        yield "s = v.__class__ is not list or not v"
        yield "for v_ in () if s else v:"
        wrong = "v.__class__ is not str or v not in " + codes_name if codes_name != "None" else condition(type)
        yield f"    if {re.sub(VALUE, 'v_', wrong)}:"
        yield "        s = True"
        yield "        break"
        yield "if s:"  # something is wrong, or a null stands for a value that `_name` explains
        yield f"    r = primitives(v, o.get('_{name}'), {type!r}, {codes_name}, {element.binding!r})"
        yield f"    if r: f = join(f, [('.{name}' + p, c, t) for p, c, t in r])"
    elif codes_name != "None":
        yield f"if v.__class__ is not str or v not in {codes_name}:"
        yield f"    f = join_below(f, code_fault(v, {element.binding!r}), {name!r})"
    else:
        yield f"if {condition(type)}: f = join_below(f, [fault({type!r}, v)], {name!r})"
    if element.constraints and type != "xhtml":
        yield from _rules(owner, element, "v")
    if name == "id" and owner.kind not in ("resource", "primitive-type"):  # of a primitive, `under` sees the value
        yield "if len(o) == 1: f = join(f, [ELE_1])"


def bound(element: Element) -> str:
    """Return the name of the set of codes that an element is bound to, "None" where there is none."""
    if element.strength == "required" and codes(element.binding) is not None:
        is_code = is_primitive(element.types[0])
        return f"{'codes' if is_code else 'pairs'}_{''.join(c if c.isalnum() else '_' for c in element.binding)}"
    return "None"


def _complex(owner: Structure, element: Element, type: str) -> Iterator[str]:
    name, check = element.name, f"check_{identifier(type)}"
    codes_name, rules = bound(element), bool(element.constraints)
    if not element.is_list:
        yield "if v.__class__ is dict and v:"
        yield f"    r = {check}(v, cx)"
        yield f"    if r: f = join_below(f, r, {name!r})"
        if codes_name != "None":
            yield f"    if not coded(v, {codes_name}): f = join_below(f, not_coded({element.binding!r}), {name!r})"
        for line in _rules(owner, element, "v") if rules else ():
            yield "    " + line
        yield f"else: f = join_below(f, not_object(v), {name!r})"
        return
    yield "if v.__class__ is list and v:"
    yield "    for x in v:"
    yield "        if x.__class__ is dict and x:"
    yield f"            r = {check}(x, cx)"
    yield f"            if r: f = join_item(f, r, {name!r}, v, x)"
    if codes_name != "None":
        yield f"            if not coded(x, {codes_name}):"
        yield f"                f = join_item(f, not_coded({element.binding!r}), {name!r}, v, x)"
    for line in _rules(owner, element, "x") if rules else ():
        yield "            " + line
    yield f"        else: f = join_item(f, not_object(x), {name!r}, v, x)"
    if element.max is not None:
        yield f"    if len(v) > {element.max}: f = join_below(f, TOO_MANY, {name!r})"
    yield f"else: f = join_below(f, not_array(v), {name!r})"


def _rules(owner: Structure, element: Element, value: str) -> Iterator[str]:
    """Write the check of the invariants that stand at the element, not at its type."""
    yield f"r = rules_{identifier(owner.name)}__{element.name}({value}, cx)"
    place = "v, x" if value == "x" else ""
    yield f"if r: f = {'join_item' if place else 'join_below'}(f, r, {element.name!r}{', ' if place else ''}{place})"


def _slot(owner: Structure, element: Element) -> Iterator[str]:
    name = element.name
    if not element.is_list:
        yield "r = resource_problems(v)"
        yield f"if r: f = join_below(f, r, {name!r})"
        return
    yield "if v.__class__ is list and v:"
    yield "    for x in v:"
    yield "        r = contained_problems(x, cx)"
    yield f"        if r: f = join_item(f, r, {name!r}, v, x)"
    yield f"    for x in unreferenced(v, cx): f = join_item(f, DOM_3, {name!r}, v, x)"
    yield f"else: f = join_below(f, not_array(v), {name!r})"


def under_source(owner: Structure, element: Element, key: str, type: str) -> Iterator[str]:
    """Write the statements that check the value `v` of `_key`: id and extensions of a primitive."""
    name, check = element.name, f"check_{identifier(type)}"
    if element.is_list:
        yield f"r = unders(v, o.get({key!r}), {check}, cx)"
        yield f"if r: f = join(f, [('.{name}' + p, c, t) for p, c, t in r])"
    else:
        yield f"r = under(v, {key!r} in o, {check}, cx)"
        yield f"if r: f = join_below(f, r, {name!r})"
    if element.choice:
        yield f"if {_siblings(owner, element, key)}: f = join_below(f, TWICE, {name!r})"


def function_source(name: str, lines: Iterator[str]) -> str:
    """Wrap statements about one key into a function of their own."""
    body = "\n".join("    " + line for line in lines)
    return f"def {name}(k, v, o, cx):\n    f = None\n{body}\n    return f\n"


def structure_source(owner: Structure, rules: Iterator[str]) -> str:
    """Write `check_X`: one loop over the object's keys, then what must be there, then the invariants."""
    name = identifier(owner.name)
    lines = [f"def check_{name}(o, cx):", "    f = None", "    for k, v in o.items():"]
    if owner.kind == "resource":
        lines.append("        if k == 'resourceType': continue")
    for number, element in enumerate(in_line(owner)):
        lines.append(f"        {'elif' if number else 'if'} k == {element.name!r}:")
        lines += ["            " + line for line in element_source(owner, element, element.name, element.types[0])]
    apart = [f"r = others_{name}[k](k, v, o, cx)", "if r: f = join(f, r)"]
    if in_line(owner):
        lines.append("        else:")
        apart = ["    " + line for line in apart]
    lines += ["        " + line for line in apart]
    lines += ["    " + line for element in owner.elements.values() for line in _required(owner, element)]
    lines += ["    " + line for line in rules]
    return "\n".join([*lines, "    return f", ""])


def in_line(owner: Structure) -> list[Element]:
    """Return the elements that a structure checks in line; the other keys are looked up."""
    own = [e for e in owner.elements.values() if e.name not in _APART and not e.choice]
    return [] if owner.kind == "resource" or len(own) > INLINE else own


def _required(owner: Structure, element: Element) -> Iterator[str]:
    if element.min == 0:
        return
    absent = presence(owner, element, is_there=False)
    yield f"if {absent}: f = join(f, [('.{element.name}', 'required', 'This element must be there.')])"


def presence(owner: Structure, element: Element, *, is_there: bool = True) -> str:
    """Return the Python expression that is true where `o` has the element (or has it not), `_name` included."""
    if element.choice:
        return f"{'not ' if is_there else ''}keys_{identifier(owner.name)}__{element.name}.isdisjoint(o)"
    keys = every_key(owner, element)
    if is_there:
        return " or ".join(f"{key!r} in o" for key in keys)
    return " and ".join(f"{key!r} not in o" for key in keys)


def every_key(owner: Structure, element: Element) -> list[str]:
    """Return the JSON keys that an element can have, the `_name` ones last."""
    keys = json_keys(element)
    return [*keys, *(f"_{key}" for key, type in keys.items() if has_under(owner, element, type))]
