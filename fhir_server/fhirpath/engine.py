"""Expressions ready to be evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from fhir_server.fhirpath.check import check
from fhir_server.fhirpath.closures import check_height, closure
from fhir_server.fhirpath.functions.arguments import truth
from fhir_server.fhirpath.nodes import DEFAULT, Collection, Environment, Evaluate, Node, Run, Scope, node, to_json
from fhir_server.fhirpath.parser import parse
from fhir_server.fhirpath.types import is_resource

Input: TypeAlias = Mapping[str, Any] | Node | str | bool | int | Any


class Compiled:
    """A compiled expression; the same one may be used by many threads at a time."""

    __slots__ = ("_evaluate", "expression", "type")

    def __init__(self, expression: str, type: str, evaluate: Evaluate) -> None:
        self.expression = expression
        self.type = type
        self._evaluate = evaluate

    def __call__(
        self, value: Input, *, root: Any = None, resource: Any = None, environment: Environment | None = None
    ) -> list[Any]:
        """Evaluate on a resource or element.

        Args:
            value: FHIR JSON; a resource, or an element of the type that was compiled for, or a `Node`.
            root: What `%rootResource` is; `resource` where it is not given.
            resource: What `%resource` is; the input itself where it is a resource, else `root`.
            environment: Variables, clock, resolver and trace.

        Returns:
            Plain values: dicts, str, bool, int, Decimal as in FHIR JSON; primitives without a value are left out.

        Raises:
            EvaluationError: The expression does not fit the input.
        """
        found = self.items(value, root=root, resource=resource, environment=environment)
        return [made for item in found if (made := to_json(item)) is not None]

    def items(
        self, value: Input, *, root: Any = None, resource: Any = None, environment: Environment | None = None
    ) -> Collection:
        """Evaluate and return typed items: `Node`, System values. Arguments as in a call."""
        item = node(value, self.type)
        own = item if is_resource(item.type) else None
        within = node(resource) if resource is not None else own or (node(root) if root is not None else None)
        outer = node(root) if root is not None else within
        run = Run([item], within, outer, environment or DEFAULT)
        return self._evaluate(Scope(run, run.context))

    def holds(
        self, value: Input, *, root: Any = None, resource: Any = None, environment: Environment | None = None
    ) -> bool:
        """Whether an invariant holds: the result is true; an empty result is not. Arguments as in a call."""
        return truth(self.items(value, root=root, resource=resource, environment=environment)) is True


@lru_cache(maxsize=8192)
def compile(expression: str, type: str = "", *, strict: bool = False) -> Compiled:
    """Compile an expression; the last 8192 are kept.

    Args:
        expression: FHIRPath.
        type: Structure name of the input, e.g. "Observation.component"; resources say theirs themselves.
        strict: Whether elements that the type does not have, and what the standard forbids but R4's own
            expressions do, are errors; else they are empty.

    Raises:
        InvalidExpression: It breaks the grammar, or names a function or type that does not exist.
    """
    tree = parse(expression)
    check_height(tree)
    if strict:
        check(tree, type)
    return Compiled(expression, type, closure(tree, strict))
