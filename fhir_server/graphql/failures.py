"""Failures of a GraphQL query, in the form that GraphQL gives errors.

Source: https://spec.graphql.org/October2021/#sec-Errors, and of the OperationOutcome in `extensions`
https://hl7.org/fhir/R4/graphql.html#errors
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, NamedTuple

from fhir_server.errors import Issue
from fhir_server.outcome import outcome

_LONGEST: Final = 60  # characters of a name that an error shows


class Location(NamedTuple):
    """A place in the query, both from 1 on."""

    line: int
    column: int


class QueryError(Exception):
    """The query cannot be run; the text holds names of the query's own, never values."""

    code: ClassVar[str] = "invalid"  # of the OperationOutcome beside it

    def __init__(self, text: str, at: Location | None = None) -> None:
        super().__init__(text)
        self.text, self.at = text, at

    def written(self) -> dict[str, Any]:
        """Return it as a GraphQL error."""
        error: dict[str, Any] = {"message": self.text}
        if self.at is not None:
            error["locations"] = [self.at._asdict()]
        return error | {"extensions": {"resource": outcome([Issue(self.code, self.text)])}}


class TooMuch(QueryError):
    """The query goes beyond what one request may cost; nothing of it is answered."""

    code = "too-costly"


def shown(name: str) -> str:
    """Return a name of the query fit for an error text."""
    return "".join(c if c.isprintable() else "?" for c in name[:_LONGEST])
