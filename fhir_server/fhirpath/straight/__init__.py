"""Common expressions to straight Python: walks over plain dicts, without nodes.

The source of one function is written from the syntax tree and the static types, and compiled. It knows paths,
`where`, `exists`, `empty`, `all`, `count`, boolean operators, comparisons with constants, `as` and `is` of choices,
`resolve() is T`. Where the input turns out to be other than usual (a primitive without a value, a reference into the
resource, an unexpected type) or a part of the expression is none of these, the function raises `Rare` when it gets
there, and the caller asks the complete engine; a test holds both to the same results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from fhir_server.fhirpath.straight.conditions import Conditions
from fhir_server.fhirpath.straight.parts import Choice, Many, One, Rare, Truth, Unknown
from fhir_server.fhirpath.syntax import Expression
from fhir_server.fhirpath.types import is_primitive

Walk: TypeAlias = Callable[[Any], list[Any]]
USUAL: Final = (Rare, AttributeError, TypeError, KeyError, ValueError, ArithmeticError)
"""What a straight function may raise; the complete engine then decides."""


class _Function(Conditions):
    """Writes a whole function."""

    def result(self, tree: Expression, type: str) -> None:
        """Write the lines that return plain values; raise Unknown where there is no straight way."""
        found = self.part(tree, One("d", type))
        if isinstance(found, Choice) and isinstance(found.parent, One):
            made = self.name()
            self.line(f"{made} = []")
            for slot in found.slots:
                part = self.take(found.parent, slot)
                more = part.name if isinstance(part, Many) else f"[{part.name}]"
                self.line(f"if {part.name} is not None: {made} += {more}")
            self.line(f"return {made}")
        elif isinstance(found, Many):
            self.line(f"return {found.name}")
        elif isinstance(found, One):
            self.line(f"return [] if {found.name} is None else [{found.name}]")
        elif isinstance(found, Truth):
            made = self.name()
            self.line(f"{made} = {found.code}")
            self.line(f"return [{made}]" if found.sure else f"return [] if {made} is None else [{made}]")
        else:
            raise Unknown


def straight(tree: Expression, type: str) -> Walk | None:
    """Return a function from the JSON of an element or resource of a type to plain values; None for no straight way."""
    if is_primitive(type) or type in ("Resource", "DomainResource"):
        return None
    function = _Function()
    try:
        function.result(tree, type)
    except Unknown:
        return None
    source = "\n".join(["def walk(d):", *function.lines])
    scope: dict[str, Any] = dict(function.constants)
    exec(compile(source, "<FHIRPath>", "exec"), scope)  # noqa: S102 - of names of the definitions and quoted constants
    walk: Walk = scope["walk"]
    return walk
