"""The pairs of `test_hl7_pairs` that are about people, stays and insurance, read as an admission says them.

CDC's messages are results; here they get the event of an admission, since only a feed that leads on identity says who
the next of kin are. Compared as there: sets of (path, value) without references and extensions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from adapters.hl7.arrival import Arrival, read
from fhir_server.validation import validate
from tests.hl7_messages import resources
from tests.unit.test_hl7_pairs import CHANNEL, FOLDER, content, prepared

TYPES = ("Patient", "RelatedPerson", "Encounter", "Coverage")
PARTS = ("aui", "cx", "dld", "dr", "dtm", "ei", "hd", "in1", "nk1", "pid", "pl", "pt", "pv1pv2", "xad", "xcn", "xtn")
PAIRS = sorted(
    path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.hl7") if path.relative_to(FOLDER).parts[0] in PARTS
)

pytestmark = pytest.mark.skipif(not PAIRS, reason=f"the message pairs are not at {FOLDER}")

AUTHORITY = "theirs is no URI; ours is that of the authority's universal id, else the sending facility's"
EMPTY = "a number without a number is left out here"
KEPT = "no SSN is read outside the United States"

DIFFERENCES: dict[str, str] = {
    "Coverage.relationship.coding.code": "ours is the code of the guide's table Relationship",
    "Encounter.class.display": "ours is the table's",
    "Encounter.hospitalization.preAdmissionIdentifier.system": AUTHORITY,
    "Encounter.identifier.system": AUTHORITY,
    "Encounter.length": "ours is UCUM's day, theirs a text",
    "Encounter.location.status": "without a number there is no stay here, so no place of it",
    "Encounter.serviceType.coding.code": "ours is the code of the guide's table HospitalService",
    "Encounter.status": "the event of an admission decides before the class does",
    "Patient.contact.relationship.coding.system": AUTHORITY,
    "Patient.deceasedDateTime": "a time without offset is in that of MSH-7 here, in UTC there",
    "Patient.identifier.system": AUTHORITY,
    "Patient.link.type": "the mother is a RelatedPerson of the patient; no link beside it",
    "RelatedPerson.address.period": "the same instants, in the offset that the message wrote",
    "RelatedPerson.identifier": KEPT,
    "RelatedPerson.name": "whom a policy is of (IN1-16) is named in the Coverage; no RelatedPerson is made",
    "RelatedPerson.relationship.coding.system": AUTHORITY,
    "RelatedPerson.telecom": EMPTY,
}
"""What the other converter has and ours has not, by the beginning of its path, with the reason."""


def arrive(name: str) -> Arrival:
    raw = prepared((FOLDER / name).read_bytes())
    kind = rb"\|(ORU\^R01(\^ORU_R01)?|ORM\^O01(\^ORM_O01)?|OML\^O21(\^OML_O21)?)"
    return read(CHANNEL, re.sub(kind, rb"|ADT^A01^ADT_A01", raw, count=1))


def leaves(found: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {leaf for r in found if r["resourceType"] in TYPES for leaf in content(r, r["resourceType"])}


def missing(name: str) -> Iterator[str]:
    """Yield the paths of what theirs has and ours has not."""
    bundle = json.loads((FOLDER / name).with_suffix(".fhir").read_text("utf-8"), parse_float=Decimal)
    theirs = leaves([entry["resource"] for entry in bundle["entry"]])
    yield from (path for path, _ in theirs - leaves(resources(arrive(name))))


@pytest.mark.parametrize("name", PAIRS)
def test_the_content_agrees_or_the_difference_is_known_and_all_is_valid(name: str) -> None:
    found = arrive(name)
    assert found.fault is None
    for resource in resources(found):
        assert [i for i in validate(resource) if i.severity in ("error", "fatal")] == []
    assert {path for path in missing(name) if not path.startswith(tuple(DIFFERENCES))} == set()


def test_every_known_difference_occurs() -> None:
    found = {path for name in PAIRS for path in missing(name)}
    assert {known for known in DIFFERENCES if not any(path.startswith(known) for path in found)} == set()
