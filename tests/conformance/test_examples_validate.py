"""Every example of R4 holds, but for those that break R4 itself."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from fhir_server import gate
from fhir_server.app import opened
from fhir_server.interface import OperationCall
from fhir_server.settings import Settings
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


async def _answers() -> dict[str, set[tuple[str, str]]]:
    """Return the errors that `$validate` finds in each example, asked as HTTP asks it."""
    found = {}
    async with opened(Settings(store="memory:", rooms=())) as composed:
        run = next(o.run for o in composed.hub.operations if o.name == "validate" and o.type == "" and not o.instance)
        actor = composed.hub.internal("default", "test")
        for file, body in examples.bodies().items():
            answer = await run(OperationCall(actor, "", "", "POST", {}, None, "", "fr", body))
            assert answer.resource is not None
            errors = [issue for issue in answer.resource["issue"] if issue["severity"] in ("error", "fatal")]
            if errors:
                found[file] = {(issue["expression"][0], issue["code"]) for issue in errors}
    return found


def test_validate_as_an_operation_finds_no_error_but_those_listed() -> None:
    found = asyncio.run(_answers())
    items = found.pop("Questionnaire-qs1.json")
    assert {where.rpartition(".")[2] for where, _ in items} == {"linkId"}
    listed = {file: {issue[:2] for issue in issues} for file, issues in BROKEN.items() if "qs1" not in file}
    assert found == listed | {file: {(where, "value")} for file, where in MISDIRECTED.items()}
