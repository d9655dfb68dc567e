"""The hub's own French profiles: identity, practitioners, organizations, encounters.

Keys: numbers whose keys were worked out by hand, and examples of published guides that do not hold.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from fhir_server.profiles.builtin import definition, supported
from fhir_server.validation import validate
from tests.profiles import R4, errors, findings

BASE = "urn:predmp:StructureDefinition:"
CORE = "https://hl7.fr/ig/fhir/core/"
OID = "urn:oid:1.2.250.1.213.1.4."
NAMES = ["fr-encounter", "fr-organization", "fr-patient", "fr-patient-ins", "fr-practitioner"]


def extension(name: str, **facts: Any) -> dict[str, Any]:
    return {"url": f"{CORE}StructureDefinition/{name}", **facts}


def reliability(status: str, *comments: str) -> dict[str, Any]:
    parts = [{"url": "identityStatus", "valueCoding": {"code": status}}]
    parts += [{"url": "comment", "valueCoding": {"code": comment}} for comment in comments]
    return extension("fr-core-identity-reliability", extension=parts)


def born(code: str) -> dict[str, Any]:
    insee = extension("fr-core-address-insee-code", valueCoding={"code": code})
    return {"url": R4 + "patient-birthPlace", "valueAddress": {"extension": [insee]}}


def ins(
    value: str = "279035121518989", system: str = "8", type: str = "INS-NIR", use: str = "official"
) -> dict[str, Any]:
    coding = {"system": f"{CORE}CodeSystem/fr-core-cs-v2-0203", "code": type}
    return {"use": use, "type": {"coding": [coding]}, "system": OID + system, "value": value}


def patient() -> dict[str, Any]:
    """A patient with a qualified identity."""
    given = extension("fr-core-patient-birth-list-given-name", valueString="Jeanne Marie")
    return {
        "resourceType": "Patient",
        "extension": [reliability("QUAL"), born("63220")],
        "identifier": [ins()],
        "name": [{"use": "official", "family": "DURAND", "given": ["Jeanne"], "extension": [given]}],
        "gender": "female",
        "birthDate": "1979-03-12",
    }


def found(resource: dict[str, Any], name: str = "fr-patient-ins") -> list[str]:
    return errors(resource, named=(BASE + name,))


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_valid_itself_and_says_its_source(name: str) -> None:
    made = definition(BASE + name)
    assert made is not None
    assert validate(dict(made)) == []
    assert "FR Core" in made["description"]


def test_the_profiles_of_a_type_are_listed() -> None:
    assert supported("Patient") == (BASE + "fr-patient", BASE + "fr-patient-ins")
    assert {R4 + "bp", R4 + "vitalsigns"} < set(supported("Observation"))
    assert supported("Slot") == ()


def test_a_qualified_patient_conforms() -> None:
    assert found(patient()) == []
    assert findings(patient(), named=(BASE + "fr-patient",)) == []


@pytest.mark.parametrize(
    ("number", "is_right"),
    [
        pytest.param("207058575627097", True, id="a key"),
        pytest.param("153078987658513", True, id="a key of another number"),
        pytest.param("124018852493334", True, id="a third one"),
        pytest.param("185032A12345601", True, id="Corse-du-Sud, 2A as 19"),
        pytest.param("185032B12345628", True, id="Haute-Corse, 2B as 18"),
        pytest.param("123456789012345", False, id="an example of a draft guide, key 11"),
        pytest.param("123456789012244", False, id="an example of FR Core, key 12"),
        pytest.param("185032C12345601", False, id="a department that is none"),
        pytest.param("27903512151898", False, id="one digit short"),
        pytest.param("279035121518999", False, id="a wrong key"),
        pytest.param("579035121518989", False, id="a first digit that is none"),
    ],
)
def test_the_key_of_a_nir_is_checked(number: str, is_right: bool) -> None:
    made = patient() | {"identifier": [ins(number)]}
    assert (found(made) == []) is is_right
    assert set(found(made)) <= {"invariant Patient.identifier[0].value"}


def test_a_wrong_key_of_the_test_domain_warns() -> None:
    made = patient() | {"identifier": [ins("123456789012345", "10", "INS-NIR-TEST")]}
    assert [i.severity for i in findings(made, named=(BASE + "fr-patient-ins",))] == ["warning"]


def change(path: str, value: Any = None) -> dict[str, Any]:
    """Return the patient with the element at a path replaced, or taken away."""
    made = deepcopy(patient())
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    at: Any = made
    for part in way:
        at = at[part]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        pytest.param("birthDate", None, ["required Patient.birthDate"], id="the date of birth"),
        pytest.param("gender", None, ["invariant Patient", "required Patient.gender"], id="the gender"),
        pytest.param("gender", "other", ["invariant Patient"], id="a gender that civil status does not know"),
        pytest.param("identifier", None, ["invariant Patient", "invariant Patient"], id="the INS"),
        pytest.param("identifier.0.type", None, ["required Patient.identifier[0].type"], id="the type of the INS"),
        pytest.param("identifier.0.type", {"coding": [{"code": "NH"}]}, ["value Patient.identifier[0].type"], id="another type of the INS"),
        pytest.param("identifier.0.use", "usual", ["invariant Patient", "invariant Patient.identifier[0]"], id="an INS of another use"),
        pytest.param("identifier", [ins(), ins()], ["invariant Patient"], id="two official identities"),
        pytest.param("extension.0", reliability("PROV"), ["invariant Patient"], id="an INS on a provisional identity"),
        pytest.param("extension.0", reliability("VALI"), [], id="VALI with an INS, as FR Core 2.1 wrote it"),
        pytest.param("extension.0", reliability("QUAL", "DOUT"), ["invariant Patient.extension[0]"], id="a doubtful identity that is qualified"),
        pytest.param("extension.0", reliability("PROV", "DOUT", "FICT"), ["invariant Patient", "invariant Patient.extension[0]"], id="doubtful and fictitious"),
        pytest.param("extension.1", None, ["required Patient.extension"], id="the place of birth"),
        pytest.param("extension.1.valueAddress", {"city": "Lyon"}, ["required Patient.extension[1].value.extension"], id="the INSEE code of the place of birth"),
        pytest.param("extension.1", born("6322"), ["invariant Patient.extension[1].value.extension[0].value.code"], id="an INSEE code of 4 characters"),
        pytest.param("name.0.given", ["Jeanne", "Marie"], ["structure Patient.name[0].given"], id="a second given name"),
        pytest.param("name.0.extension", None, ["required Patient.name[0].extension"], id="the list of given names"),
        pytest.param("name.0.family", None, ["required Patient.name[0].family"], id="the family name"),
        pytest.param("name.0.use", "usual", ["required Patient.name"], id="the official name"),
    ],
)  # fmt: skip
def test_what_an_ins_needs(path: str, value: Any, where: list[str]) -> None:
    assert found(change(path, value)) == where


def severities(resource: dict[str, Any], name: str) -> list[str]:
    return sorted(issue.severity for issue in findings(resource, named=(BASE + name,)))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        *(pytest.param(n, [], id=f"{n} holds") for n in ("99700218896", "99700366240", "99700427885", "10002422979")),
        *(pytest.param(n, ["warning"], id=f"{n} warns") for n in ("05505123456", "01236479367")),
        pytest.param("9970021889", ["error"], id="ten digits"),
    ],
)
def test_an_rpps_number_has_its_key(number: str, expected: list[str]) -> None:
    rpps = {"system": "https://rpps.esante.gouv.fr", "value": number}
    assert severities({"resourceType": "Practitioner", "identifier": [rpps]}, "fr-practitioner") == expected


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        *(
            pytest.param({"system": "https://finess.esante.gouv.fr", "value": n}, [], id=f"{n} holds")
            for n in ("750100125", "750712184", "330780321", "0B0007712")
        ),
        pytest.param({"system": "https://finess.esante.gouv.fr", "value": "120459876"}, ["warning"], id="a wrong key"),
        pytest.param({"system": "https://finess.esante.gouv.fr", "value": "75010012"}, ["error"], id="eight digits"),
        pytest.param({"system": "https://sirene.fr"}, ["error", "error"][:1], id="no value"),
        pytest.param({"system": "urn:oid:1.2.250.1.71.4.2.2", "value": "1"}, ["error"], id="a national id that is not official"),
    ],
)  # fmt: skip
def test_an_organization_has_its_numbers(identifier: dict[str, Any], expected: list[str]) -> None:
    assert severities({"resourceType": "Organization", "identifier": [identifier]}, "fr-organization") == expected


def test_an_encounter_has_identifier_class_and_period() -> None:
    held = {"type": {"text": "VN"}, "system": "https://chu.example", "value": "1"}
    made: dict[str, Any] = {
        "resourceType": "Encounter",
        "status": "in-progress",
        "identifier": [held],
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "period": {"start": "2026-01-01"},
        "subject": {"reference": "Patient/1"},
    }
    assert found(made, "fr-encounter") == []
    for name, where in (("identifier", "identifier"), ("period", "period")):
        assert found({k: v for k, v in made.items() if k != name}, "fr-encounter") == [f"required Encounter.{where}"]
    assert found(made | {"class": {"code": "IMP"}}, "fr-encounter") == ["required Encounter.class.system"]
    assert found(made | {"subject": {"reference": "Group/1"}}, "fr-encounter") == ["structure Encounter.subject"]
    assert found(made | {"type": [{"text": "a"}, {"text": "b"}]}, "fr-encounter") == ["structure Encounter.type"]
