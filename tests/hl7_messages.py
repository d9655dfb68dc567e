"""Synthetic HL7 v2 messages that tests send, and what reads them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from adapters.hl7.apply import Plan, stay
from adapters.hl7.arrival import Arrival, Channel, read
from adapters.hl7.merge import replace
from adapters.hl7.planned import entry
from adapters.hl7.standing import whole
from fhir_server.model import Resource

CHANNEL = Channel("mllp", "default", ZoneInfo("Europe/Paris"), {"CHU": "urn:oid:1.2.250.1.999.1"})
PID3 = "P1^^^CHU&1.2.250.1.999.1&ISO^PI"
WHEN = "20261120083000"


def header(kind: str = "ADT^A01^ADT_A01", control: str = "C1", when: str = WHEN, **more: str) -> str:
    """Return an MSH segment; `more` gives fields by number, e.g. `f11="T"`."""
    fields = {
        3: "DPI", 4: "CHU TEST", 5: "HUB", 6: "REGION", 7: when, 9: kind, 10: control, 11: "P", 12: "2.5", 17: "FRA",
        18: "UNICODE UTF-8",
    } | {int(name[1:]): text for name, text in more.items()}  # fmt: skip
    return "MSH|^~\\&|" + "|".join(fields.get(n, "") for n in range(3, max(fields) + 1))


def segment(name: str, **fields: str) -> str:
    """Return a segment from fields by number: `segment("PID", f3="1", f5="A^B")`."""
    given = {int(key[1:]): text for key, text in fields.items()}
    return "|".join([name, *(given.get(n, "") for n in range(1, max(given, default=0) + 1))])


def pid(id: str = PID3, name: str = "DUPOND^Amélie^^^Mme^^L", **more: str) -> str:
    """Return a PID segment."""
    return segment("PID", **{"f3": id, "f5": name, "f7": "19510423", "f8": "F", **more})


def pv1(number: str = "V1", **more: str) -> str:
    """Return a PV1 segment of an inpatient stay."""
    return segment("PV1", **{"f2": "I", "f3": "MED^101^1^CHU", "f7": "^MARTIN^LUC", "f19": number, "f44": WHEN, **more})


def obx(code: str = "8867-4^FC^LN", value: str = "88", unit: str = "/min", kind: str = "NM", **more: str) -> str:
    """Return an OBX segment of a final result."""
    return segment("OBX", **{"f2": kind, "f3": code, "f5": value, "f6": unit, "f11": "F", "f14": WHEN, **more})


def message(*segments: str) -> str:
    """Join segments."""
    return "\r".join(segments) + "\r"


def adt(event: str = "A01", control: str = "C1", when: str = WHEN, *, person: str = "", stay: str = "") -> str:
    """Return an ADT message about one patient and one stay."""
    kind = f"ADT^{event}^ADT_A01"
    return message(header(kind, control, when), f"EVN||{when}", person or pid(), stay or pv1())


def oru(*results: str, control: str = "C2", person: str = "", order: str = "") -> str:
    """Return an ORU message of one order."""
    request = order or segment("OBR", f3="L1", f4="VITALS^Constantes^L", f7=WHEN, f25="F")
    return message(header("ORU^R01^ORU_R01", control), person or pid(), request, *(results or (obx(),)))


def arrive(text: str | bytes, channel: Channel = CHANNEL) -> Arrival:
    """Read a message as it comes in."""
    return read(channel, text if isinstance(text, bytes) else text.encode())


def patient(text: str) -> Resource:
    """Return the Patient that a message makes of nothing."""
    draft = arrive(text).draft
    assert draft is not None
    return replace({"resourceType": "Patient"}, draft.people[0].stated)


def resources(arrival: Arrival) -> list[Resource]:
    """Return all that a message wants stored, as if nothing were stored yet."""
    made: list[Resource] = []
    for person in arrival.draft.people if arrival.draft else ():
        made.append(replace({"resourceType": "Patient"}, person.stated))
        if person.visit and person.leads:
            made.append(stay(person.visit, {"resourceType": "Encounter"}, "Patient/1", Plan()))
        for report in person.reports:
            found = [*report.observations, *([report.report] if report.report else [])]
            made += [linked(resource) for resource in found]
        made += [linked(whole(wanted)) for wanted in person.wanted if wanted.how != "known"]
    return made


def linked(resource: Resource) -> Resource:
    """Return a resource as it is stored of Patient/1."""
    made = entry(resource, "Patient/1", None).resource
    assert made is not None
    return made


def wanted(text: str, type: str = "") -> list[Resource]:
    """Return what a message wants stored beside patients, stays, reports and results; only of a type."""
    draft = arrive(text).draft
    assert draft is not None
    found = [linked(whole(one)) for person in draft.people for one in person.wanted if one.how != "known"]
    return [one for one in found if not type or one["resourceType"] == type]


def observations(text: str) -> list[Resource]:
    """Return the Observations that a message makes."""
    draft = arrive(text).draft
    assert draft is not None
    return [one for person in draft.people for report in person.reports for one in report.observations]


def rules(text: str) -> dict[str, str]:
    """Return the problems of a message: rule -> path."""
    return {problem.rule: problem.path for problem in arrive(text).problems}
