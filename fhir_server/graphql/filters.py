"""Elements of a list chosen by arguments: `name(use: official)`, `fhirpath`, `_offset` and `_count`.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/graphql.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fhir_server import fhirpath
from fhir_server.errors import BadRequest
from fhir_server.fhirpath import Environment, EvaluationError
from fhir_server.graphql.failures import QueryError, TooMuch
from fhir_server.model import Resource

MAX_EXPRESSION: Final = 1_000  # characters
MOST_STEPS: Final = 2_000  # of one evaluation of an expression
MOST_EVALUATIONS: Final = 5_000  # of a request


class Paths:
    """FHIRPath for one request, within its budget."""

    def __init__(self) -> None:
        self._room = MOST_EVALUATIONS
        self._environment = Environment(most_steps=MOST_STEPS)

    def holds(self, expression: str, value: Any, type: str, resource: Resource | None) -> bool:
        """Whether an expression is true on an element."""
        return self._run(expression, value, type, resource) == [True]

    def text(self, expression: str, value: Any, type: str, resource: Resource | None) -> str:
        """Return what an expression finds on an element, as text."""
        return ".".join(written(found) for found in self._run(expression, value, type, resource))

    def _run(self, expression: str, value: Any, type: str, resource: Resource | None) -> list[Any]:
        self._room -= 1
        if self._room < 0:
            raise TooMuch(f"The query evaluates FHIRPath more than {MOST_EVALUATIONS} times.")
        if len(expression) > MAX_EXPRESSION or "atches" in expression:
            raise QueryError("A FHIRPath here has at most 1,000 characters and no regular expressions.")
        try:
            compiled = fhirpath.compile(expression, type.partition(":")[0])
            return compiled(value, resource=resource, environment=self._environment)
        except (BadRequest, EvaluationError):
            raise QueryError("A FHIRPath of the query cannot be evaluated.") from None


def written(value: Any) -> str:
    """Return a primitive as FHIR writes it."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def chosen(
    values: Sequence[Any], arguments: Mapping[str, Any], type: str, resource: Resource | None, paths: Paths
) -> list[Any]:
    """Return the elements that the arguments of a field let through, in order.

    Args:
        values: The elements.
        arguments: Of the field, their variables resolved.
        type: Structure of the elements.
        resource: That they stand in.
        paths: Evaluates FHIRPath.
    """
    kept = [value for value in values if _fits(value, arguments, type, resource, paths)]
    kept = kept[_number(arguments, "_offset", 0) :]
    return kept[: _number(arguments, "_count", len(kept))]


def _fits(value: Any, arguments: Mapping[str, Any], type: str, resource: Resource | None, paths: Paths) -> bool:
    for name, wanted in arguments.items():
        if name in ("_count", "_offset") or wanted is None:
            continue
        if name == "fhirpath":
            if not paths.holds(str(wanted), value, type, resource):
                return False
            continue
        found = value.get(name) if isinstance(value, dict) else None
        items = found if isinstance(found, list) else [found]
        accepted = [written(item) for item in (wanted if isinstance(wanted, list) else [wanted])]
        if not any(item is not None and written(item) in accepted for item in items):
            return False
    return True


def _number(arguments: Mapping[str, Any], name: str, default: int) -> int:
    value = arguments.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise QueryError(f"{name} is a whole number, not below 0.")
    return value
