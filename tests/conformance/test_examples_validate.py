"""Every example of R4 holds, but for those that break R4 itself."""

from __future__ import annotations

from typing import Final

import pytest

from fhir_server import gate
from fhir_server.validation import advice, validate
from tests.conformance import examples

TXT_2: Final = ("invariant", "txt-2: The narrative SHALL have some non-whitespace content.")
REQUIRED: Final = ("required", "This element must be there.")

# By file: (where, issue code, text) of what breaks R4.
BROKEN: Final = {
    "ActivityDefinition-blood-tubes-supply.json": {("ActivityDefinition.text.div", *TXT_2)},
    "ActivityDefinition-heart-valve-replacement.json": {("ActivityDefinition.text.div", *TXT_2)},
    "EventDefinition-example.json": {("EventDefinition.text.div", *TXT_2)},
    "Questionnaire-zika-virus-exposure-assessment.json": {("Questionnaire.text.div", *TXT_2)},
    # 32 of its items have no linkId, which is 1..1.
    "Questionnaire-qs1.json": {("linkId", *REQUIRED)},
    # Two copies of the specification's own guide, without name and status, both 1..1.
    "ImplementationGuide-fhir.json": {
        ("ImplementationGuide.name", *REQUIRED),
        ("ImplementationGuide.status", *REQUIRED),
    },
    "ig-r4.json": {
        ("ImplementationGuide.name", *REQUIRED),
        ("ImplementationGuide.status", *REQUIRED),
    },
}


# What `$validate` says beyond what a write refuses: by file, the element that points to another type than R4 allows.
MISDIRECTED: Final = {
    "DeviceMetric-example.json": "DeviceMetric.parent",
    "DeviceUseStatement-example.json": "DeviceUseStatement.reasonReference[0]",
    "MedicationRequest-medrx0301.json": "MedicationRequest.dispenseRequest.performer",
    "Observation-clinical-gender.json": "Observation.performer[0]",
}


def test_there_are_702_examples() -> None:
    assert len(examples.bodies()) == 702


@pytest.mark.parametrize("file", sorted(examples.bodies()))
def test_an_example_holds_unless_it_breaks_r4(file: str) -> None:
    found = {(issue.expression, issue.code, issue.text) for issue in validate(examples.resource(file))}
    if file == "Questionnaire-qs1.json":
        found = {(where.rpartition(".")[2], code, text) for where, code, text in found}
    assert found == BROKEN.get(file, set())


@pytest.mark.parametrize("file", sorted(examples.bodies()))
def test_an_example_is_written_as_it_was_read(file: str) -> None:
    body = examples.bodies()[file]
    assert gate.write(gate.parse(body)) == body


def test_no_example_points_to_a_wrong_type_but_those_listed() -> None:
    found = {
        file: issue.expression
        for file in examples.bodies()
        for issue in advice(examples.resource(file))
        if issue.severity == "error"
    }
    assert found == MISDIRECTED
