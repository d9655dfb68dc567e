"""What R4's extensible bindings recommend: warnings of `$validate`, never asked of a write.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/terminologies.html#extensible
"""

from __future__ import annotations

from fhir_server.definitions import is_structure, properties, resource_types
from fhir_server.profiles import bindings
from fhir_server.profiles.findings import Item, Run, below


def advise(run: Run, item: Item) -> None:
    """Warn of each code of an element that is known not to be of the value set R4 recommends."""
    run.spend()
    value, type = item.node.value, item.node.type
    if value.__class__ is not dict or not is_structure(type):
        return
    known = properties(type)
    for name, element in {known[key][0].name: known[key][0] for key in value if key in known}.items():
        for found in below(item, name):
            if element.strength == "extensible" and element.binding:
                _advise_one(run, element.binding, found)
            if found.node.type not in resource_types():
                advise(run, found)


def _advise_one(run: Run, value_set: str, item: Item) -> None:
    pairs = bindings.pairs_of(item)
    answers = [run.is_member(value_set, system, code) for system, code in pairs]
    if answers and not any(answer is None or answer for answer in answers):
        text = f"No code is of {value_set}; it should be, where one of its codes fits (extensible binding)."
        run.report("code-invalid", text, item.where, "warning")
