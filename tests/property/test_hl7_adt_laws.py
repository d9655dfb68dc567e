"""Whatever stands in the fields of an ADT message: it is read or refused, and what is made of it is valid R4."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hl7.routes import ROUTES
from fhir_server.validation import validate
from tests.hl7_messages import arrive, header, message, resources

NAMES = (
    "PD1",
    "NK1",
    "PV2",
    "DG1",
    "AL1",
    "IAM",
    "IN1",
    "PR1",
    "ROL",
    "PRT",
    "OBX",
    "ZBE",
    "ZFA",
    "ZFD",
    "ZFM",
    "ZFP",
    "ZFV",
    "MRG",
)
EVENTS = sorted(event for type, event in ROUTES if type == "ADT")
VALUES = st.sampled_from(
    (
        "", '""', "1", "0", "-1", "A", "D", "SEL", "SPO", "E", "Y", "N", "X y", " ", "^", "^^", "^Texte", "I10^HTA^I10", "a^b^^c^d^L",
        "20261120", "2026", "202613", "20261120083000+0100", "0000", "99999999999", "1.5", "é\\F\\à", "~", "A~B", "~~^x", "&", "A&B^C",
        "DUPOND^Amélie^^^Mme^^L", "1 RUE A^^BOURGES^^18000^FRA^H", "^^X^^^^BDL^^18033", "^PRN^PH^^33^2^48000000", "^NET^Internet^a@b",
        "10001^MARTIN^LUC^^^^^^RPPS&1.2.250.1.71.4.2.1&ISO", "M1^DPI", "INSERT", "CANCEL", "A02", "V1^^^X&1.2.3.4&ISO", "VALI", "DOUT",
        "B^^^CHU&1.2.250.1.999.1&ISO^PI", "MED^101^1^CHU", "CARDIO^^^^^^UF^^^10", "MC", "DA", "SV", "AT", "PP", "x" * 300, "\\X0D0A\\", "\t",
    )
)  # fmt: skip


@st.composite
def messages(draw: Any) -> str:
    """Draw a message of any event with fields of any content."""
    trigger = draw(st.sampled_from(EVENTS))
    parts = [header(f"ADT^{trigger}"), f"EVN||{draw(VALUES)}"]
    for name in ("PID", "PV1", *draw(st.lists(st.sampled_from((*NAMES, "PID", "PV1")), max_size=4))):
        fields = [draw(VALUES) for _ in range(draw(st.integers(0, 48)))]
        if name == "PID" and draw(st.booleans()):
            fields[:3] = ["", "", "A^^^CHU&1.2.250.1.999.1&ISO^PI"]
        parts.append("|".join([name, *fields]))
    return message(*parts)


@settings(max_examples=150, deadline=None)
@given(messages())
def test_what_is_made_of_any_content_is_valid(text: str) -> None:
    for resource in resources(arrive(text)):
        found = [(i.code, i.expression) for i in validate(resource) if i.severity in ("error", "fatal")]
        assert found == [], resource
