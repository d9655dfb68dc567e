"""The people of the demonstration: invented, with test-domain INS numbers that belong to nobody."""

from __future__ import annotations

from typing import Any, NamedTuple

INS_TEST_OID = "1.2.250.1.213.1.4.10"  # the INS test domain; real numbers are never under it
FACILITY_OID = "1.2.250.1.999.18"
VENDORS = ("TéléCœur", "PneumoSuivi")


class Person(NamedTuple):
    """A patient of the demonstration."""

    local: str  # the hospital's number
    family: str
    given: str
    sex: str  # M F
    birth: str  # YYYYMMDD
    condition: str
    device: str  # serial number of their home kit

    @property
    def ins(self) -> str:
        """A made-up registration number with a right key: sex, year, month, department 18, commune 999, order."""
        order = int(self.local[-3:])
        number = f"{'1' if self.sex == 'M' else '2'}{self.birth[2:4]}{self.birth[4:6]}18999{order:03d}"
        return f"{number}{97 - int(number) % 97:02d}"


PEOPLE = (
    Person("D001", "EXEMPLE-DUPOND", "Amélie", "F", "19510423", "Insuffisance cardiaque", "KIT-001"),
    Person("D002", "EXEMPLE-LEFÈVRE", "Jean-René", "M", "19471130", "BPCO", "KIT-002"),
    Person("D003", "EXEMPLE-ŒUVRARD", "Zoé", "F", "19630208", "Diabète de type 2", "KIT-003"),
    Person("D004", "EXEMPLE-NOËL", "Maëlys", "F", "19580717", "Hypertension artérielle", "KIT-004"),
    Person("D005", "EXEMPLE-GARÇON", "Loïc", "M", "19390512", "Insuffisance cardiaque", "KIT-005"),
)


def admission(person: Person, control: str, when: str, event: str = "A01") -> str:
    """Return an ADT message of the hospital."""
    visit = f"V{person.local}"
    return "\r".join(
        (
            f"MSH|^~\\&|DPI|CH EXEMPLE|HUB|REGION|{when}||ADT^{event}^ADT_A01|{control}|P|2.5|||||FRA|UNICODE UTF-8",
            f"EVN||{when}",
            f"PID|||{person.local}^^^CH EXEMPLE&{FACILITY_OID}&ISO^PI"
            f"~{person.ins}^^^ASIP-SANTE-INS-NIR&{INS_TEST_OID}&ISO^INS||{person.family}^{person.given}^^^^^L||"
            f"{person.birth}|{person.sex}|||1 RUE DE L’EXEMPLE^^BOURGES^^18000^FRA",
            f"PV1||I|MED^101^1^CH EXEMPLE|R|||^MARTIN^LUC||||||||||||{visit}|||||||||||||||||||||||||{when}",
            "",
        )
    )


def results(person: Person, control: str, when: str, rows: list[tuple[str, str, str, str]]) -> str:
    """Return an ORU message with rows of (LOINC code, text, value, unit)."""
    lines = [f"OBX|{n}|NM|{c}^{t}^LN||{v}|{u}|||||F|||{when}" for n, (c, t, v, u) in enumerate(rows, 1)]
    return "\r".join(
        (
            f"MSH|^~\\&|LABO|CH EXEMPLE|HUB|REGION|{when}||ORU^R01^ORU_R01|{control}|P|2.5|||||FRA|UNICODE UTF-8",
            f"PID|||{person.local}^^^CH EXEMPLE&{FACILITY_OID}&ISO^PI||{person.family}^{person.given}||"
            f"{person.birth}|{person.sex}",
            f"OBR|1||L{control}|BILAN^Bilan sanguin^L|||{when}",
            *lines,
            "",
        )
    )


def reading(id: str, code: str, value: str, unit: str, at: str) -> dict[str, Any]:
    """Return one reading of a home kit."""
    return {"id": id, "code": code, "value": value, "unit": unit, "at": at}


def pressure(id: str, systolic: str, diastolic: str, at: str) -> dict[str, Any]:
    """Return one blood-pressure reading of a home kit."""
    parts = (("8480-6", systolic), ("8462-4", diastolic))
    return {
        "id": id,
        "code": "85354-9",
        "at": at,
        "components": [{"code": code, "value": value, "unit": "mm[Hg]"} for code, value in parts],
    }


def consent(patient: str, organization: str, status: str, at: str) -> dict[str, Any]:
    """Return a patient's permission for a vendor."""
    return {
        "resourceType": "Consent",
        "status": status,
        "scope": _coded("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
        "category": [_coded("http://loinc.org", "59284-0")],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": at,
        "policyRule": _coded("http://terminology.hl7.org/CodeSystem/v3-ActCode", "OPTIN"),
        "provision": {
            "type": "permit",
            "actor": [
                {
                    "role": _coded("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"),
                    "reference": {"reference": f"Organization/{organization}"},
                }
            ],
        },
    }


def _coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}
