"""Failures of a GraphQL query, in the form that GraphQL gives errors.

Source: https://spec.graphql.org/October2021/#sec-Errors
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

_LONGEST: Final = 60  # characters of a name that an error shows


class Location(NamedTuple):
    """A place in the query, both from 1 on."""

    line: int
    column: int


class QueryError(Exception):
    """The query cannot be run; the text holds names of the query's own, never values."""

    def __init__(self, text: str, at: Location | None = None) -> None:
        super().__init__(text)
        self.text, self.at = text, at

    def written(self) -> dict[str, Any]:
        """Return it as a GraphQL error."""
        error: dict[str, Any] = {"message": self.text}
        if self.at is not None:
            error["locations"] = [self.at._asdict()]
        return error


class TooMuch(QueryError):
    """The query goes beyond what one request may cost; nothing of it is answered."""


def shown(name: str) -> str:
    """Return a name of the query fit for an error text."""
    return "".join(c if c.isprintable() else "?" for c in name[:_LONGEST])
