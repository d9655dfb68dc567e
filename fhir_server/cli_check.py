"""`predmp check FILE...`: what R4 finds wrong with resources in files."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from fhir_server import gate
from fhir_server.errors import FhirError, Issue
from fhir_server.validation import validate


def check_files(paths: Iterable[Path]) -> int:
    """Print `file: expression: text` for every problem.

    Returns:
        The exit code: 0 when all resources hold, 1 when one does not, 2 when a file cannot be read.
    """
    code = 0
    for path in paths:
        try:
            issues = problems(path.read_bytes())
        except OSError as error:
            print(f"{path}: {error.strerror}", file=sys.stderr)
            code = 2
            continue
        for issue in issues:
            print(f"{path}: {issue.expression or '(root)'}: {issue.text}")
        if issues:
            code = max(code, 1)
    return code


def problems(body: bytes) -> list[Issue]:
    """Return what is wrong with the bytes of one resource; never raises."""
    try:
        return validate(gate.parse_resource(body))
    except FhirError as error:
        return list(error.issues)
