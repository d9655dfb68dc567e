"""Search expressions that are plain ways down a resource: from key to key, through lists, with simple filters.

Nearly all of R4's are; `extract` follows them without the FHIRPath engine, which evaluates the rest.
"""

from __future__ import annotations

from typing import NamedTuple

from fhir_server.fhirpath.parser import parse
from fhir_server.fhirpath.syntax import (
    Call,
    Expression,
    Literal,
    Member,
    Operation,
    TypeTest,
    type_name,
)
from fhir_server.fhirpath.types import ancestors, find_type, is_primitive, slots


class Step(NamedTuple):
    """One key on the way down."""

    key: str  # JSON key
    type: str  # FHIR type of what stands there
    where: tuple[str, str] | None = None  # (key, value): only items that have this


class Path(NamedTuple):
    """A way down."""

    steps: tuple[Step, ...]
    type: str  # at its end
    only: str = ""  # of a reference: only to this type


def paths(expression: str, type: str) -> tuple[Path, ...] | None:
    """Return the ways that an expression takes from a type; None when it is more than that."""
    found = _paths(parse(expression), type)
    return None if found is None else tuple(found)


def _paths(tree: Expression, type: str) -> list[Path] | None:
    match tree:
        case Operation(operator="|"):
            left, right = _paths(tree.left, type), _paths(tree.right, type)
            return None if left is None or right is None else left + right
        case Member():
            return _member(tree, type)
        case TypeTest(operator="as"):
            return _cast(_paths(tree.operand, type), tree.type)
        case Call() if tree.target is not None:
            return _call(tree, _paths(tree.target, type))
        case _:
            return None


def _member(tree: Member, type: str) -> list[Path] | None:
    if tree.target is None:
        if tree.name in ancestors(type):
            return [Path((), type)]
        before: list[Path] | None = [Path((), type)]
    else:
        before = _paths(tree.target, type)
    if before is None:
        return None
    found = []
    for path in before:
        if path.only:
            return None
        for slot in slots(path.type).get(tree.name, ()):
            if slot.type in ("Resource", "Element"):
                return None
            found.append(Path((*path.steps, Step(slot.key, slot.type)), slot.type))
    return found


def _cast(before: list[Path] | None, written: str) -> list[Path] | None:
    namespace, name = find_type(written)
    if before is None or namespace != "FHIR":
        return None
    return [
        path for path in before if path.type == name or (not is_primitive(path.type) and name in ancestors(path.type))
    ]


def _call(tree: Call, before: list[Path] | None) -> list[Path] | None:
    if before is None or len(tree.arguments) != 1:
        return None
    argument = tree.arguments[0]
    if tree.name in ("as", "ofType"):
        return _cast(before, type_name(argument))
    if tree.name == "where":
        return _where(argument, before)
    if tree.name == "extension" and isinstance(argument, Literal) and not any(path.steps for path in before):
        step = Step("extension", "Extension", ("url", str(argument.value)))
        return [Path((step,), "Extension")]
    return None


def _where(criterion: Expression, before: list[Path]) -> list[Path] | None:
    match criterion:
        case TypeTest("is", Call(None, "resolve", ()), type):
            return [path._replace(only=type) for path in before]
        case Operation("=", Member(None, key), Literal(str() as value)):
            if any(not path.steps or path.steps[-1].where for path in before):
                return None
            if not all(_is_text(path.type, key) for path in before):
                return None
            return [_filtered(path, key, value) for path in before]
        case _:
            return None


def _is_text(type: str, key: str) -> bool:
    """Whether a type has one primitive element of that name, so that its JSON is the value itself."""
    found = slots(type).get(key, ())
    return len(found) == 1 and found[0].primitive and not found[0].many


def _filtered(path: Path, key: str, value: str) -> Path:
    last = path.steps[-1]._replace(where=(key, value))
    return path._replace(steps=(*path.steps[:-1], last))
