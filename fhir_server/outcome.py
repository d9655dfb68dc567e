"""Any failure as an OperationOutcome.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/operationoutcome.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhir_server.errors import FhirError, Issue
from fhir_server.model import Resource

MOST_ISSUES = 200


def outcome(issues: Sequence[Issue]) -> Resource:
    """Return an OperationOutcome with these issues; at least one is needed, more than 200 are cut and said."""
    made = [_issue(issue) for issue in issues[:MOST_ISSUES]]
    if len(issues) > MOST_ISSUES:
        made.append(
            _issue(Issue("too-costly", "There are more issues; the first 200 are shown.", severity="information"))
        )
    return {"resourceType": "OperationOutcome", "issue": made}


def _issue(issue: Issue) -> dict[str, Any]:
    made: dict[str, Any] = {"severity": issue.severity, "code": issue.code, "diagnostics": issue.text}
    if issue.expression:
        made["expression"] = [issue.expression]
    return made


def to_outcome(error: Exception, *, request_id: str) -> tuple[int, Resource]:
    """Map any exception to (HTTP status, OperationOutcome); an unknown one shows only the request id."""
    if isinstance(error, FhirError):
        return error.status, outcome(error.issues)
    return 500, outcome([Issue("exception", f"The server failed; the log has it under request {request_id}.")])
