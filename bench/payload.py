"""What the scenarios send: an 831-byte blood-pressure Observation, a 0.5 kB ORU with six results."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

START = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))


def observation(number: int) -> bytes:
    """Return a blood-pressure Observation of one of 100 patients, a tenth of a minute apart."""
    at = START + timedelta(seconds=6 * number)  # each patient is measured every ten minutes

    def part(code: str, name: str, value: int) -> dict[str, object]:
        return {
            "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": name}]},
            "valueQuantity": {"value": value, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
        }

    resource = {
        "resourceType": "Observation",
        "status": "final",
        "category": [
            {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
                ]
            }
        ],
        "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9", "display": "Blood pressure panel"}]},
        "subject": {"reference": f"Patient/p{number % 100}"},
        "effectiveDateTime": at.isoformat(),
        "component": [part("8480-6", "Systolic", 112 + number % 20), part("8462-4", "Diastolic", 70 + number % 15)],
    }
    return json.dumps(resource, separators=(",", ":")).encode()


def oru(control: str, number: int) -> bytes:
    """Return an ORU^R01 with six results of one of 100 patients."""
    when = f"{START + timedelta(seconds=6 * number):%Y%m%d%H%M%S}"
    results = (
        ("8867-4", "FC", 60 + number % 30, "/min"),
        ("8310-5", "T", 37, "Cel"),
        ("718-7", "Hb", 12, "g/dL"),
        ("2823-3", "K", 4, "mmol/L"),
        ("2951-2", "Na", 140, "mmol/L"),
        ("2160-0", "Creat", 9, "mg/L"),
    )
    rows = [f"OBX|{n}|NM|{c}^{t}^LN||{v}|{u}|||||F|||{when}" for n, (c, t, v, u) in enumerate(results, 1)]
    lines = (
        f"MSH|^~\\&|DPI|CHU|HUB|REGION|{when}||ORU^R01^ORU_R01|{control}|P|2.5|||||FRA|UNICODE UTF-8",
        f"PID|||B{number % 100}^^^CHU&1.2.250.1.999.1&ISO^PI||BANC^Essai||19510423|F",
        f"OBR|1||L{control}|BILAN^Bilan^L|||{when}",
        *rows,
    )
    return ("\r".join(lines) + "\r").encode()
