"""The operations on codes, value sets and concept maps.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/terminology-service.html
"""

from __future__ import annotations

from fhir_server.interactions.core import Hub
from fhir_server.interface import Operation
from fhir_server.operations.terminology_codes import Looking, Subsuming
from fhir_server.operations.terminology_expand import Expanding
from fhir_server.operations.terminology_translate import Translating
from fhir_server.operations.terminology_validate import Validating
from fhir_server.settings import Settings


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$expand`, `$lookup`, `$validate-code`, `$subsumes` and `$translate`."""
    validating, subsuming = Validating(hub).run, Subsuming(hub).run
    expanding, translating = Expanding(hub).run, Translating(hub).run
    table = (
        ("ValueSet", "expand", (False, True), expanding, "Lists the codes of a value set, in pages, in a language."),
        ("ValueSet", "validate-code", (False, True), validating, "Says whether a code is in a value set."),
        ("CodeSystem", "lookup", (False,), Looking(hub).run, "Tells what a code says: display, properties, hierarchy."),
        ("CodeSystem", "validate-code", (False, True), validating, "Says whether a code is in a code system."),
        ("CodeSystem", "subsumes", (False, True), subsuming, "Says how two codes stand to each other."),
        ("ConceptMap", "translate", (False, True), translating, "Translates a code into another code system, or back."),
    )
    return tuple(
        Operation(
            name=name,
            type=type,
            instance=instance,
            methods=("GET", "POST"),
            needs="r",
            run=run,
            documentation=documentation,
            definition=f"http://hl7.org/fhir/OperationDefinition/{type}-{name}",
        )
        for type, name, levels, run, documentation in table
        for instance in levels
    )
