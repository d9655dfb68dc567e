"""What came late, or goes back: specimens, documents and answers that stand beside a result or an order."""

from __future__ import annotations

from base64 import b64encode

import pytest

from fhir_server.interface import Core
from tests.hl7_messages import WHEN, header, message, obx, pid, segment
from tests.hl7_orders import obr, orc, order, rxa, sch, txa
from tests.unit.test_hl7_inbox import core, find, log, send

__all__ = ["core"]

NEWER, OLDER, NEWEST = "20261120090000", "20261120070000", "20261120100000"


def sent(text: str, when: str) -> str:
    """Return a message as one of that time: its control id, MSH-7 and EVN-2."""
    start, _, rest = text.partition("\r")
    fields = start.split("|")
    fields[6], fields[9] = when, when
    return "|".join(fields) + "\r" + rest.replace(f"EVN|T02|{WHEN}", f"EVN|T02|{when}")


def specimen(kind: str, note: str) -> str:
    return segment("SPM", f1="1", f2="S1&DPI^S2&LAB", f4=f"{kind}^^HL70487", f14=note)


def result(when: str, *rows: str, status: str = "F", number: str = "L1") -> str:
    about = segment("OBR", f1="1", f3=number, f4="GLU^Glucose^L", f7="20261120060000", f25=status)
    return message(header("ORU^R01^ORU_R01", when, when), pid(), about, *rows)


def pdf(text: str, status: str = "F") -> str:
    """Return a document that is stored apart for its size."""
    data = b64encode(b"%PDF-1.4\n" + text.encode() * 200_000).decode()
    return obx("18842-5^Report^LN", f"^AP^PDF^Base64^{data}", "", "ED", f11=status, f14="")


async def kept(core: Core, type: str) -> str:
    """Return what a type's one resource holds of a message's marks."""
    (found,) = await find(core, type)
    return str(found)


@pytest.mark.parametrize(
    ("newer", "older", "type"),
    [
        pytest.param(
            result(NEWER, obx(), specimen("SER", "new")), result(OLDER, obx(), specimen("UR", "old")), "Specimen",
            id="the specimen of a result",
        ),
        pytest.param(
            sent(order(orc(), obr(), specimen("SER", "new"), kind="OML^O21^OML_O21"), NEWER),
            sent(order(orc(), obr(), specimen("UR", "old"), kind="OML^O21^OML_O21"), OLDER), "Specimen",
            id="the specimen of an order",
        ),
        pytest.param(
            sent(order(orc(), obr(), obx("X^X^L", "new", "", "ST", f14="")), NEWER),
            sent(order(orc(), obr(), obx("X^X^L", "old", "", "ST", f14="")), OLDER), "Observation",
            id="what is told with an order",
        ),
        pytest.param(
            sent(rxa(obx("X^X^L", "new", "", "ST", f14="")), NEWER),
            sent(rxa(obx("X^X^L", "old", "", "ST", f14="")), OLDER), "Observation",
            id="what is told with a vaccination",
        ),
    ],
)  # fmt: skip
async def test_an_older_message_does_not_change(core: Core, newer: str, older: str, type: str) -> None:
    await send(core, newer)
    before = await kept(core, type)
    await send(core, older)
    assert await kept(core, type) == before and "new" in before
    assert {issue["rule"] for issue in (await log(core))[-1]["issues"]} >= {"older-than-stored"}


async def test_a_late_message_whose_specimen_alone_is_told_again_is_superseded(core: Core) -> None:
    await send(core, result(NEWER, obx(), specimen("SER", "new")), result(OLDER, obx(), specimen("UR", "old")))
    assert [one["state"] for one in await log(core)] == ["applied", "superseded"]


async def data(core: Core) -> str:
    """Return the data of the one Binary."""
    (found,) = await find(core, "Binary")
    return str(found["data"])


@pytest.mark.parametrize(
    ("first", "late"),
    [
        pytest.param(result(NEWER, pdf("N")), result(OLDER, pdf("O")), id="of a result, sent before"),
        pytest.param(
            result(NEWER, pdf("N")),
            result(NEWEST, pdf("O", "P"), status="P"),
            id="of a result, preliminary after final",
        ),
        pytest.param(sent(txa("T02", pdf("N")), NEWER), sent(txa("T02", pdf("O")), OLDER), id="of an MDM, sent before"),
    ],
)
async def test_a_document_that_is_stored_apart_keeps_its_data_beside_an_older_one(
    core: Core, first: str, late: str
) -> None:
    await send(core, first)
    before = await data(core)
    await send(core, late)
    assert await data(core) == before
    (document,) = await find(core, "DocumentReference")
    assert document.get("docStatus", "final") == "final"


async def test_a_final_document_replaces_the_data_of_a_preliminary_one(core: Core) -> None:
    await send(core, result(OLDER, pdf("O", "P"), status="P"))
    before = await data(core)
    await send(core, result(NEWER, pdf("N")))
    assert await data(core) != before


async def test_a_document_that_was_withdrawn_before_it_came_does_not_stand(core: Core) -> None:
    gone = obx("18842-5^Report^LN", "", "", "ED", f11="W", f14="")
    await send(core, result(NEWER, gone), result(OLDER, pdf("O")))
    assert [one["status"] for one in await find(core, "DocumentReference")] in ([], ["entered-in-error"])
    (report,) = await find(core, "DiagnosticReport")
    assert [one.keys() for one in report["presentedForm"]] == [{"title"}]


def booked(event: str, when: str, day: int, who: str = "P1", **numbers: str) -> str:
    """Return a message of an appointment on a day of December that is known by these numbers alone."""
    text = sch(event, f11=f"^^^202612{day:02}090000", **{"f1": "", "f2": "", **numbers})
    return sent(text.replace("|P1^^^CHU", f"|{who}^^^CHU"), when)


BOTH, PLACER, FILLER = {"f1": "P1^DPI", "f2": "F1^RDV"}, {"f1": "P1^DPI"}, {"f2": "F1^RDV"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(BOTH, PLACER, id="the one who asked cancels by its own number"),
        pytest.param(BOTH, FILLER, id="the one who gave it cancels by its own number"),
        pytest.param(PLACER, BOTH, id="it has got its second number since"),
        pytest.param(FILLER, BOTH, id="or the other one"),
    ],
)
async def test_an_appointment_is_found_by_either_of_its_numbers(
    core: Core, first: dict[str, str], second: dict[str, str]
) -> None:
    await send(core, booked("S12", OLDER, 1, **first), booked("S15", NEWER, 1, **second))
    assert [one["status"] for one in await find(core, "Appointment")] == ["cancelled"]
    await send(core, booked("S13", "20261120080000", 2, **first))
    assert [one["status"] for one in await find(core, "Appointment")] == ["cancelled"]


@pytest.mark.parametrize("numbers", [BOTH, PLACER, FILLER], ids=["both numbers", "one number", "the other"])
async def test_an_appointment_of_another_patient_with_that_number_is_another(
    core: Core, numbers: dict[str, str]
) -> None:
    await send(core, booked("S12", OLDER, 1, **PLACER), booked("S12", OLDER.replace("0700", "0701"), 3, **FILLER))
    await send(core, booked("S15", NEWER, 2, "P2", **numbers))
    found = {one["start"][:10]: one["status"] for one in await find(core, "Appointment")}
    assert found == {"2026-12-01": "booked", "2026-12-02": "cancelled", "2026-12-03": "booked"}


async def test_an_order_that_was_cancelled_by_its_number_alone_is_not_revived_by_an_older_message(core: Core) -> None:
    asked = order(orc(), obr())
    await send(core, sent(asked, OLDER), sent(order(orc("OC")), NEWER), sent(asked, "20261120080000"))
    (found,) = await find(core, "ServiceRequest")
    assert found["status"] == "revoked"


async def test_results_that_have_names_only_are_told_apart_by_them(core: Core) -> None:
    glucose, sodium = obx("^Glucose^L", "5.1", "mmol/L"), obx("^Sodium^L", "140", "mmol/L")
    await send(core, result(OLDER, glucose, sodium), result(NEWER, sodium.replace("|140|", "|141|")))
    found = {one["code"]["text"]: str(one["valueQuantity"]["value"]) for one in await find(core, "Observation")}
    assert found == {"Glucose": "5.1", "Sodium": "141"}


async def test_orders_of_one_number_that_have_names_only_are_told_apart_by_them(core: Core) -> None:
    one, other = (result(OLDER, obx()).replace("GLU^Glucose^L", f"^{name}^L") for name in ("Blood", "Urine"))
    await send(core, one, other.replace(f"|{OLDER}|P|", "|O2|P|"))
    assert {each["code"]["text"] for each in await find(core, "DiagnosticReport")} == {"Blood", "Urine"}


async def test_what_is_asked_for_under_one_number_by_names_only_is_told_apart_by_them(core: Core) -> None:
    one, other = (order(orc(), obr(code=f"^{name}^L")) for name in ("Blood", "Urine"))
    await send(core, one, sent(other, "20261120093000"))
    assert {each["code"]["text"] for each in await find(core, "ServiceRequest")} == {"Blood", "Urine"}
