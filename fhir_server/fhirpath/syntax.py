"""The syntax tree of a FHIRPath expression.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/grammar.html
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias, Union


class Literal(NamedTuple):
    """A constant: bool, int, Decimal, str, Temporal or Quantity."""

    value: Any


class Nothing(NamedTuple):
    """The empty collection `{}`."""


class Member(NamedTuple):
    """A name after a dot, or at the start of an expression (`target` None)."""

    target: Expression | None
    name: str


class Call(NamedTuple):
    """A function after a dot, or on `$this` (`target` None)."""

    target: Expression | None
    name: str
    arguments: tuple[Expression, ...]


class Item(NamedTuple):
    """`target[place]`, counted from 0."""

    target: Expression
    place: Expression


class Sign(NamedTuple):
    """`-operand` or `+operand`."""

    operator: str
    operand: Expression


class Operation(NamedTuple):
    """`left operator right`."""

    operator: str
    left: Expression
    right: Expression


class TypeTest(NamedTuple):
    """`operand is type` or `operand as type`; the type is written as in the expression, e.g. `FHIR.Patient`."""

    operator: str
    operand: Expression
    type: str


class Special(NamedTuple):
    """`$this`, `$index` or `$total`, without the dollar."""

    name: str


class Variable(NamedTuple):
    """`%name`, without the percent sign."""

    name: str


Expression: TypeAlias = Union[
    Literal, Nothing, Member, "Call", "Item", "Sign", "Operation", "TypeTest", Special, Variable
]


def type_name(expression: Expression) -> str:
    """Return the type that an argument of `is`, `as` or `ofType` names; "" when it names none."""
    if isinstance(expression, Member):
        if expression.target is None:
            return expression.name
        outer = type_name(expression.target)
        return f"{outer}.{expression.name}" if outer else ""
    return ""
