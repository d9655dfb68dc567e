"""What French senders tell of a document in rows of its own is of the document, and neither content nor a result."""

from __future__ import annotations

from base64 import b64encode

import pytest

from fhir_server.interface import Core
from tests.hl7_messages import header, message, obx, pid, rules, segment
from tests.hl7_orders import txa
from tests.unit.test_hl7_inbox import core, find, log, send

__all__ = ["core"]

MASKING = "urn:oid:1.2.250.1.213.1.1.4.13"
CDA = "^TEXT^XML^Base64^" + b64encode(b'<?xml version="1.0"?><ClinicalDocument/>').decode()
DOCUMENT = obx("11488-4^CR^LN", CDA, "", "ED", f14="")


def told(code: str, answer: str) -> str:
    return obx(f"{code}^words^MetaDMPMSS", f"{answer}^^expandedYes-NoIndicator", "", "CE", f14="")


def mdm(when: str, *rows: str, **more: str) -> str:
    """Return a document of that minute."""
    text = txa("T02", DOCUMENT, *rows, **more).replace("20261120083000", f"202611200830{when}")
    return text.replace("|D1|P|", f"|D{when}|P|")


def oru(*rows: str, document: str = DOCUMENT) -> str:
    about = segment("OBR", f1="1", f3="L1", f4="11502-2^CR^LN", f7="20261120080000", f25="F")
    return message(header("ORU^R01^ORU_R01", "R1"), pid(), about, document, *rows)


async def test_what_masks_a_document_is_a_label_and_the_rest_an_extension(core: Core) -> None:
    await send(core, mdm("00", told("MASQUE_PS", "Y"), told("INVISIBLE_PATIENT", "N"), told("DESTDMP", "Y"), f18="U"))
    (found,) = await find(core, "DocumentReference")
    assert [label["coding"][0]["code"] for label in found["securityLabel"]] == ["U", "MASQUE_PS"]
    assert found["securityLabel"][1]["coding"][0]["system"] == MASKING
    assert len(found["content"]) == 1
    (beside,) = found["extension"]
    assert [part["valueString"] for part in beside["extension"]] == ["DESTDMP", "Y"]
    (entry,) = await log(core)
    assert "OBX" not in entry["unused"] and entry["state"] == "applied"


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        pytest.param("N", None, id="no longer masked"),
        pytest.param("Y", ["MASQUE_PS"], id="still masked"),
        pytest.param("PEUT-ETRE", ["MASQUE_PS"], id="an answer that is not known masks"),
    ],
)
async def test_a_later_message_says_whether_a_document_is_masked(
    core: Core, answer: str, labels: list[str] | None
) -> None:
    await send(core, mdm("00", told("MASQUE_PS", "Y")), mdm("10", told("MASQUE_PS", answer)))
    (found,) = await find(core, "DocumentReference")
    kept = [label["coding"][0]["code"] for label in found.get("securityLabel", ())]
    assert kept == (labels or []) and ("securityLabel" in found) is bool(labels)


async def test_a_message_that_says_nothing_of_masking_leaves_it(core: Core) -> None:
    await send(core, mdm("00", told("MASQUE_PS", "Y")), mdm("10"))
    assert "MASQUE_PS" in str((await find(core, "DocumentReference"))[0]["securityLabel"])


async def test_with_results_it_is_of_the_report_and_of_its_document(core: Core) -> None:
    large = obx(
        "11488-4^CR^LN", "^AP^PDF^Base64^" + b64encode(b"%PDF-1.4\n" + b"x" * 300_000).decode(), "", "ED", f14=""
    )
    await send(core, oru(told("MASQUE_PS", "Y"), told("DESTDMP", "Y"), document=large))
    (report,), (document,) = await find(core, "DiagnosticReport"), await find(core, "DocumentReference")
    assert report["meta"]["security"] == [{"system": MASKING, "code": "MASQUE_PS"}]
    assert document["securityLabel"] == [{"coding": [{"system": MASKING, "code": "MASQUE_PS"}]}]
    assert "DESTDMP" in str(report["extension"]) and await find(core, "Observation") == []


def test_an_answer_that_is_not_known_is_told() -> None:
    assert rules(oru(told("MASQUE_PS", "?")))["code-not-mapped"] == "OBX[2]-5"


async def test_the_same_document_again_changes_no_version(core: Core) -> None:
    first = oru(told("MASQUE_PS", "Y"), told("DESTDMP", "Y"))
    await send(core, first, first.replace("|R1|P|", "|R2|P|"))
    assert [one["meta"]["versionId"] for one in await find(core, "DiagnosticReport")] == ["1"]
    masked = mdm("00", told("MASQUE_PS", "Y"), told("INVISIBLE_PATIENT", "N"))
    await send(core, masked, masked.replace("|D00|P|", "|D01|P|"))
    assert [one["meta"]["versionId"] for one in await find(core, "DocumentReference")] == ["1"]
