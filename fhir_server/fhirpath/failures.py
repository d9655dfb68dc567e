"""What can go wrong with an expression; the texts never show a value."""

from __future__ import annotations

from fhir_server.errors import BadRequest, Unprocessable


class InvalidExpression(BadRequest):
    """The expression breaks the grammar, or names a function, type or element that is not there."""


class EvaluationError(Unprocessable):
    """The expression cannot be evaluated on this input, e.g. several items where one is allowed."""

    code = "processing"
