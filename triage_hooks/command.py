"""`predmp triage eval FILE`: apply rules to a file of inputs, without a hub."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import Malformed
from fhir_server.interface import Command
from triage_hooks.rules.judge import CannotJudge, judge


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    evaluation = actions.add_parser(
        "eval",
        help="apply rules to a JSON array of {id, rule, input}; print {id, output} or {id, error}",
        description="Applies triage rules to inputs; needs no store. Prints a JSON array in the order of the input.",
    )
    evaluation.add_argument("file", type=Path, help="JSON array of {id, rule, input}; - reads standard input")


def run(arguments: argparse.Namespace) -> int:
    """Print the outputs; return 2 where the file cannot be read."""
    try:
        body = sys.stdin.buffer.read() if str(arguments.file) == "-" else arguments.file.read_bytes()
        items = gate.parse(body)
    except OSError as error:
        return _refused(f"{arguments.file}: {error.strerror}")
    except Malformed as error:
        return _refused(f"{arguments.file}: {error.text}")
    if not isinstance(items, list):
        return _refused(f"{arguments.file}: this is no JSON array")
    sys.stdout.write(gate.write([evaluated(item) for item in items]).decode() + "\n")
    return 0


def evaluated(item: Any) -> dict[str, Any]:
    """Return `{"id", "output"}` of one item, `{"id", "error"}` where its rule cannot judge it."""
    if not isinstance(item, dict):
        return {"id": None, "error": "this is no object"}
    try:
        return {"id": item.get("id"), "output": judge(str(item.get("rule")), item.get("input"))}
    except CannotJudge as error:
        return {"id": item.get("id"), "error": str(error)}


def _refused(text: str) -> int:
    sys.stderr.write(f"predmp triage eval: {text}\n")
    return 2


TRIAGE: Final = Command("triage", "Apply triage rules to a file", configure, run)
