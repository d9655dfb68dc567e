"""Messages to patients, stays, reports and results."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.hl7.convert import kind
from adapters.hl7.maps.pv1 import status, status_of_class
from adapters.hl7.tokens import tokenize
from fhir_server.validation import validate
from tests.hl7_messages import (
    CHANNEL,
    WHEN,
    adt,
    arrive,
    header,
    message,
    observations,
    obx,
    oru,
    patient,
    pid,
    pv1,
    rules,
    segment,
)

INS = "urn:oid:1.2.250.1.213.1.4.10"
INS_3 = "290016912345678^^^ASIP-SANTE-INS-NIR&1.2.250.1.213.1.4.10&ISO^INS"


def draft(text: str) -> Any:
    found = arrive(text)
    assert found.draft is not None, found.fault
    return found.draft


# --- which messages ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "code", "answer", "path"),
    [
        pytest.param("hello", "100", "AR", "MSH[1]", id="no message at all"),
        pytest.param("MSH|^~\\&|A", "101", "AE", "MSH[1]-9", id="no type"),
        pytest.param(adt().replace("ADT^A01^ADT_A01", "ZZZ^Z99"), "200", "AR", "MSH[1]-9", id="an unknown type"),
        pytest.param(adt("A99"), "201", "AR", "MSH[1]-9", id="an unknown event"),
        pytest.param(adt().replace("|2.5|", "|v2.5|"), "203", "AR", "MSH[1]-12", id="an unknown version"),
        pytest.param(adt(control=""), "101", "AE", "MSH[1]-10", id="no control id"),
        pytest.param(adt().replace("|P|2.5|", "|T|2.5|"), "202", "AR", "MSH[1]-11", id="a test message"),
        pytest.param(adt(person="PV2|"), "100", "AE", "PID[1]", id="an admission of nobody"),
        pytest.param(adt(person=pid() + "\r" + pid()), "100", "AE", "PID[1]", id="an admission of two"),
        pytest.param(adt(person=pid(id="")), "101", "AE", "PID[1]-3", id="a patient without identifier"),
        pytest.param(adt(person=pid(id='""')), "101", "AE", "PID[1]-3", id="a deleted identifier"),
        pytest.param(
            adt(person=pid(id=INS_3)), "101", "AE", "PID[1]-3", id="only a national number, and it is not qualified"
        ),
        pytest.param(message(header("ORU^R01"), obx()), "100", "AE", "PID[1]", id="results of nobody"),
        pytest.param(adt() + adt(), "100", "AE", "MSH[2]", id="two messages in one frame"),
        pytest.param(
            adt(person=pid(id="7")).replace("DPI|CHU TEST", "|"),
            "101",
            "AE",
            "PID[1]-3",
            id="a number of an unknown facility",
        ),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_place(text: str, code: str, answer: str, path: str) -> None:
    found = arrive(text)
    assert found.draft is None
    assert found.fault is not None
    assert (found.fault.code, found.fault.answer, found.fault.place.path) == (code, answer, path)


@pytest.mark.parametrize(
    ("nine", "twelve", "structure"),
    [
        pytest.param("ADT^A04", "2.5", "ADT_A01", id="a missing structure follows from the event"),
        pytest.param("ADT^A03^ADT_A01", "2.5", "ADT_A03", id="a wrong one too"),
        pytest.param("ORU^R01^ORU_R01", "2.5^FRA^2.11", "ORU_R01", id="the French version"),
    ],
)
def test_the_structure(nine: str, twelve: str, structure: str) -> None:
    assert kind(tokenize(message(header(nine, f12=twelve)))).structure == structure


def test_the_event_segment_tells_the_trigger_where_the_header_does_not() -> None:
    assert kind(tokenize(message(header("ADT"), "EVN|A08|2026"))).trigger == "A08"


def test_a_message_without_offset_is_read_in_the_header_s() -> None:
    text = message(header("ORU^R01", when="20261120083000-0400"), pid(), "OBR|1||L", obx(f14="202611200830"))
    assert observations(text)[0]["effectiveDateTime"] == "2026-11-20T08:30:00-04:00"


# --- patients --------------------------------------------------------------------------
def test_a_whole_patient() -> None:
    made = patient(
        adt(
            person=pid(
                PID + "~77^^^CHU",
                "DUPOND^Amélie^Rose^^Mme^^L~MARTIN^Amélie^^^^^D",
                f6="DURAND^Marie",
                f7="195104230815",
                f11="12 RUE DES LILAS&&12^BAT A^BOURGES^^18000^FRA^H~^^PARIS^^^FRA^BDL",
                f13="^PRN^PH^^^^^^^^^0248000000~^PRS^CP^^^^^^^^^0600000000~^NET^Internet^a@exemple.fr",
                f14="^WPN^PH^^33^2^48000001^12",
                f16="M",
                f24="Y",
                f29="20261119",
                f30="Y",
            )
        )
    )
    assert [(i["system"], i["value"]) for i in made["identifier"]] == [
        ("urn:oid:1.2.250.1.999.1", "P1"),
        ("urn:oid:1.2.250.1.999.1", "77"),
    ]
    assert made["name"] == [
        {"use": "official", "family": "DUPOND", "given": ["Amélie", "Rose"], "prefix": ["Mme"]},
        {"use": "usual", "family": "MARTIN", "given": ["Amélie"]},
    ]
    assert (made["gender"], made["birthDate"]) == ("female", "1951-04-23")
    assert made["_birthDate"]["extension"][0]["valueDateTime"] == "1951-04-23T08:15:00+01:00"
    assert made["address"] == [
        {
            "use": "home",
            "line": ["12 RUE DES LILAS", "12", "BAT A"],
            "city": "BOURGES",
            "postalCode": "18000",
            "country": "FRA",
        }
    ]
    assert [(t["system"], t["value"], t["use"]) for t in made["telecom"]] == [
        ("phone", "0248000000", "home"),
        ("phone", "0600000000", "mobile"),
        ("email", "a@exemple.fr", "home"),
        ("phone", "+33 2 48000001 X12", "work"),
    ]
    assert made["maritalStatus"]["coding"][0]["code"] == "M"
    assert (made["multipleBirthBoolean"], made["deceasedDateTime"]) == (True, "2026-11-19")
    extensions = {e["url"].rpartition("/")[2]: e for e in made["extension"]}
    assert extensions["patient-mothersMaidenName"]["valueString"] == "Marie DURAND"
    assert extensions["patient-birthPlace"]["valueAddress"] == {"city": "PARIS", "country": "FRA"}
    assert [i for i in validate(made) if i.severity in ("error", "fatal")] == []


PID = "P1^^^CHU&1.2.250.1.999.1&ISO^PI"


@pytest.mark.parametrize(
    ("cx", "system"),
    [
        pytest.param("1^^^CHU&1.2.3.4&ISO", "urn:oid:1.2.3.4", id="an OID"),
        pytest.param("1^^^X&6ba7b810-9dad-11d1-80b4-00c04fd430c8&UUID", "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8", id="a UUID"),
        pytest.param("1^^^X&https://exemple.fr/ipp&URI", "https://exemple.fr/ipp", id="a URI"),
        pytest.param("1^^^X&exemple.fr&DNS", "urn:dns:exemple.fr", id="a DNS name"),
        pytest.param("1^^^CHU", "urn:oid:1.2.250.1.999.1", id="a name that the hub knows"),
        pytest.param("1^^^LABO 2", "urn:predmp:facility:CHU-TEST:LABO-2", id="a name that it does not know"),
        pytest.param("1^^^X&not.an.oid&ISO", "urn:predmp:facility:CHU-TEST:X", id="a universal id that is none"),
        pytest.param("1", "urn:predmp:facility:CHU-TEST", id="no authority"),
    ],
)  # fmt: skip
def test_the_system_of_an_identifier(cx: str, system: str) -> None:
    assert patient(adt(person=pid(id=cx)))["identifier"][0]["system"] == system


@pytest.mark.parametrize(
    ("reliability", "key", "systems"),
    [
        pytest.param(
            "VALI", (INS, "290016912345678"), [INS, "urn:oid:1.2.250.1.999.1"], id="validated: it tells who it is"
        ),
        pytest.param(
            "", ("urn:oid:1.2.250.1.999.1", "P1"), [INS, "urn:oid:1.2.250.1.999.1"], id="not said: it is kept, no more"
        ),
        pytest.param(
            "VALI~DOUT", ("urn:oid:1.2.250.1.999.1", "P1"), ["urn:oid:1.2.250.1.999.1"], id="doubted: it is not taken"
        ),
    ],
)
def test_a_national_number_counts_as_much_as_the_identity_is_reliable(
    reliability: str, key: tuple[str, str], systems: list[str]
) -> None:
    text = adt(person=pid(id=f"{INS_3}~{PID}", f32=reliability))
    assert draft(text).people[0].key == key
    assert [i["system"] for i in patient(text)["identifier"]] == systems


def test_unused_segments_and_fields_are_listed_and_local_segments_too() -> None:
    found = arrive(adt(person=pid(f10="X", f22="Y")) + "ZZZ|1|secret\rDB1|1|PT\r")
    assert found.unused == ("PID-10", "PID-22", "ZZZ", "DB1")
    assert ("ZZZ[1]", "segment-local") in [(p.path, p.rule) for p in found.problems]


# --- stays -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("trigger", "cls", "ended", "expected"),
    [
        pytest.param("A01", "I", False, "in-progress", id="admitted"),
        pytest.param("A04", "O", False, "in-progress", id="registered"),
        pytest.param("A04", "P", False, "planned", id="registered beforehand"),
        pytest.param("A03", "I", False, "finished", id="discharged"),
        pytest.param("A08", "I", False, "", id="an update says nothing of the status"),
        pytest.param("A08", "I", True, "finished", id="an update that says when it ended"),
        pytest.param("A11", "I", True, "cancelled", id="a cancelled admission, whatever it says of an end"),
        pytest.param("A13", "I", True, "in-progress", id="a cancelled discharge, though it repeats the end"),
        pytest.param("A05", "I", False, "planned", id="pre-admitted"),
        pytest.param("A14", "I", False, "planned", id="expected"),
        pytest.param("A21", "I", False, "onleave", id="on leave"),
        pytest.param("A22", "I", False, "in-progress", id="back from leave"),
        pytest.param("A23", "I", False, "entered-in-error", id="a deleted visit"),
        pytest.param("A27", "I", False, "cancelled", id="a cancelled expected admission"),
        pytest.param("A38", "I", False, "cancelled", id="a cancelled pre-admission"),
        pytest.param("A52", "I", False, "in-progress", id="no leave after all"),
        pytest.param("A53", "I", False, "onleave", id="no return after all"),
        pytest.param("A54", "I", False, "", id="another attending doctor says nothing of the status"),
    ],
)
def test_the_status_of_a_stay(trigger: str, cls: str, ended: bool, expected: str) -> None:
    assert status(trigger, cls, ended=ended) == expected


@pytest.mark.parametrize(
    ("cls", "expected"), [("IMP", "in-progress"), ("PRENC", "planned"), ("U", "unknown"), ("UNK", "unknown")]
)
def test_a_stay_of_which_no_event_is_known_has_the_status_of_its_class(cls: str, expected: str) -> None:
    assert status_of_class(cls) == expected


@pytest.mark.parametrize(
    ("stay", "more", "key"),
    [
        pytest.param(pv1("V1"), {}, ("urn:predmp:facility:CHU-TEST:visits", "V1"), id="the facility's own number"),
        pytest.param(pv1("V1^^^X&1.2.3.4&ISO"), {}, ("urn:oid:1.2.3.4", "V1"), id="a number with authority"),
        pytest.param(
            pv1(""), {"f18": "A7"}, ("urn:predmp:facility:CHU-TEST:accounts", f"A7/{WHEN}"), id="account and admission"
        ),
    ],
)
def test_the_number_of_a_stay(stay: str, more: dict[str, str], key: tuple[str, str]) -> None:
    assert draft(adt(person=pid(**more), stay=stay)).people[0].visit.key == key


def test_a_stay_without_number_is_not_stored_and_that_is_told() -> None:
    text = adt(stay=pv1(""))
    assert draft(text).people[0].visit is None
    assert rules(text)["visit-number-missing"] == "PV1[1]-19"
    assert "PV1" in arrive(text).unused


def test_a_discharge_without_its_time_ends_when_it_was_recorded() -> None:
    assert ends(adt("A03")) == ["2026-11-20T08:30:00+01:00"]
    assert rules(adt("A03"))["end-from-EVN-2"] == "PV1[1]-45"
    assert ends(adt("A03", stay=pv1(f45="20261121"))) == ["2026-11-21"]


def test_a_cancelled_discharge_takes_the_end_away_though_it_repeats_it() -> None:
    assert ends(adt("A13", stay=pv1(f45="20261121")))[-1] is None


def ends(text: str) -> list[str | None]:
    """Return what a message says of the end of the stay, in order."""
    visit = draft(text).people[0].visit
    return [one.value for one in visit.stated if one.row.element == "period.end"]


# --- results ---------------------------------------------------------------------------
def reports(text: str) -> list[dict[str, Any]]:
    return [r.report for person in draft(text).people for r in person.reports]


def test_a_result_and_its_report() -> None:
    order = segment(
        "OBR",
        f2="PL7",
        f3="L1",
        f4="718-7^Hb^LN",
        f7=WHEN,
        f8="20261120084000",
        f22=WHEN,
        f24="LAB",
        f25="F",
        f32="9&MARTIN&LUC",
    )
    result = obx(
        "718-7^Hémoglobine^LN^HB^Hb^L", "12.40", "g/dL", f4="1", f7="12-16", f8="L", f15="LABO 1", f16="7^MARTIN^LUC",
        f17="M1^Automate^L", f18="SN1", f20="ARM^bras^HL70163", f21="O1",
    )  # fmt: skip
    text = oru(result, "NTE|1||hémolyse~légère", order=order)
    (made,), (report,) = observations(text), reports(text)
    assert [c["system"] for c in made["code"]["coding"]] == ["http://loinc.org", "urn:predmp:facility:CHU-TEST:codes"]
    assert (made["status"], made["effectiveDateTime"]) == ("final", "2026-11-20T08:30:00+01:00")
    assert str(made["valueQuantity"]["value"]) == "12.40"
    low = made["referenceRange"][0]
    assert (low["text"], str(low["low"]["value"]), low["high"]["code"]) == ("12-16", "12", "g/dL")
    assert made["interpretation"][0]["coding"][0]["code"] == "L"
    assert made["note"] == [{"text": "hémolyse\nlégère"}]
    assert [p["display"] for p in made["performer"]] == ["LABO 1", "LUC MARTIN"]
    assert made["device"]["identifier"] == {"system": "urn:predmp:facility:CHU-TEST:devices", "value": "SN1"}
    assert made["category"][0]["coding"][0]["code"] == "laboratory"
    assert report["result"] == [{"reference": f"Observation/{made['id']}"}]
    assert {i["type"]["coding"][0]["code"]: i["value"] for i in report["identifier"]} == {"PLAC": "PL7", "FILL": "L1"}
    assert report["basedOn"][0]["identifier"]["value"] == "PL7"
    assert report["effectivePeriod"] == {"start": "2026-11-20T08:30:00+01:00", "end": "2026-11-20T08:40:00+01:00"}
    assert report["resultsInterpreter"] == [{"display": "LUC MARTIN"}]
    for resource in (made, report):
        assert [i for i in validate({**resource, "subject": {"reference": "Patient/1"}}) if i.severity == "error"] == []


def test_systolic_and_diastolic_are_one_blood_pressure() -> None:
    text = oru(
        obx("8480-6^PAS^LN", "140", "mmHg", f8="H"),
        obx("8867-4^FC^LN", "71"),
        obx("8462-4^PAD^LN", "85", "mmHg"),
        "NTE|1||assis",
    )
    pressure, heart = observations(text)
    assert pressure["code"]["coding"][0]["code"] == "85354-9"
    parts = [(c["code"]["coding"][0]["code"], int(c["valueQuantity"]["value"])) for c in pressure["component"]]
    assert parts == [("8480-6", 140), ("8462-4", 85)]
    assert pressure["component"][0]["interpretation"][0]["coding"][0]["code"] == "H"
    assert pressure["note"] == [{"text": "assis"}]
    assert "valueQuantity" not in pressure
    assert heart["code"]["coding"][0]["code"] == "8867-4"
    assert {c["code"] for o in (pressure, heart) for c in o["category"][0]["coding"]} == {"vital-signs"}
    assert [i for i in validate({**pressure, "subject": {"reference": "Patient/1"}}) if i.severity == "error"] == []


@pytest.mark.parametrize(
    ("rows", "codes"),
    [
        pytest.param([("8480-6", "1", WHEN)], ["8480-6"], id="one alone stays alone"),
        pytest.param([("8480-6", "1", WHEN), ("8462-4", "1", "20261120093000")], ["8480-6", "8462-4"], id="another time"),
        pytest.param([("8480-6", "1", WHEN), ("8462-4", "2", WHEN)], ["85354-9"], id="numbered rows, only two at that time"),
        pytest.param(
            [("8480-6", "1", WHEN), ("8462-4", "1", WHEN), ("8480-6", "2", WHEN), ("8462-4", "2", WHEN)],
            ["85354-9", "85354-9"], id="two pressures by their sub-id",
        ),
        pytest.param(
            [("8480-6", "1", WHEN), ("8462-4", "2", WHEN), ("8480-6", "3", WHEN)], ["8480-6", "8462-4", "8480-6"],
            id="which belongs to which cannot be told",
        ),
    ],
)  # fmt: skip
def test_which_pressures_belong_together(rows: list[tuple[str, str, str]], codes: list[str]) -> None:
    text = oru(*(obx(f"{code}^^LN", "100", "mmHg", f4=sub, f14=when) for code, sub, when in rows))
    assert [o["code"]["coding"][0]["code"] for o in observations(text)] == codes


def test_lines_of_a_text_are_one_result() -> None:
    rows = [obx("22637-3^CR^L", line, "", "TX") for line in ("Première", "", "Deuxième")]
    (made,) = observations(oru(*rows))
    assert made["valueString"] == "Première\n\nDeuxième"


def test_a_document_is_the_report_s_presented_form() -> None:
    text = oru(obx("PDF^Compte rendu^L", "^AP^PDF^Base64^JVBERi0xLjQK", "", "ED"))
    (report,) = reports(text)
    assert report["presentedForm"] == [
        {"contentType": "application/pdf", "data": "JVBERi0xLjQK", "title": "Compte rendu"}
    ]
    assert observations(text) == []


def test_a_document_that_cannot_be_read_is_told() -> None:
    assert rules(oru(obx("PDF^CR^L", "^AP^PDF^Base64^%%%", "", "ED")))["attachment-not-used"] == "OBX[1]-5"


@pytest.mark.parametrize(
    ("order", "result", "expected"),
    [
        pytest.param("P", "F", "preliminary", id="the order's own"),
        pytest.param("", "F", "final", id="all results final"),
        pytest.param("", "P", "preliminary", id="a preliminary result"),
    ],
)
def test_the_status_of_a_report(order: str, result: str, expected: str) -> None:
    text = oru(obx(f11=result), order=segment("OBR", f3="L1", f4="X^Y^L", f25=order))
    assert reports(text)[0]["status"] == expected


@pytest.mark.parametrize("status", ["Y", "Z"])
def test_an_answer_that_nothing_was_found_is_no_result(status: str) -> None:
    fault = arrive(oru(order=segment("OBR", f3="L1", f4="X^Y^L", f25=status))).fault
    assert fault is not None and (fault.code, fault.place.path) == ("103", "OBR[1]-25")


def ids(text: str) -> list[str]:
    return [o["id"] for o in observations(text)]


def test_the_same_result_has_the_same_id_in_every_message() -> None:
    assert ids(oru(control="C1")) == ids(oru(obx(value="89"), control="C2"))
    assert reports(oru(control="C1"))[0]["id"] == reports(oru(control="C2"))[0]["id"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(oru(person=pid(id="P2^^^CHU")), id="another patient"),
        pytest.param(oru(order=segment("OBR", f3="L2", f4="VITALS^Constantes^L", f7=WHEN)), id="another order"),
        pytest.param(oru(obx(code="8310-5^T^LN")), id="another code"),
        pytest.param(oru(obx(f4="2")), id="another sub-id"),
        pytest.param(oru(obx(f14="20261120083001")), id="another time"),
    ],
)
def test_another_result_has_another_id(other: str) -> None:
    assert ids(other) != ids(oru())


def test_two_results_with_one_key_in_one_message_are_two() -> None:
    text = oru(obx(value="80"), obx(value="81"))
    assert len(set(ids(text))) == 2
    assert rules(text)["result-repeated"] == "OBX[2]-3"


def test_without_order_number_the_time_tells_orders_apart_and_without_time_the_message() -> None:
    timed = segment("OBR", f4="X^Y^L", f7=WHEN)
    assert ids(oru(control="C1", order=timed)) == ids(oru(control="C2", order=timed))
    bare = segment("OBR", f4="X^Y^L")
    assert ids(oru(control="C1", order=bare)) != ids(oru(control="C2", order=bare))
    assert rules(oru(order=bare))["order-number-missing"] == "OBR[1]-3"


def test_two_patients_in_one_message_are_never_mixed() -> None:
    text = oru(obx(value="91")) + message(pid(id="P2^^^CHU"), segment("OBR", f3="L1", f4="VITALS^C^L"), obx(value="92"))
    first, second = draft(text).people
    values = [[int(o["valueQuantity"]["value"]) for r in p.reports for o in r.observations] for p in (first, second)]
    assert (first.key[1], second.key[1], values) == ("P1", "P2", [[91], [92]])


def test_every_lane_of_a_message_is_one_of_its_patients() -> None:
    text = oru() + message(pid(id="P2^^^CHU"), "OBR|1", obx())
    assert arrive(text).lanes == ("default|urn:oid:1.2.250.1.999.1|P1", "default|urn:oid:1.2.250.1.999.1|P2")
    assert arrive("hello").lanes == ()
    assert arrive(text, CHANNEL).key == "mllp|DPI|CHU TEST|C2"
