"""Whatever a sender writes into any field, the message is read or refused, and what it makes is valid FHIR."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.validation import validate
from tests.hl7_messages import arrive, obx, oru, resources, segment
from tests.hl7_orders import RICH

PAIRS: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "hl7v2_pairs"
LABORATORY: Final = oru(
    obx("8480-6^S^LN", "140", "mm[Hg]", f7="90-140", f8="H", f10="A", f15="L^Lab^L", f16="7^C^M", f17="M^m^L",
        f18="E1^^0012210000000001^EUI-64", f19="20261120080000", f20="LA^arm^L", f21="X1", f23="Lab^L^1",
        f24="1 rue^^Paris", f25="8^DIR^A", f29="RSLT", f33="S1&DPI^S2&LAB"),
    "NTE|1||Comment|RE|9^N^A|20261120080000", "PRT|1|UC||SPRF|7^CURIE^MARIE|||CHU|MED^1|DEV1",
    obx("8462-4^D^LN", "85", "mm[Hg]"), obx("5778-6^Color^LN", "Y^Yellow^L~R^Red^L", "", "CWE"),
    obx("1^Titre^L", "^1^:^160", "", "SN"), obx("2^When^L", "20261120~20261121", "", "DT"),
    obx("3^Report^L", "^AP^PDF^Base64^JVBERi0xLjQK", "", "ED"), obx("4^Link^L", "http://x/y^^AP^PDF", "", "RP"),
    "SPM|1|S1&DPI^S2&LAB||BLD", order="ORC|RE|O1^DPI|L1^LAB|G1||||P1&DPI\r" + segment(
        "OBR", f2="O1^DPI", f3="L1^LAB", f4="BILAN^x^L", f7="20261120080000", f8="20261120090000", f9="5^mL",
        f10="1^COL^A", f14="20261120080000", f15="BLD&Blood&HL70070^EDTK", f22="20261120080000", f24="LAB", f25="F",
        f32="1&A&B", f34="2&C&D", f35="3&E&F", f39="x"),
)  # fmt: skip


def seeds() -> list[str]:
    """Return the messages that are mutated: our own, and where they are there the pairs of another converter."""
    found = sorted(PAIRS.rglob("*.hl7"))[::9] if PAIRS.exists() else []
    texts = [path.read_text("utf-8").replace("\r\n", "\r").replace("\n", "\r") for path in found]
    return [*RICH, LABORATORY, *texts]


SEEDS: Final = seeds()
PIECES: Final = st.sampled_from(
    ["", '""', "^", "~", "&", "\\", "\\X0D\\", "^^^^^^^^^^^^^^^^^^^^", "a~b~c", "&&&", "0", "-1", "1e400", "999999999999999999999",
     "00000000", "20261301", "99991231235959.9999-1200", "2026", "<5", "1:2:3", "\U0001f600", "é" * 300, " ", "NaN",
     "1.2.3^^4", "Q0D", "Q9999L", "^Q6H", "D", "X", "Y", "C", "P", "NW", "S", "Base64", "^AP^PDF^Base64^%%%"]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Return a message with some fields replaced, and segments left out, doubled or moved."""
    lines = draw(st.sampled_from(SEEDS)).strip("\r").split("\r")
    for _ in range(draw(st.integers(1, 6))):
        number = draw(st.integers(1, len(lines) - 1)) if len(lines) > 1 else 0
        fields = lines[number].split("|")
        what = draw(st.integers(0, 9))
        if what == 0 and len(lines) > 2:
            del lines[number]
        elif what == 1 and len(lines) > 1:
            lines.insert(number, lines[draw(st.integers(1, len(lines) - 1))])
        elif number:
            at = draw(st.integers(1, max(len(fields), 40)))
            fields += [""] * (at + 1 - len(fields))
            fields[at] = draw(st.one_of(PIECES, st.text("0123456789.+-<>:/ ab^~&", max_size=12)))
            lines[number] = "|".join(fields)
    return "\r".join(lines) + "\r"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(mutated())
def test_any_field_may_hold_anything(text: str) -> None:
    arrival = arrive(text)
    assert (arrival.draft is None) == (arrival.fault is not None)
    for resource in resources(arrival):
        if resource["resourceType"] not in ("Patient", "Encounter"):
            assert [i for i in validate(resource) if i.severity in ("error", "fatal")] == []


def test_the_seeds_themselves_are_taken() -> None:
    assert [arrive(text).fault for text in (*RICH, LABORATORY)] == [None] * 6
