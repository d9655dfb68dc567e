"""Does an expression name only what its input can have: the rules of a strict reading.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#type-safety-and-strict-evaluation
"""

from __future__ import annotations

from typing import Final, TypeAlias

from fhir_server.fhirpath.failures import InvalidExpression
from fhir_server.fhirpath.syntax import (
    Call,
    Expression,
    Item,
    Member,
    Nothing,
    Operation,
    Sign,
    Special,
    TypeTest,
    type_name,
)
from fhir_server.fhirpath.types import ancestors, find_type, is_known, slots

Types: TypeAlias = frozenset[str] | None
"""The FHIR types that a part of an expression can have; None: anything, nothing is checked."""

_SAME: Final = frozenset(
    {"where", "first", "last", "tail", "skip", "take", "single", "trace", "distinct", "exclude", "intersect", "sort"}
)
_BY_PLACE: Final = frozenset({"first", "last", "tail", "skip", "take"})
_PER_ITEM: Final = frozenset({"where", "select", "repeat", "all", "exists", "sort", "trace", "iif"})
_UNORDERED: Final = frozenset({"children", "descendants"})
_ABSTRACT: Final = frozenset({"Resource", "DomainResource"})


def check(tree: Expression, type: str) -> None:
    """Raise InvalidExpression when a tree names an element that its input, of that type, cannot have."""
    _infer(tree, frozenset({type}) if is_known(type) and type not in _ABSTRACT else None)


def _infer(tree: Expression, this: Types) -> Types:
    match tree:
        case Member():
            return _member(tree, this)
        case Call():
            return _call(tree, this)
        case Item():
            _infer(tree.place, this)
            return _infer(tree.target, this)
        case Special():
            return this if tree.name == "this" else None
        case TypeTest():
            _infer(tree.operand, this)
            return _cast(tree.type) if tree.operator == "as" else None
        case Operation():
            left, right = _infer(tree.left, this), _infer(tree.right, this)
            return _either(left, right) if tree.operator == "|" else None
        case Sign():
            return _infer(tree.operand, this)
        case Nothing():
            return frozenset()
        case _:
            return None


def _either(left: Types, right: Types) -> Types:
    return None if left is None or right is None else left | right


def _cast(written: str) -> Types:
    namespace, name = find_type(written)
    return frozenset({name}) if namespace == "FHIR" and name not in _ABSTRACT else None


def _member(tree: Member, this: Types) -> Types:
    types = this if tree.target is None else _infer(tree.target, this)
    if types is None:
        return None
    if tree.target is None and (own := frozenset(type for type in types if tree.name in ancestors(type))):
        return own
    found = [slot.type for type in types for slot in slots(type).get(tree.name, ())]
    if types and not found:
        raise InvalidExpression("The expression names an element that its input does not have.")
    return None if _ABSTRACT.intersection(found) else frozenset(found)


def _call(tree: Call, this: Types) -> Types:
    types = this if tree.target is None else _infer(tree.target, this)
    if tree.name in _BY_PLACE and isinstance(tree.target, Call) and tree.target.name in _UNORDERED:
        raise InvalidExpression("The expression takes items by place of a collection that has no order.")
    if tree.name in ("is", "as", "ofType"):
        return _cast(type_name(tree.arguments[0])) if tree.name != "is" and tree.arguments else None
    within = types if tree.name in _PER_ITEM else this
    results = [_infer(argument, within) for argument in tree.arguments]
    if tree.name in _SAME:
        return types
    if tree.name in ("select", "repeat") and results:
        return results[0]
    if tree.name in ("union", "combine") and results:
        return _either(types, results[0])
    return frozenset({"Extension"}) if tree.name == "extension" else None
