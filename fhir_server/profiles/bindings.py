"""Codes beside the value sets that a profile binds them to.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/terminologies.html#strength
"""

from __future__ import annotations

from typing import Final

from fhir_server.fhirpath.types import is_primitive
from fhir_server.profiles.findings import Item, Run, text_of

STRENGTHS: Final = {"required": "error", "extensible": "warning"}


def check_binding(run: Run, binding: tuple[str, str], item: Item, named: str) -> None:
    """Check a coded element; one of several codings is enough, and text alone is not where the binding is required."""
    strength, value_set = binding
    if strength not in STRENGTHS or item.node.value is None:
        return
    pairs = pairs_of(item)
    answers = [run.is_member(value_set, system, code) for system, code in pairs]
    if True in answers:
        return
    if not pairs and strength == "extensible":
        return
    if None in answers:
        run.report(
            "not-supported", "The code was not checked: its value set is not known here.", item.where, "information"
        )
        return
    must = "must" if strength == "required" else "should"
    run.report(
        "code-invalid",
        f"The code {must} be of {value_set} ({strength} binding) by {named}.",
        item.where,
        STRENGTHS[strength],
    )


def check_limit(run: Run, value_set: str, item: Item, named: str) -> None:
    """Check that a code is of the value set beyond which there is none (maxValueSet), however weak the binding is."""
    pairs = pairs_of(item)
    answers = [run.is_member(value_set, system, code) for system, code in pairs]
    if not pairs or True in answers:
        return
    if None in answers:
        text = "The code was not checked: the value set that limits it is not known here."
        run.report("not-supported", text, item.where, "information")
        return
    run.report("code-invalid", f"The code must be of {value_set} (maxValueSet) by {named}.", item.where)


def pairs_of(item: Item) -> list[tuple[str | None, str]]:
    """Return the codes of an element, each with its system; None for a plain code."""
    value, type = item.node.value, item.node.type
    if is_primitive(type):
        return [(None, value)] if value.__class__ is str else []
    if value.__class__ is not dict:
        return []
    held = value.get("coding") if type == "CodeableConcept" else [value]
    found = [c for c in held if c.__class__ is dict] if held.__class__ is list else []
    return [(text_of(c.get("system")), text_of(c["code"])) for c in found if text_of(c.get("code"))]
