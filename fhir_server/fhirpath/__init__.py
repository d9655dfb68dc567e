"""FHIRPath compiled to Python functions: `compile(expression, type)(resource)` gives plain values."""

from fhir_server.fhirpath.engine import Compiled, compile
from fhir_server.fhirpath.failures import EvaluationError, InvalidExpression
from fhir_server.fhirpath.nodes import Environment, Node

__all__ = ["Compiled", "Environment", "EvaluationError", "InvalidExpression", "Node", "compile"]
