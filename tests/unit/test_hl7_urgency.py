"""What a look at a message tells: whose it is, never too few; and whether somebody may wait for it."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7 import charset
from adapters.hl7.codes import read as read_maps
from adapters.hl7.local import Local
from adapters.hl7.maps import mdc
from adapters.hl7.urgency import Glance, Urgency
from fhir_server.interface import Calm
from tests.hl7_messages import CHANNEL, adt, arrive, header, message, obx, oru, pid
from triage_hooks.calm import calm
from triage_hooks.enricher import RULES
from triage_hooks.rules.inputs import BY_CODE
from triage_hooks.rules.news2 import points

ROWS = calm(RULES)
CHARTED = [row for row in ROWS if row.low is not None and BY_CODE[row.system, row.code].name != "on_oxygen"]
LOCAL = {
    "resourceType": "ConceptMap",
    "id": "local",
    "status": "active",
    "group": [
        {
            "source": "urn:predmp:facility:CHU-TEST:codes:99MON",
            "target": "http://loinc.org",
            "element": [{"code": "SAT", "target": [{"code": "59408-5", "equivalence": "equivalent"}]}],
        }
    ],
}
MAPPED = replace(CHANNEL, local=Local(read_maps([LOCAL]), {}))


def look(text: str | bytes, name: str = "ORU^R01") -> Glance:
    raw = text if isinstance(text, bytes) else text.encode()
    decoded = charset.decode(raw, default=CHANNEL.charset)
    return Urgency(lambda: ROWS).look(MAPPED, decoded.text, name, decoded.codec)


@pytest.mark.parametrize(
    ("result", "urgent"),
    [
        pytest.param(obx(value="75"), "", id="a calm pulse can wait"),
        pytest.param(obx(value="51"), "", id="so can the least calm one"),
        pytest.param(obx(value="90"), "", id="and the greatest"),
        pytest.param(obx(value="131"), "OBX-5", id="a quick one cannot"),
        pytest.param(obx(value="50.9"), "OBX-5", id="nor a slow one"),
        pytest.param(obx(value=""), "OBX-5", id="nor one that is missing"),
        pytest.param("OBX|1|NM|8867-4^FC^LN", "OBX-5", id="nor one of a segment that ends before it"),
        pytest.param(obx(value="rapide"), "OBX-5", id="nor one that is no number"),
        pytest.param(obx(value="nan"), "OBX-5", id="nor one that only looks like a number"),
        pytest.param(obx(value=">130"), "OBX-5", id="nor one of which only a bound is known"),
        pytest.param(obx("59408-5^SpO2^LN", "97", "%"), "", id="a calm saturation can wait"),
        pytest.param(obx("59408-5^SpO2^LN", "84", "%"), "OBX-5", id="a low one cannot"),
        pytest.param(obx("150456^MDC_PULS_OXIM_SAT_O2^MDC", "84", "%"), "OBX-5", id="nor a low one of a device's code"),
        pytest.param(obx("SAT^Saturation^99MON", "84", "%"), "OBX-5", id="nor one of a sender's code that is mapped"),
        pytest.param(obx("SAT^Saturation^99MON", "98", "%"), "", id="a calm one of a sender's code can wait"),
        pytest.param(obx("SPO^Saturation^L^59408-5^SpO2^LN", "84", "%"), "OBX-5", id="the alternate code counts too"),
        pytest.param(obx("XYZ^Saturation^99MON", "84", "%"), "", id="a code that stands for nothing can wait"),
        pytest.param(obx("8310-5^T^LN", "36.1", "Cel"), "", id="a calm temperature can wait"),
        pytest.param(obx("67775-7^C^LN", "A^Alerte^L", "", "CWE"), "", id="who is alert can wait"),
        pytest.param(obx("67775-7^C^LN", "U^Inconscient^L", "", "CWE"), "OBX-5", id="who does not respond cannot"),
        pytest.param(obx("2345-7^Glucose^LN", "30", "mmol/L", f8="HH"), "OBX-8", id="what a laboratory calls critical"),
        pytest.param(obx("2345-7^Glucose^LN", "30", "mmol/L", f8="LL"), "OBX-8", id="critically low"),
        pytest.param(obx("600-7^Culture^LN", "MRSA", "", "ST", f8="AA"), "OBX-8", id="critical without a number"),
        pytest.param(obx("2345-7^Glucose^LN", "30", "mmol/L", f8="A~HH"), "OBX-8", id="critical among other flags"),
        pytest.param(
            obx("2345-7^Glucose^LN", "30", "mmol/L", f8="HH^^HL70078"), "OBX-8", id="critical, with its table"
        ),
        pytest.param(obx("2345-7^Glucose^LN", "9", "mmol/L", f8="H"), "", id="what is only high can wait"),
        pytest.param(obx("2345-7^Glucose^LN", "", "mmol/L"), "", id="a value that no rule reads may be missing"),
    ],
)
def test_which_results_are_urgent(result: str, urgent: str) -> None:
    assert look(oru(result)).urgent == urgent
    assert look(oru(obx(value="70"), result, obx(value="70"))).urgent == urgent, "among calm ones"


@pytest.mark.parametrize(
    ("text", "name", "urgent"),
    [
        pytest.param(adt(), "ADT^A01", "", id="an admission can wait"),
        pytest.param(message(header("ORU^R40^ORU_R40"), pid()), "ORU^R40", "MSH-9", id="an alarm cannot"),
        pytest.param(oru(obx(value="131")), "MDM^T02", "", id="results beside a document can wait"),
        pytest.param(oru(obx(value="131")).replace("\r", "\n"), "ORU^R01", "OBX-5", id="LF ends segments"),
        pytest.param(oru(obx(value="131")).replace("\r", "\r\n"), "ORU^R01", "OBX-5", id="CRLF does"),
        pytest.param(oru(obx(value="131")).replace("\rOBX", "\r  OBX"), "ORU^R01", "OBX-5", id="blanks before one"),
        pytest.param(
            oru(obx(value="131")).replace("|", "!").replace("^", "*"), "ORU^R01", "OBX-5", id="other delimiters"
        ),
        pytest.param("no message", "", "", id="what is no message can wait"),
        pytest.param("MSH", "", "", id="nor is a header cut short"),
    ],
)
def test_which_messages_are_urgent(text: str, name: str, urgent: str) -> None:
    assert look(text, name).urgent == urgent


def merge(kept: str, ended: str) -> str:
    return message(header("ADT^A40^ADT_A39"), "EVN||20261120083000", pid(id=kept), f"MRG|{ended}")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(oru(), id="results"),
        pytest.param(oru(person=pid(id="1^^^A~2^^^CHU&1.2.250.1.999.1&ISO^PI~3")), id="several numbers"),
        pytest.param(oru(person=pid(id=r"A\T\B\X2D\C^^^CHU")), id="escapes in a number"),
        pytest.param(oru(person=pid(id="  P 7  ^^^CHU")), id="blanks around a number"),
        pytest.param(oru(person=pid(id="N°É1^^^CHU")), id="letters of French in a number"),
        pytest.param(
            oru(person=pid(id="N°É1^^^CHU")).replace("UNICODE UTF-8", "8859/1").encode("latin-1"), id="in Latin 1"
        ),
        pytest.param(
            oru(person=pid(id="P9^^^CHU")).replace("UNICODE UTF-8", "UNICODE UTF-16").encode("utf-16"), id="in UTF-16"
        ),
        pytest.param(merge("P1^^^CHU", "P2^^^CHU"), id="a merge"),
        pytest.param(merge("P1^^^CHU", "P2^^^CHU~P3^^^CHU"), id="a merge of three"),
        pytest.param(oru().replace("|", "!").replace("^", "*").replace("&", "%"), id="other delimiters"),
        pytest.param(oru().replace("\r", "\n"), id="LF ends segments"),
        pytest.param(oru().replace("\rPID", "\r\t PID"), id="blanks before a segment"),
        pytest.param(adt(), id="an admission"),
    ],
)
def test_a_look_names_all_numbers_that_lanes_are_made_of(text: str | bytes) -> None:
    draft = arrive(text).draft
    assert draft is not None
    values = {key[-1] for person in draft.people for key in person.keys}
    assert values
    assert values <= set(look(text).whose)


@given(st.sampled_from(CHARTED), st.decimals(min_value=-10, max_value=400, places=2))
def test_what_is_called_calm_gets_no_points_and_all_else_does(row: Calm, value: Decimal) -> None:
    item = BY_CODE[row.system, row.code]
    assert row.low is not None
    assert row.high is not None
    if row.low <= value <= row.high:
        assert points(item.name, value).high == 0
    elif item.low <= value <= item.high and not row.low <= value.quantize(Decimal("0.1"), ROUND_HALF_UP) <= row.high:
        assert points(item.name, value).high > 0, "but for what its chart rounds to a calm value"


def test_each_code_that_a_rule_reads_has_its_calm_values() -> None:
    read = {code for code, item in BY_CODE.items() for rule in RULES if item.name in rule.inputs}
    assert {one[:2] for one in ROWS} == read


def test_devices_codes_lead_to_what_rules_read() -> None:
    found = {code for code, rows in mdc.MEASURES.items() if any("59408-5" in row.loinc for row in rows)}
    assert found == {"150456"}


def test_a_sender_s_map_that_changes_counts_at_once() -> None:
    urgency = Urgency(lambda: ROWS)
    text = oru(obx("SAT^Saturation^99MON", "84", "%"))
    assert urgency.look(CHANNEL, text, "ORU^R01").urgent == ""
    assert urgency.look(MAPPED, text, "ORU^R01").urgent == "OBX-5"
    assert urgency.look(CHANNEL, text, "ORU^R01").urgent == ""


def test_what_is_remembered_of_fields_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.hl7.urgency.MOST_CODES", 10)
    urgency = Urgency(lambda: ROWS)
    for number in range(100):
        urgency.look(CHANNEL, oru(obx(f"{number}^x^L", "1")), "ORU^R01")
        assert sum(map(len, urgency._known.values())) <= 10
