"""What `$validate` says of R4's own bindings and a write is never asked.

Extensible bindings recommend: warnings. Required ones whose codes HL7's package does not name (currencies, units, some
of LOINC) are decided by the terminology service, where it can. Media types are not: R4's own examples write `json`.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/terminologies.html#strength
"""

from __future__ import annotations

from typing import Final

from fhir_server.definitions import is_structure, properties, resource_types
from fhir_server.profiles import bindings
from fhir_server.profiles.findings import Item, Run, below

_OUTSIDE: Final = frozenset(
    [
        "http://hl7.org/fhir/ValueSet/currencies",
        "http://hl7.org/fhir/ValueSet/ucum-units",
        "http://loinc.org/vs/LL379-9",
    ]
)


def advise(run: Run, item: Item) -> None:
    """Note each code of an element that is known not to be of the value set R4 binds it to."""
    run.spend()
    value, type = item.node.value, item.node.type
    if value.__class__ is not dict or not is_structure(type):
        return
    known = properties(type)
    for name, element in {known[key][0].name: known[key][0] for key in value if key in known}.items():
        for found in below(item, name):
            if element.strength == "extensible" and element.binding:
                text = "No code is of {}; it should be, where one of its codes fits (extensible binding)."
                _advise_one(run, element.binding, found, text, "warning")
            elif element.strength == "required" and element.binding in _OUTSIDE:
                _advise_one(run, element.binding, found, "The code must be of {} (required binding).", "error")
            if found.node.type not in resource_types():
                advise(run, found)


def _advise_one(run: Run, value_set: str, item: Item, text: str, severity: str) -> None:
    pairs = bindings.pairs_of(item)
    answers = [run.is_member(value_set, system, code) for system, code in pairs]
    if answers and not any(answer is None or answer for answer in answers):
        run.report("code-invalid", text.format(value_set), item.where, severity)
