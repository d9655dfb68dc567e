"""Expressions ready to be evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from fhir_server.fhirpath.check import check
from fhir_server.fhirpath.closures import check_height, closure
from fhir_server.fhirpath.functions.arguments import truth
from fhir_server.fhirpath.nodes import DEFAULT, Collection, Environment, Node, Run, Scope, node, to_json
from fhir_server.fhirpath.parser import parse
from fhir_server.fhirpath.straight import USUAL, Walk, straight
from fhir_server.fhirpath.syntax import Expression
from fhir_server.fhirpath.types import is_known, is_resource

# Expressions of R4 that do not say what their rule says, as R5 corrects them.
_ERRATA: Final = {
    # que-7: an answer is FHIR's boolean, never System.Boolean
    "operator = 'exists' implies (answer is Boolean)": "operator = 'exists' implies (answer is boolean)",
}
Input: TypeAlias = Mapping[str, Any] | Node | str | bool | int | Any


class Compiled:
    """A compiled expression; the same one may be used by many threads at a time."""

    __slots__ = ("_evaluate", "_tree", "_walks", "expression", "type")

    def __init__(self, expression: str, type: str, tree: Expression, *, strict: bool = False) -> None:
        self.expression = expression
        self.type = type
        self._evaluate = closure(tree, strict)
        self._tree = tree
        # By type of the input, made when it is first met; asked first where no environment is given.
        self._walks: dict[str, Walk | None] = {}

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
        if value.__class__ is dict and environment is None:
            try:
                walk = self._walks[value.get("resourceType", self.type)]
            except (KeyError, TypeError):
                walk = self._find_walk(value)
            if walk is not None:
                try:
                    return walk(value)
                except USUAL:
                    return self._complete(value, root, resource, None)
        return self._complete(value, root, resource, environment)

    def _find_walk(self, value: Mapping[str, Any]) -> Walk | None:
        type = value.get("resourceType", self.type)
        if not isinstance(type, str) or not is_known(type):
            return None
        self._walks[type] = found = straight(self._tree, type)
        return found

    def _complete(self, value: Input, root: Any, resource: Any, environment: Environment | None) -> list[Any]:
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
        return truth(self(value, root=root, resource=resource, environment=environment)) is True


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
    tree = parse(_ERRATA.get(expression, expression))
    check_height(tree)
    if strict:
        check(tree, type)
    return Compiled(expression, type, tree, strict=strict)
