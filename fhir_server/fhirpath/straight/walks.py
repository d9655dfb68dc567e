"""Paths, casts and filters as lines of Python."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from fhir_server.fhirpath.straight.parts import Choice, Constant, Many, One, Part, Rare, Truth, Unknown, pointed
from fhir_server.fhirpath.syntax import (
    Call,
    Expression,
    Literal,
    Member,
    Operation,
    Special,
    TypeTest,
    Variable,
    type_name,
)
from fhir_server.fhirpath.types import Slot, ancestors, find_type, is_primitive, slots
from fhir_server.ucum import UCUM

_QUESTIONS: Final = frozenset(
    {"exists", "empty", "all", "not", "hasValue", "isDistinct", "is", "startsWith", "endsWith", "contains", "matches"}
)


class Walks:
    """Writes the lines of a function; `conditions` adds what is true or false."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.count = 0
        self.constants: dict[str, Any] = {"Rare": Rare, "pointed": pointed}

    def line(self, text: str) -> None:
        """Write a line."""
        self.lines.append("    " * self.depth + text)

    def name(self) -> str:
        """Return a new variable."""
        self.count += 1
        return f"v{self.count}"

    def constant(self, value: Any) -> str:
        """Return the name under which the function has a value."""
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def truth(self, tree: Expression, this: One) -> Truth:
        """Write a condition; raise Unknown where it has no straight way."""
        raise NotImplementedError

    def lazily(self, tree: Expression, this: One) -> Truth:
        """Write a condition; where it has no straight way, the function ends when it gets there."""
        raise NotImplementedError

    def part(self, tree: Expression, this: One) -> Part:
        """Write a part of an expression; raise Unknown where it has no straight way."""
        match tree:
            case Literal(bool() | int() | str() | Decimal()):
                return Constant(tree.value)
            case Variable("ucum"):
                return Constant(UCUM)
            case Special("this"):
                return this
            case Member():
                return self._member(tree, this)
            case TypeTest("as"):
                return self._cast(self.part(tree.operand, this), tree.type)
            case TypeTest("is") | Operation():
                return self.truth(tree, this)
            case Call():
                return self._call(tree, this)
            case _:
                raise Unknown

    def _member(self, tree: Member, this: One) -> Part:
        if tree.target is None:
            if tree.name[:1].isupper():
                if tree.name not in ancestors(this.type):
                    raise Unknown
                return this
            return self._child(this, tree.name)
        before = self.part(tree.target, this)
        if not isinstance(before, (One, Many)):
            raise Unknown
        return self._child(before, tree.name)

    def _child(self, parent: One | Many, name: str) -> Part:
        if not parent.type:
            return parent
        found = slots(parent.type).get(name)
        if not found or is_primitive(parent.type):
            raise Unknown
        if any(slot.type == "Resource" for slot in found):
            return self._resources(parent, found[0].key)
        return self.take(parent, found[0]) if len(found) == 1 else Choice(parent, found)

    def _resources(self, parent: One | Many, key: str) -> Many:
        """Resources inside the resource have types of their own: go on only where there are none."""
        if isinstance(parent, Many):
            raise Unknown
        made = Many(self.name(), "")
        self.line(f"if {parent.name} is not None and {key!r} in {parent.name}: raise Rare")
        self.line(f"{made.name} = []")
        return made

    def take(self, parent: One | Many, slot: Slot) -> One | Many:
        """Take an element out of its parent."""
        if isinstance(parent, One) and not slot.many:
            return self._take_one(parent, slot)
        made = Many(self.name(), slot.type)
        self.line(f"{made.name} = []")
        item = self.each(parent)
        if slot.many:
            inner = self._take_all(item, slot)
            self.line(f"if {inner} is not None: {made.name} += {inner}")
        else:
            inner = self._take_one(One(item, parent.type), slot).name
            self.line(f"if {inner} is not None: {made.name}.append({inner})")
        self.depth -= 1
        return made

    def each(self, parent: One | Many) -> str:
        """Begin a loop over the values of a part, or a condition that there is one; return the value's variable."""
        if isinstance(parent, One):
            self.line(f"if {parent.name} is not None:")
            self.depth += 1
            return parent.name
        item = self.name()
        self.line(f"for {item} in {parent.name}:")
        self.depth += 1
        return item

    def _take_one(self, parent: One, slot: Slot) -> One:
        made = One(self.name(), slot.type)
        certain = parent.name == "d"
        get = f"{parent.name}.get({slot.key!r})"
        self.line(f"{made.name} = {get}" if certain else f"{made.name} = None if {parent.name} is None else {get}")
        if slot.primitive:
            there = "" if certain else f"{parent.name} is not None and "
            extra = "_" + slot.key
            self.line(f"if {made.name} is None and {there}{extra!r} in {parent.name}: raise Rare")
        return made

    def _take_all(self, parent: str, slot: Slot) -> str:
        made, extra = self.name(), "_" + slot.key
        self.line(f"{made} = {parent}.get({slot.key!r})")
        rare = f"{made} is not None and {made}.__class__ is not list"
        if slot.primitive:
            rare += f" or {extra!r} in {parent}"
        self.line(f"if {rare}: raise Rare")
        return made

    def _cast(self, before: Part, written: str) -> Part:
        namespace, name = find_type(written)
        if namespace != "FHIR":
            raise Unknown
        if isinstance(before, Choice):
            kept = tuple(
                slot
                for slot in before.slots
                if slot.type == name or (not slot.primitive and name in ancestors(slot.type))
            )
            if not kept:
                raise Unknown
            return self.take(before.parent, kept[0]) if len(kept) == 1 else Choice(before.parent, kept)
        if isinstance(before, (One, Many)) and before.type in ("", name):
            return before
        raise Unknown

    def _call(self, tree: Call, this: One) -> Part:
        if tree.name in _QUESTIONS:
            return self.truth(tree, this)
        before = this if tree.target is None else self.part(tree.target, this)
        if tree.name in ("as", "ofType") and len(tree.arguments) == 1:
            return self._cast(before, type_name(tree.arguments[0]))
        if tree.name == "trace":
            return before
        if not isinstance(before, (One, Many)):
            raise Unknown
        if tree.name == "where" and len(tree.arguments) == 1:
            return self.where(before, tree.arguments[0])
        if tree.arguments:
            raise Unknown
        return self._counted(tree.name, before)

    def _counted(self, function: str, before: One | Many) -> Part:
        if function == "first" and isinstance(before, Many):
            made = One(self.name(), before.type)
            self.line(f"{made.name} = {before.name}[0] if {before.name} else None")
            return made
        if function == "count":
            made = One(self.name(), "Integer")
            number = f"len({before.name})" if isinstance(before, Many) else f"int({before.name} is not None)"
            self.line(f"{made.name} = {number}")
            return made
        raise Unknown

    def where(self, before: One | Many, criterion: Expression) -> Many:
        """Write a filter."""
        if isinstance(before, Many) and not before.type:
            return before
        made = Many(self.name(), before.type)
        self.line(f"{made.name} = []")
        item = self.each(before)
        self.line(f"if {self.lazily(criterion, One(item, before.type)).code} is True: {made.name}.append({item})")
        self.depth -= 1
        return made
