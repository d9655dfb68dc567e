"""Every message is stored, applied once, answered; on the real core over a store in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, cast

import pytest

from adapters.hl7.arrival import Channel
from adapters.hl7.authorities import Authorities, system_of
from adapters.hl7.inbox import KIND, Answer, Inbox, raw_of
from fhir_server import gate
from fhir_server.app import opened
from fhir_server.errors import NotFound, Unavailable
from fhir_server.interface import Asking, Core
from fhir_server.model import Entry, Record, Resource
from fhir_server.settings import Settings
from tests.hl7_messages import CHANNEL, adt, message, obx, oru, pid, pv1, segment

LATER = "20261120100000"


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with AsyncExitStack() as stack:
        composed = await stack.enter_async_context(opened(Settings(store="memory:", rooms=())))
        yield cast(Core, composed.hub)


async def send(core: Core, *texts: str, inbox: Inbox | None = None, channel: Channel = CHANNEL) -> list[Answer]:
    """Send messages one after the other, each once the one before is applied."""
    box = inbox or Inbox(core)
    answers = []
    for text in texts:
        answers.append(await box.receive(channel, text.encode()))
        await box.drained()
    return answers


async def find(core: Core, query: str) -> list[Resource]:
    async def work(asking: Asking) -> list[Resource]:
        return await asking.find(query)

    found: list[Resource] = await core.ask("default", work)
    return found


async def log(core: Core) -> list[dict[str, Any]]:
    """Return the stored messages: their record's body and state."""

    async def work(asking: Asking) -> list[Record]:
        return await asking.records(KIND)

    return [{**gate.load(row.body), "state": row.state, "key": row.key} for row in await core.ask("default", work)]


def codes(answers: list[Answer]) -> list[str]:
    return [answer.code for answer in answers]


async def test_an_admission_and_its_results_are_stored_and_applied(core: Core) -> None:
    answers = await send(core, adt(control="C1"), oru(obx(), obx("718-7^Hb^LN", "12.40", "g/dL"), control="C2"))
    assert codes(answers) == ["AA", "AA"]
    (patient,), (stay,) = await find(core, "Patient"), await find(core, "Encounter")
    subject = {"reference": f"Patient/{patient['id']}"}
    assert (stay["subject"], stay["status"], stay["class"]["code"]) == (subject, "in-progress", "IMP")
    assert {o["subject"]["reference"] for o in await find(core, "Observation")} == {subject["reference"]}
    (report,) = await find(core, "DiagnosticReport")
    assert (report["subject"], len(report["result"])) == (subject, 2)
    first, second = await log(core)
    assert (first["state"], first["type"], first["code"]) == ("applied", "ADT^A01", "AA")
    assert sorted(second["resources"]) == sorted(
        [f"Observation/{o['id']}" for o in await find(core, "Observation")] + [f"DiagnosticReport/{report['id']}"]
    )
    assert raw_of(first) == adt(control="C1").encode()


async def test_a_known_message_is_answered_as_the_first_time_and_applied_once(core: Core) -> None:
    first, second = await send(core, oru(), oru())
    assert second.texts == first.texts
    assert {v["meta"]["versionId"] for v in await find(core, "Observation")} == {"1"}
    assert len(await log(core)) == 1


async def test_another_message_with_a_known_control_id_is_refused_and_kept(core: Core) -> None:
    answers = await send(core, oru(), oru(obx(value="99")))
    assert codes(answers) == ["AA", "AE"]
    assert "205^" in answers[1].texts[0]
    assert [o["valueQuantity"]["value"] for o in await find(core, "Observation")] == [88]
    assert [(row["state"], row.get("error", {}).get("code")) for row in await log(core)] == [
        ("applied", None),
        ("quarantined", "205"),
    ]


async def test_the_same_result_in_another_message_makes_no_new_version(core: Core) -> None:
    await send(core, oru(control="C1"), oru(control="C2"))
    for type in ("Observation", "DiagnosticReport", "Patient"):
        assert [r["meta"]["versionId"] for r in await find(core, type)] == ["1"]


async def test_results_of_an_unknown_patient_make_the_patient_from_what_they_say(core: Core) -> None:
    await send(core, oru())
    (patient,) = await find(core, "Patient?identifier=P1")
    assert (patient["name"][0]["family"], patient["birthDate"]) == ("DUPOND", "1951-04-23")


async def test_results_do_not_change_who_the_patient_is_but_tell(core: Core) -> None:
    await send(core, adt(), oru(person=pid(name="DUPONT^Amelie")))
    (patient,) = await find(core, "Patient")
    assert patient["name"][0]["family"] == "DUPOND"
    issues = [(i["path"], i["rule"]) for i in (await log(core))[1]["issues"]]
    assert ("PID[1]-5", "identity-differs") in issues


async def test_an_update_changes_what_it_says_and_nothing_else(core: Core) -> None:
    await send(core, adt("A01", "C1"), adt("A08", "C2", LATER, person=pid(name="NOUVEAU^Amélie", f8="", f7='""')))
    (patient,) = await find(core, "Patient")
    assert (patient["name"][0]["family"], patient["gender"], "birthDate" in patient) == ("NOUVEAU", "female", False)


async def test_an_older_update_that_comes_late_does_not_undo_a_newer_one(core: Core) -> None:
    answers = await send(
        core,
        adt("A01", "C1"),
        adt("A08", "C2", "20261120120000", person=pid(name="NOUVEAU^A")),
        adt("A08", "C3", "20261120100000", person=pid(name="ANCIEN^A")),
    )
    assert codes(answers) == ["AA", "AA", "AA"]
    assert (await find(core, "Patient"))[0]["name"][0]["family"] == "NOUVEAU"
    last = (await log(core))[2]
    assert (last["state"], {i["rule"] for i in last["issues"]} >= {"older-than-stored"}) == ("superseded", True)


async def test_a_discharge_ends_the_stay_and_an_update_leaves_it_ended(core: Core) -> None:
    await send(core, adt("A01", "C1"), adt("A03", "C2", "20261121100000"), adt("A08", "C3", "20261121110000"))
    (stay,) = await find(core, "Encounter")
    assert (stay["status"], stay["period"]) == (
        "finished",
        {"start": "2026-11-20T08:30:00+01:00", "end": "2026-11-21T10:00:00+01:00"},
    )


async def test_results_are_linked_to_the_stay_that_they_name(core: Core) -> None:
    stay = message("MSH|^~\\&|DPI|CHU TEST|||20261120||ORU^R01|C2|P|2.5", pid(), pv1("V1"), "OBR|1||L", obx())
    await send(core, adt(), stay, stay.replace("|C2|", "|C3|").replace("|V1|", "|V9|").replace("OBR|1||L", "OBR|1||M"))
    (encounter,) = await find(core, "Encounter")
    linked = [o.get("encounter", {}).get("reference") for o in await find(core, "Observation?_sort=_lastUpdated")]
    assert linked == [f"Encounter/{encounter['id']}", None]
    assert "visit-unknown" in [i["rule"] for i in (await log(core))[2]["issues"]]


async def test_a_stay_of_another_patient_is_not_taken_over(core: Core) -> None:
    told = replace(CHANNEL, ack_when="applied")
    answers = await send(core, adt(control="C1"), adt(control="C2", person=pid(id="P2^^^CHU")), channel=told)
    assert codes(answers) == ["AA", "AE"]
    assert "204^" in answers[1].texts[0]
    assert len(await find(core, "Patient")) == 1, "nothing of a refused message is applied"
    assert [row["state"] for row in await log(core)] == ["applied", "quarantined"]


async def test_an_identifier_that_two_patients_have_is_kept_aside(core: Core) -> None:
    identifier = [{"system": "urn:oid:1.2.250.1.999.1", "value": "P1"}]
    actor = core.internal("default", "test")
    for _ in range(2):
        await core.submit(
            [Entry("POST", "Patient", {"resourceType": "Patient", "identifier": identifier})], actor=actor
        )
    stored = await send(core, oru())
    assert codes(stored) == ["AA"]
    (row,) = await log(core)
    assert (row["state"], row["error"]["code"]) == ("quarantined", "207")
    assert await find(core, "Observation") == []


async def test_a_sender_can_be_told_that_applying_failed(core: Core) -> None:
    identifier = [{"system": "urn:oid:1.2.250.1.999.1", "value": "P1"}]
    actor = core.internal("default", "test")
    for _ in range(2):
        await core.submit(
            [Entry("POST", "Patient", {"resourceType": "Patient", "identifier": identifier})], actor=actor
        )
    assert codes(await send(core, oru(), channel=replace(CHANNEL, ack_when="applied"))) == ["AE"]


async def test_what_failed_on_our_side_is_tried_again_when_it_comes_again(core: Core) -> None:
    identifier = [{"system": "urn:oid:1.2.250.1.999.1", "value": "P1"}]
    actor = core.internal("default", "test")
    body = {"resourceType": "Patient", "identifier": identifier}
    made = [(await core.submit([Entry("POST", "Patient", body)], actor=actor))[0] for _ in range(2)]
    await send(core, oru())
    assert made[1].version is not None
    await core.submit([Entry("DELETE", made[1].version.reference)], actor=actor)
    await send(core, oru())
    (row,) = await log(core)
    assert (row["state"], row["attempts"], len(await find(core, "Observation"))) == ("applied", 2, 1)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("hello", "AR", id="no message"),
        pytest.param("MSH|^~\\&|A", "AE", id="a header's beginning"),
        pytest.param("PID|1||x", "AR", id="a segment without header"),
        pytest.param(adt().replace("ADT^A01^ADT_A01", "ZZZ^Z99"), "AR", id="an unknown type"),
        pytest.param(adt(person=pid(id="")), "AE", id="a patient without identifier"),
    ],
)
async def test_what_is_refused_is_kept_with_its_reason(core: Core, text: str, code: str) -> None:
    assert codes(await send(core, text, text)) == [code, code]
    (row,) = await log(core)
    assert (row["state"], raw_of(row)) == ("quarantined", text.encode())
    assert row["error"]["path"]
    assert await find(core, "Patient") == []


async def test_an_acknowledgement_is_not_answered(core: Core) -> None:
    (answer,) = await send(core, "MSH|^~\\&|A|B|C|D|2026||ACK^A01^ACK|1|P|2.5\rMSA|AA|C1\r")
    assert (answer.frames, await log(core)) == ([], [])


async def test_enhanced_mode_is_answered_twice(core: Core) -> None:
    text = oru().replace("|P|2.5|||||FRA", "|P|2.5|||AL|AL|FRA")
    (answer,) = await send(core, text)
    assert [t.split("\r")[1] for t in answer.texts] == ["MSA|CA|C2", "MSA|AA|C2"]


async def test_an_answer_is_written_in_the_character_set_of_the_message(core: Core) -> None:
    text = adt().replace("UNICODE UTF-8", "8859/1").replace("HUB", "RÉGION")
    inbox = Inbox(core)
    answer = await inbox.receive(CHANNEL, text.encode("latin-1"))
    await inbox.drained()
    assert "RÉGION".encode("latin-1") in answer.frames[0]
    assert (await find(core, "Patient"))[0]["name"][0]["given"] == ["Amélie"]


async def test_a_message_in_bytes_that_are_no_text_is_kept_as_it_came(core: Core) -> None:
    raw = adt().encode().replace("Amélie".encode(), b"Am\xe9lie")
    answer = await Inbox(core).receive(CHANNEL, raw)
    assert answer.code == "AE"
    assert raw_of((await log(core))[0]) == raw


async def test_one_patient_s_messages_are_applied_in_the_order_they_came(core: Core) -> None:
    inbox = Inbox(core)
    names = [f"N{n}^A" for n in range(30)]
    tasks = [
        inbox.receive(CHANNEL, adt("A08", f"C{n}", person=pid(name=name)).encode()) for n, name in enumerate(names)
    ]
    assert {answer.code for answer in await asyncio.gather(*tasks)} == {"AA"}
    await inbox.drained()
    (patient,) = await find(core, "Patient")
    assert (patient["name"][0]["family"], patient["meta"]["versionId"]) == ("N29", "30")


async def test_where_the_store_does_not_answer_nothing_is_accepted(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    async def transact(*_: Any) -> Any:
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(core, "transact", transact)
    (answer,) = await send(core, oru())
    assert (answer.code, answer.state) == ("AR", "")
    assert "207^" in answer.texts[0]


async def test_a_fault_in_a_map_ends_no_connection_and_shows_no_value(
    core: Core, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> Any:
        raise KeyError("MARKEDNAME")

    monkeypatch.setattr("adapters.hl7.effect.plan", broken)
    with caplog.at_level(logging.DEBUG):
        (answer,) = await send(core, oru(person=pid(name="MARKEDNAME^X")))
    assert (answer.code, [row["state"] for row in await log(core)]) == ("AA", ["quarantined"])
    assert "KeyError" in caplog.text
    assert "MARKEDNAME" not in caplog.text


async def test_no_value_of_a_message_reaches_log_or_answer(core: Core, caplog: pytest.LogCaptureFixture) -> None:
    marked = pid(id="MARKEDID^^^MARKEDNS", name="MARKEDNAME^X", f7="MARKEDDATE", f8="MARKEDSEX")
    texts = [
        adt(control="C1", person=marked),
        adt(control="C2", person=pid(id="", name="MARKEDNAME^X")),
        oru(obx(value="MARKEDVALUE", f14="MARKEDTIME"), control="C3", person=marked),
        adt(control="C4", person=marked).replace("ADT^A01", "MARKEDTYPE^A01"),
        "MARKEDNAME",
    ]
    with caplog.at_level(logging.DEBUG):
        answers = await send(core, *texts)
    assert "MARKED" not in caplog.text
    assert "MARKED" not in "".join(
        line for a in answers for t in a.texts for line in t.split("\r") if not line.startswith("MSH")
    )


async def test_a_stored_message_is_applied_again_on_demand(core: Core) -> None:
    inbox = Inbox(core)
    await send(core, oru(), inbox=inbox)
    answer = await inbox.replay(CHANNEL, "mllp|DPI|CHU TEST|C2")
    (row,) = await log(core)
    assert (answer.code, answer.state, row["attempts"]) == ("AA", "applied", 2)
    assert [o["meta"]["versionId"] for o in await find(core, "Observation")] == ["1"]
    with pytest.raises(NotFound):
        await inbox.replay(CHANNEL, "mllp|DPI|CHU TEST|C9")


async def test_names_of_authorities_come_from_naming_systems(core: Core) -> None:
    authorities = Authorities(core)
    assert dict(await authorities.of("default")) == {}
    naming = {
        "resourceType": "NamingSystem", "name": "LABO", "status": "active", "kind": "identifier", "date": "2026-11-20",
        "uniqueId": [{"type": "oid", "value": "1.2.250.1.999.7"}],
    }  # fmt: skip
    await core.submit([Entry("POST", "NamingSystem", naming)], actor=core.internal("default", "test"))
    await authorities.changed("default", ())
    known = authorities.known("default")
    channel = Channel("mllp", "default", CHANNEL.zone, known)
    await send(core, oru(person=pid(id="7^^^LABO")), channel=channel)
    (patient,) = await find(core, "Patient")
    assert patient["identifier"][0]["system"] == "urn:oid:1.2.250.1.999.7"


@pytest.mark.parametrize(
    ("ids", "system"),
    [
        pytest.param([{"type": "oid", "value": "1.2.3"}], "urn:oid:1.2.3", id="an OID"),
        pytest.param([{"type": "uri", "value": "https://x"}], "https://x", id="a URI"),
        pytest.param(
            [{"type": "oid", "value": "1.2"}, {"type": "uri", "value": "u", "preferred": True}], "u", id="preferred"
        ),
        pytest.param([{"type": "oid", "value": "1.2"}, {"type": "uri", "value": "u"}], "", id="two, none preferred"),
        pytest.param([{"type": "other", "value": "x"}], "", id="no system"),
    ],
)
def test_the_system_of_a_naming_system(ids: list[dict[str, Any]], system: str) -> None:
    assert system_of({"uniqueId": ids}) == system


async def test_a_result_replaced_by_a_correction_is_a_new_version(core: Core) -> None:
    order = segment("OBR", f3="L1", f4="X^Y^L", f25="F")
    await send(core, oru(control="C1", order=order), oru(obx(value="90", f11="C"), control="C2", order=order))
    (made,) = await find(core, "Observation")
    assert (made["status"], int(made["valueQuantity"]["value"]), made["meta"]["versionId"]) == ("corrected", 90, "2")
