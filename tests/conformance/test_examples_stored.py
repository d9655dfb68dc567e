"""Every example of the specification is accepted, stored and read back equal, decimals to the digit."""

from __future__ import annotations

from pathlib import Path

import httpx

from conformance.examples import read_lines, run
from tests.running import PATIENCE_S, RunningHub

EXAMPLES = Path(__file__).resolve().parents[1] / "data" / "examples.jsonl.xz"
COUNT = 702

# Examples that break R4 itself, with the rule they break.
BREAK_R4 = {
    "Questionnaire/qs1": "Questionnaire.item.linkId is 1..1 and missing",
    "ActivityDefinition/blood-tubes-supply": "txt-2: the narrative has no content",
    "ActivityDefinition/heart-valve-replacement": "txt-2: the narrative has no content",
    "EventDefinition/example": "txt-2: the narrative has no content",
    "ImplementationGuide/fhir": "ImplementationGuide.name and .status are 1..1 and missing (two files of that id)",
    "Questionnaire/zika-virus-exposure-assessment": "txt-2: the narrative has no content",
}


def test_examples_come_back_equal(own_hub: RunningHub) -> None:
    headers = {"Authorization": f"Bearer {own_hub.operator}"}
    with httpx.Client(
        base_url=f"{own_hub.http.base_url}/fhir/", headers=headers, timeout=PATIENCE_S, trust_env=False
    ) as client:
        report = run(client, read_lines(EXAMPLES))
    assert report.different == {}
    assert set(report.refused) == set(BREAK_R4), report.refused
    assert report.equal == COUNT - len(BREAK_R4) - 1
