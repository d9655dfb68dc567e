"""Conditions as lines of Python; each is True, False or None, which stands for empty."""

from __future__ import annotations

from typing import Any, Final

from fhir_server.fhirpath import patterns
from fhir_server.fhirpath.straight.parts import (
    NUMBERS,
    Choice,
    Constant,
    Many,
    One,
    Part,
    Truth,
    Unknown,
    is_alike,
    is_text,
    literals,
    unless,
)
from fhir_server.fhirpath.straight.walks import Walks
from fhir_server.fhirpath.syntax import Call, Expression, Operation, TypeTest, type_name
from fhir_server.fhirpath.types import ancestors, find_type, is_primitive

_SIGNS: Final = {"=": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
# operator: what the left side decides, and what it makes of the whole
_DECIDES: Final = {"and": ("False", "False"), "or": ("True", "True"), "implies": ("False", "True")}
_ON_TEXT: Final = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
    "matches": patterns.found,
}


class Conditions(Walks):
    """Adds conditions to walks."""

    def lazily(self, tree: Expression, this: One) -> Truth:
        """Write a condition; where it has no straight way, the function ends when it gets there."""
        length, depth, count = len(self.lines), self.depth, self.count
        try:
            return self.truth(tree, this)
        except Unknown:
            del self.lines[length:]
            self.depth, self.count = depth, count
            self.line("raise Rare")
            return Truth("None", False)

    def truth(self, tree: Expression, this: One) -> Truth:
        """Write a condition; raise Unknown where it has no straight way."""
        match tree:
            case Operation("and" | "or" | "implies"):
                return self._short(tree, this)
            case Operation("xor"):
                left, right = self._kept(tree.left, this), self._kept(tree.right, this)
                if not left.sure or not right.sure:
                    raise Unknown
                return Truth(f"({left.code} is not {right.code})", True)
            case Operation("in", _, Operation("|")):
                return self._among(tree, this)
            case Operation() if tree.operator in _SIGNS:
                return self._compared(tree, this)
            case TypeTest("is"):
                return self._is_type(tree.operand, tree.type, this)
            case Call():
                return self._question(tree, this)
            case Operation():
                raise Unknown
            case _:
                found = self.part(tree, this)
                if isinstance(found, One) and found.type == "boolean":
                    return Truth(found.name, False)
                raise Unknown

    def _kept(self, tree: Expression, this: One) -> Truth:
        """Write a condition into a variable."""
        found = self.truth(tree, this)
        made = self.name()
        self.line(f"{made} = {found.code}")
        return Truth(made, found.sure)

    def _short(self, tree: Operation, this: One) -> Truth:
        """`and`, `or` and `implies` look at the right side only where the left one does not decide."""
        made = self.name()
        left = self.truth(tree.left, this)
        decides, result = _DECIDES[tree.operator]
        self.line(f"{made} = {left.code}")
        self.line(f"if {made} is {decides}: {made} = {result}")
        self.line("else:")
        self.depth += 1
        right = self.lazily(tree.right, this)
        if left.sure:
            self.line(f"{made} = {right.code}")
        else:
            wanted = "False" if tree.operator == "and" else "True"
            other = self.name()
            self.line(f"{other} = {right.code}")
            self.line(f"{made} = {wanted} if {other} is {wanted} else ({other} if {made} is not None else None)")
        self.depth -= 1
        return Truth(made, left.sure and right.sure)

    def _question(self, tree: Call, this: One) -> Truth:
        name, count = tree.name, len(tree.arguments)
        if name == "not" and not count and tree.target is not None:
            inner = self._kept(tree.target, this)
            return Truth(f"(not {inner.code})" if inner.sure else unless(inner.code, f"not {inner.code}"), inner.sure)
        if name == "is" and count == 1 and tree.target is not None:
            return self._is_type(tree.target, type_name(tree.arguments[0]), this)
        before = this if tree.target is None else self.part(tree.target, this)
        if name in ("exists", "empty") and not count:
            there = self.there(before)
            return Truth(there if name == "exists" else f"(not {there})", True)
        if name == "exists" and count == 1 and isinstance(before, (One, Many)):
            return Truth(self.there(self.where(before, tree.arguments[0])), True)
        if name == "all" and count == 1 and isinstance(before, (One, Many)):
            return self._all(before, tree.arguments[0])
        if name == "hasValue" and not count and isinstance(before, One) and is_primitive(before.type):
            return Truth(f"({before.name} is not None)", True)
        if name == "isDistinct" and not count and isinstance(before, Many) and is_text(before.type):
            return Truth(f"(len(set({before.name})) == len({before.name}))", True)
        if name in _ON_TEXT and count == 1 and isinstance(before, One) and is_text(before.type):
            other = self.part(tree.arguments[0], this)
            if isinstance(other, Constant) and isinstance(other.value, str):
                call = f"{self.constant(_ON_TEXT[name])}({before.name}, {other.value!r})"
                return Truth(unless(before.name, call), False)
        raise Unknown

    def there(self, part: Part) -> str:
        """Return Python for whether a part has anything."""
        if isinstance(part, One):
            return f"({part.name} is not None)"
        if isinstance(part, Many):
            return f"(len({part.name}) > 0)"
        if isinstance(part, Choice):
            every = [key for slot in part.slots for key in (slot.key, "_" + slot.key)[: 1 + slot.primitive]]
            keys = self.constant(frozenset(every))
            if isinstance(part.parent, Many):
                return f"any(not {keys}.isdisjoint(item) for item in {part.parent.name})"
            return f"({part.parent.name} is not None and not {keys}.isdisjoint({part.parent.name}))"
        raise Unknown

    def _all(self, before: One | Many, criterion: Expression) -> Truth:
        if isinstance(before, Many) and not before.type:
            return Truth("True", True)
        made = self.name()
        self.line(f"{made} = True")
        item = self.each(before)
        self.line(f"if {self.lazily(criterion, One(item, before.type)).code} is not True: {made} = False")
        self.depth -= 1
        return Truth(made, True)

    def _is_type(self, operand: Expression, written: str, this: One) -> Truth:
        namespace, name = find_type(written)
        if namespace != "FHIR":
            raise Unknown
        match operand:
            case Call(None, "resolve", ()) if this.type == "Reference" and name not in ("Resource", "DomainResource"):
                made = self.name()
                self.line(f"{made} = pointed({this.name})")
                return Truth(f"({made} == {name!r} if {made} else None)", False)
        before = self.part(operand, this)
        if not isinstance(before, Choice) or not isinstance(before.parent, One):
            raise Unknown
        kept = tuple(slot for slot in before.slots if name in ancestors(slot.type))
        there = self.there(before)
        if not kept:
            return Truth(f"(False if {there} else None)", False)
        return Truth(f"({self.there(Choice(before.parent, kept))} if {there} else None)", False)

    def _single(self, tree: Expression, this: One) -> One | Constant:
        found = self.part(tree, this)
        if isinstance(found, (One, Constant)):
            return found
        raise Unknown

    def _compared(self, tree: Operation, this: One) -> Truth:
        if tree.operator in ("=", "!=") and (truths := self._equal_truths(tree, this)) is not None:
            return truths
        left, right = self._single(tree.left, this), self._single(tree.right, this)
        if isinstance(left, Constant) or not isinstance(right, Constant) or not is_alike(left.type, right.value):
            raise Unknown
        if tree.operator not in ("=", "!=") and left.type not in NUMBERS:
            raise Unknown
        return Truth(unless(left.name, f"{left.name} {_SIGNS[tree.operator]} {self._written(right.value)}"), False)

    def _written(self, value: Any) -> str:
        return repr(value) if isinstance(value, (str, int)) else self.constant(value)

    def _equal_truths(self, tree: Operation, this: One) -> Truth | None:
        """`a.exists() = b.exists()`."""
        if not all(isinstance(side, Call) and side.name in ("exists", "empty") for side in (tree.left, tree.right)):
            return None
        left, right = self._kept(tree.left, this), self._kept(tree.right, this)
        return Truth(f"({left.code} {_SIGNS[tree.operator]} {right.code})", True)

    def _among(self, tree: Operation, this: One) -> Truth:
        """`x in ('a' | 'b')`."""
        item = self._single(tree.left, this)
        values = literals(tree.right)
        if not isinstance(item, One) or not is_text(item.type) or values is None:
            raise Unknown
        return Truth(unless(item.name, f"{item.name} in {self.constant(frozenset(values))}"), False)
