"""Every type of message says the same in every version that a sender may speak."""

from __future__ import annotations

from typing import Final

import pytest

from tests.hl7_messages import WHEN, arrive, header, message, obx, pid, pv1, resources, segment
from tests.hl7_orders import RICH, VISIT

VERSIONS: Final = (
    "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2", "2.9",
)  # fmt: skip

RESULT: Final = message(
    header("ORU^R01", "V"), pid(), "PD1|1", "NTE|1||of the patient", VISIT,
    segment("ORC", f1="RE", f2="1^A", f3="2^B"), segment("OBR", f2="1^A", f3="2^B", f4="X^X^L", f7=WHEN, f25="F"),
    "NTE|1||of the order", obx(), "NTE|1||of the result", obx("2345-7^Glucose^LN"),
    segment("OBR", f2="1^A", f3="3^B", f4="Y^Y^L", f7=WHEN, f25="P"), obx("2823-3^K^LN", f11="P"),
)  # fmt: skip
"""Two orders of one patient, with comments everywhere."""

TWO: Final = message(
    header("ORU^R01", "V"), pid(), segment("OBR", f3="1", f4="X^X^L", f7=WHEN, f25="F"), obx(),
    pid("P2^^^CHU&1.2.250.1.999.1&ISO^PI"), segment("OBR", f3="2", f4="X^X^L", f7=WHEN, f25="F"), obx(),
)  # fmt: skip


def admission(event: str) -> str:
    """Return an ADT message with most of the segments that are read."""
    return message(
        header(f"ADT^{event}", "V"), f"EVN|{event}|{WHEN}", pid(), "PD1||||7^D^E", "NK1|1|A^B|SPO", pv1(), "PV2|||X^Y",
        obx(), "AL1|1|DA|P^P^L", "DG1|1||I10^H^I10", f"PR1|1||C^C^L||{WHEN}", "IN1|1|P|9|N",
    )  # fmt: skip


STAYS: Final = ("A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A11", "A12", "A13", "A28", "A31", "A60")


def merge(event: str) -> str:
    return message(header(f"ADT^{event}", "V"), f"EVN|{event}|{WHEN}", pid(), "MRG|P2^^^CHU")


MESSAGES: Final = (
    RESULT, TWO, *map(admission, STAYS), *map(merge, ("A34", "A40", "A47")), *RICH,
)  # fmt: skip


def spoken(text: str, version: str) -> str:
    """Return a message as its sender says it in a version."""
    start, _, rest = text.partition("\r")
    fields = start.split("|")
    fields[11] = version
    return "|".join(fields) + "\r" + rest


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("text", MESSAGES, ids=[f"{n} {text.split('|')[8]}" for n, text in enumerate(MESSAGES)])
def test_a_message_says_the_same_in_every_version(text: str, version: str) -> None:
    found, usual = arrive(spoken(text, version)), arrive(spoken(text, "2.5.1"))
    assert found.fault is None
    assert resources(found) == resources(usual)


@pytest.mark.parametrize("version", VERSIONS)
def test_two_patients_of_one_result_message_stay_two_in_every_version(version: str) -> None:
    draft = arrive(spoken(TWO, version)).draft
    assert draft is not None
    assert [(one.key[1], len(one.reports)) for one in draft.people] == [("P1", 1), ("P2", 1)]
