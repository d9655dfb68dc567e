"""Resources checked against the R4 definitions, by compiled code."""

from __future__ import annotations

from fhir_server.definitions import resource_types
from fhir_server.errors import Issue
from fhir_server.model import Resource
from fhir_server.validation.compiled import resource_problems
from fhir_server.validation.findings import LIMIT
from fhir_server.validation.thorough import advice

__all__ = ["advice", "validate"]


def validate(resource: Resource) -> list[Issue]:
    """Return what R4 4.0.1 finds wrong with a resource; an empty list when it holds.

    Args:
        resource: FHIR JSON as `gate.parse` reads it: numbers are int or Decimal.

    Returns:
        Issues of severity error, each with the FHIRPath of its element; at most 100 and then one that says
        that there are more. Their texts show no values. Rules of severity warning are not run.
    """
    try:
        problems = resource_problems(resource)
    except RecursionError:
        return [Issue("structure", "The resource is nested too deeply.")]
    if not problems:
        return []
    type = resource.get("resourceType") if resource.__class__ is dict else None
    root = type if type.__class__ is str and type in resource_types() else ""
    issues = [Issue(code, text, root + path) for path, code, text in dict.fromkeys(problems)]
    if len(issues) > LIMIT:
        issues[LIMIT:] = [Issue("structure", "There are more problems than the 100 that are shown.")]
    return issues
