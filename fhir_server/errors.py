"""Failures that a client may see: each knows its HTTP status and its issue code.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#Status-Codes and
https://hl7.org/fhir/R4/valueset-issue-type.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Self


class Issue(NamedTuple):
    """One finding about a resource or a request; `text` must hold no patient data."""

    code: str  # of the R4 issue-type value set
    text: str
    expression: str = ""  # FHIRPath of the element, e.g. "Observation.component[0].code"; empty: the whole
    severity: str = "error"  # fatal | error | warning | information


class FhirError(Exception):
    """Base of every failure a client may see; the text must hold no patient data."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "exception"

    def __init__(self, text: str, *, expression: str = "", issues: Sequence[Issue] = ()) -> None:
        super().__init__(text)
        self.text = text
        self.issues: tuple[Issue, ...] = tuple(issues) or (Issue(self.code, text, expression),)
        self.headers: dict[str, str] = {}

    def placed(self, place: str) -> Self:
        """Return the error, its issues that name no place at this one."""
        if place:
            self.issues = tuple(issue._replace(expression=issue.expression or place) for issue in self.issues)
        return self


class BadRequest(FhirError):
    """The request is malformed."""

    status, code = 400, "invalid"


class Malformed(FhirError):
    """The body is no JSON that FHIR allows."""

    status, code = 400, "structure"


class BadParameter(FhirError):
    """A search parameter has a value that cannot be read."""

    status, code = 400, "value"


class UnknownParameter(FhirError):
    """A search parameter or modifier that this server does not know."""

    status, code = 400, "not-supported"


class BeingIndexed(FhirError):
    """A search parameter that is new, whose index is not complete yet: an answer would be a part of one."""

    status, code = 400, "incomplete"


class TooCostly(FhirError):
    """The request would cost more than its bound."""

    status, code = 400, "too-costly"


class Unauthorized(FhirError):
    """No token, or one that does not hold."""

    status, code = 401, "login"


class Forbidden(FhirError):
    """The token's scopes do not reach that far."""

    status, code = 403, "forbidden"


class NotFound(FhirError):
    """Nothing there that the caller may know of."""

    status, code = 404, "not-found"


class NotSupported(FhirError):
    """The path or operation does not exist here."""

    status, code = 404, "not-supported"


class MethodNotAllowed(FhirError):
    """The path exists, not with this method."""

    status, code = 405, "not-supported"


class NotAcceptable(FhirError):
    """None of the formats asked for can be written."""

    status, code = 406, "not-supported"


class Conflict(FhirError):
    """The state of the resource does not allow this step."""

    status, code = 409, "conflict"


class Gone(FhirError):
    """The resource was deleted."""

    status, code = 410, "deleted"


class VersionConflict(FhirError):
    """If-Match names another version than the current one."""

    status, code = 412, "conflict"


class MultipleMatches(FhirError):
    """A condition meant for one resource matches several."""

    status, code = 412, "multiple-matches"


class TooLarge(FhirError):
    """The body is larger than the server takes."""

    status, code = 413, "too-long"


class UnsupportedMediaType(FhirError):
    """The body's format cannot be read."""

    status, code = 415, "not-supported"


class Unprocessable(FhirError):
    """The resource breaks R4 or a rule of this server."""

    status, code = 422, "invalid"


class Throttled(FhirError):
    """Too many requests."""

    status, code = 429, "throttled"


class Unavailable(FhirError):
    """The store cannot answer now; try again."""

    status, code = 503, "transient"
