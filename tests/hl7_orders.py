"""Synthetic messages of orders, appointments, documents, vaccinations and devices that tests send."""

from __future__ import annotations

from typing import Final

from tests.hl7_messages import WHEN, header, message, obx, pid, segment

VISIT: Final = segment("PV1", f2="O", f19="V1")
LATER: Final = "20261120093000"


def order(*rows: str, kind: str = "ORM^O01^ORM_O01") -> str:
    """Return a message of orders; each row is a segment."""
    return message(header(kind, "O1"), pid(), VISIT, *rows)


def obr(number: str = "O1^DPI", code: str = "2345-7^Glucose^LN", **more: str) -> str:
    """Return an OBR that asks for something."""
    return segment("OBR", **{"f1": "1", "f2": number, "f4": code, **more})


def orc(control: str = "NW", number: str = "O1^DPI", **more: str) -> str:
    """Return an ORC."""
    return segment("ORC", **{"f1": control, "f2": number, "f9": WHEN, **more})


def sch(event: str = "S12", *rows: str, **more: str) -> str:
    """Return a message of an appointment of half an hour."""
    fields = {"f1": "P1^DPI", "f2": "F1^RDV", "f9": "30", "f10": "min", "f11": "^^^20261201090000", **more}
    return message(header(f"SIU^{event}^SIU_S12", "S1"), segment("SCH", **fields), pid(), *rows)


def txa(event: str = "T02", *rows: str, **more: str) -> str:
    """Return a message of a document."""
    fields = {"f1": "1", "f2": "CR^Report^L", "f3": "TX", "f6": WHEN, "f12": "D1^DPI", "f17": "AU", "f19": "AV", **more}
    kind = f"MDM^{event}^MDM_{'T02' if event in ('T02', 'T04', 'T06', 'T08', 'T10') else 'T01'}"
    return message(header(kind, "D1"), f"EVN|{event}|{WHEN}", pid(), VISIT, segment("TXA", **fields), *rows)


def rxa(*rows: str, **more: str) -> str:
    """Return a message of a vaccination."""
    fields = {"f1": "0", "f2": "1", "f3": WHEN, "f5": "08^Hepatitis B^CVX", "f6": "0.5", "f7": "mL", **more}
    return message(
        header("VXU^V04^VXU_V04", "V1"), pid(), orc("RE", "V1^DPI", f3="V2^LAB"), segment("RXA", **fields), *rows
    )


def device(*rows: str, **fields: str) -> str:
    """Return the results of a device by IHE PCD-01."""
    start = header("ORU^R01^ORU_R01", "P1", f12="2.6", f21="IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO")
    about = segment(
        "OBR", **{"f1": "1", "f2": "A^GW", "f3": "B^GW", "f4": "182777000^monitoring^SCT", "f7": WHEN, **fields}
    )
    return message(start, pid(), about, *rows)


def part(path: str, code: str, **more: str) -> str:
    """Return a row that declares a device or a part of it."""
    return segment("OBX", **{"f3": code, "f4": path, "f11": "X", **more})


def leaf(path: str, code: str, value: str, unit: str, **more: str) -> str:
    """Return a result of a device."""
    return segment("OBX", **{"f2": "NM", "f3": code, "f4": path, "f5": value, "f6": unit, "f11": "R", **more})


MONITOR: Final = (
    part("1.0.0.0", "69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC", f18="0012210000000001^^0012210000000001^EUI-64"),
    part("1.1.0.0", "69855^MDC_DEV_ECG_VMD^MDC"),
    leaf("1.1.1.1", "147842^MDC_ECG_HEART_RATE^MDC", "82", "264864^MDC_DIM_BEAT_PER_MIN^MDC", f14=LATER),
    part("1.2.0.0", "70686^MDC_DEV_PRESS_BLD_NONINV_VMD^MDC", f14=WHEN),
    leaf("1.2.1.1", "150021^MDC_PRESS_BLD_NONINV_SYS^MDC", "120", "266016^MDC_DIM_MMHG^MDC"),
    leaf("1.2.1.2", "150022^MDC_PRESS_BLD_NONINV_DIA^MDC", "80", "266016^MDC_DIM_MMHG^MDC"),
    leaf("1.2.1.3", "150023^MDC_PRESS_BLD_NONINV_MEAN^MDC", "93", "266016^MDC_DIM_MMHG^MDC"),
    leaf("1.3.1.1", "150456^MDC_PULS_OXIM_SAT_O2^MDC", "97", "262688^MDC_DIM_PERCENT^MDC", f11="F"),
    leaf("1.3.1.1.1", "150448^MDC_PULS_OXIM_PERF_REL^MDC", "2.1", "262688^MDC_DIM_PERCENT^MDC", f11="F"),
)
"""A bedside monitor with an ECG, a cuff and an oximeter."""

RICH: Final = (
    order(
        orc(f3="L1^LAB", f4="G1&DPI^G2&LAB", f8="P1&DPI", f12="7^CURIE^MARIE", f14="^PRN^PH^^^^0102030405",
            f16="^^^^^^^^why", f21="CHU^L^H1", f22="1 rue^^Paris^^75001^^H", f24="2 rue^^Paris", f28="R^^HL70177"),
        segment("TQ1", f1="1", f2="2^mL", f3="Q6H", f4="0800", f7=WHEN, f8="20261123080000", f9="S^^HL70485", f14="4"),
        obr(f5="S", f6=WHEN, f11="G", f13="fatigue", f29="PP&DPI^PF&LAB", f31="D64^Anaemia^I10", f46="X^x^L"),
        "NTE|1||Fasting||9^NOTE^A|" + WHEN, "DG1|1||D64.9^Anaemia^I10", obx("29463-7^Weight^LN", "70", "kg"),
        segment("SPM", f1="1", f2="S1&DPI^S2&LAB", f3="S0&DPI", f4="BLD^Blood^HL70487", f6="EDTK", f7="VENIP",
                f8="LA", f12="5^mL", f14="red", f17=f"{WHEN}^{LATER}", f18=LATER, f20="Y", f21="EX", f24="HEM",
                f27="TUBE", f30="A1", f31="Z1"),
        orc("CA", "O2^DPI", f5="CA"), obr("O2^DPI", "718-7^Hb^LN"), orc("DC", "O3^DPI"), kind="OML^O21^OML_O21",
    ),
    sch("S12", "RGS|1|A", "AIS|1|A|CARDIO^Cardiology^L|20261201090000|||30|min",
        "AIG|1|A|ECHO^Echograph^L|DEV||||20261201090000|||30|min", "AIL|1|A|CARDIO^12|ROOM||20261201090000|||30|min",
        "AIP|1|A|7^CURIE^MARIE|DOC||20261201090000|||30|min||Booked", "NTE|1||Bring papers", "DG1|1||I10^HTA^I10",
        f6="CTRL^Control^L", f7="ROUTINE^^HL70276", f8="Normal^^HL70277", f12="1^A^B", f16="2^C^D", f20="3^E^F",
        f25="Booked", f26="O1^DPI", f27="L1^LAB"),
    txa("T10", "OBX|1|ED|18842-5^Report^LN||^AP^PDF^Base64^JVBERi0xLjQK||||||F", "OBX|2|TX|X^Y^L||One||||||F",
        "OBX|3|TX|X^Y^L||Two||||||F", "NTE|1||Note", f4=WHEN, f5="5^P^Q", f9="6^R^S", f10="9^T^U", f13="D0^DPI",
        f14="O1^DPI", f15="L1^LAB", f16="cr.pdf", f18="R", f25="Title"),
    rxa("RXR|IM^Muscle^HL70162|LA^Left arm^HL70163", "OBX|1|CE|64994-7^Eligibility^LN|1|V02^x^HL70064||||||F",
        "NTE|1||Well", f9="00^New^NIP001", f10="9^I^N", f11="^^^CHU", f15="LOT1", f16="20280131", f17="MSD^Merck^MVX",
        f18="00^x^NIP002", f19="Z23^x^I10", f20="CP", f21="A", f22=WHEN),
    device(*MONITOR),
)  # fmt: skip
"""One message of each kind, with most of the fields that are read."""
