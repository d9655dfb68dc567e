"""The definitions say what R4 4.0.1 says, and the tool that compiles them reads a package rightly."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest

from fhir_server import definitions
from fhir_server.definitions import Structure, structure
from tools.definitions import Terminology, compartments, search_parameters


def test_the_file_is_small() -> None:
    assert len((files("fhir_server.definitions") / "r4.bin").read_bytes()) < 1_500_000


def test_the_version_is_4_0_1_everywhere() -> None:
    assert definitions.FHIR_VERSION == "4.0.1"
    assert definitions._file().version == "4.0.1"


def test_there_are_146_resource_types_and_no_abstract_one() -> None:
    types = definitions.resource_types()
    assert len(types) == 146
    assert {"Resource", "DomainResource"}.isdisjoint(types)
    assert all(structure(type).kind == "resource" for type in types)


@pytest.mark.parametrize(
    ("name", "kind", "base"),
    [
        pytest.param("Observation", "resource", "DomainResource", id="a resource"),
        pytest.param("Bundle", "resource", "Resource", id="a resource without narrative"),
        pytest.param("Age", "complex-type", "Quantity", id="a kind of Quantity"),
        pytest.param("code", "primitive-type", "string", id="a kind of string"),
        pytest.param("Observation.component", "backbone", "BackboneElement", id="an element with children"),
        pytest.param("Timing.repeat", "backbone", "Element", id="an element with children in a data type"),
    ],
)
def test_a_structure_knows_its_kind_and_base(name: str, kind: str, base: str) -> None:
    assert structure(name)[1:3] == (kind, base)


def test_an_unknown_structure_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        structure("Horoscope")


@pytest.mark.parametrize(
    ("owner", "name", "types", "choice", "least", "most"),
    [
        pytest.param("Observation", "status", ("code",), False, 1, 1, id="required"),
        pytest.param("Patient", "name", ("HumanName",), False, 0, None, id="a list"),
        pytest.param("Patient", "deceased", ("boolean", "dateTime"), True, 0, 1, id="a choice"),
        pytest.param("Observation", "component", ("Observation.component",), False, 0, None, id="children of its own"),
        pytest.param(
            "Observation.component",
            "referenceRange",
            ("Observation.referenceRange",),
            False,
            0,
            None,
            id="a content reference is resolved",
        ),
        pytest.param("Questionnaire.item", "item", ("Questionnaire.item",), False, 0, None, id="recursion"),
        pytest.param("Bundle.entry", "resource", ("Resource",), False, 0, 1, id="any resource"),
        pytest.param("Patient", "id", ("id",), False, 0, 1, id="a resource's id is an id"),
        pytest.param("HumanName", "id", ("string",), False, 0, 1, id="an element's id is a string"),
        pytest.param("Extension", "url", ("uri",), False, 1, 1, id="the url of an extension"),
        pytest.param("xhtml", "extension", ("Extension",), False, 0, 0, id="xhtml has no extensions"),
    ],
)
def test_an_element_has_its_types_and_cardinality(
    owner: str, name: str, types: tuple[str, ...], choice: bool, least: int, most: int | None
) -> None:
    element = structure(owner).elements[name]
    assert (element.types, element.choice, element.min, element.max) == (types, choice, least, most)


def test_a_binding_and_the_targets_of_a_reference_are_known() -> None:
    gender = structure("Patient").elements["gender"]
    assert (gender.binding, gender.strength) == ("http://hl7.org/fhir/ValueSet/administrative-gender", "required")
    assert structure("Patient").elements["managingOrganization"].targets == ("Organization",)
    assert structure("Observation").elements["focus"].targets == ("Resource",)


def test_an_invariant_stands_once_where_it_belongs() -> None:
    assert "obs-6" in _keys(structure("Observation"))
    assert "dom-3" in _keys(structure("Observation"))
    assert "ref-1" in _keys(structure("Reference"))
    assert structure("Observation").elements["subject"].constraints == ()


def test_a_simple_quantity_brings_its_invariant_to_the_element() -> None:
    low = structure("Observation.referenceRange").elements["low"]
    assert [c.key for c in low.constraints] == ["sqty-1"]


def _keys(owner: Structure) -> list[str]:
    return [constraint.key for constraint in owner.constraints]


def test_every_type_of_every_element_is_a_structure() -> None:
    names = set(definitions.structure_names()) | {"Resource"}
    for name in definitions.structure_names():
        for element in structure(name).elements.values():
            assert element.types, (name, element.name)
            assert names.issuperset(element.types), (name, element.name)


@pytest.mark.parametrize(
    ("owner", "key", "found"),
    [
        pytest.param("Observation", "valueQuantity", ("value", "Quantity"), id="a choice by its type"),
        pytest.param("Observation", "value", None, id="a choice without type is no key"),
        pytest.param("Observation", "valueAddress", None, id="a type that is not among the choices"),
        pytest.param("Observation", "code", ("code", "CodeableConcept"), id="a plain element"),
        pytest.param("Observation", "_status", None, id="what stands beside a primitive is no element"),
        pytest.param("Extension", "valueBase64Binary", ("value", "base64Binary"), id="a primitive among the choices"),
    ],
)
def test_a_json_key_names_an_element_and_its_type(owner: str, key: str, found: tuple[str, str] | None) -> None:
    property = definitions.property(owner, key)
    assert (property and (property[0].name, property[1])) == found


def test_what_comes_back_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        structure("Patient").elements["x"] = structure("Patient").elements["name"]  # type: ignore[index]


def test_the_codes_of_a_required_value_set_are_known() -> None:
    assert definitions.codes("http://hl7.org/fhir/ValueSet/administrative-gender") == frozenset(
        ("http://hl7.org/fhir/administrative-gender", code) for code in ("male", "female", "other", "unknown")
    )


def test_a_set_that_other_sets_make_up_is_expanded() -> None:
    types = definitions.codes("http://hl7.org/fhir/ValueSet/all-types")
    assert types is not None
    assert {"Patient", "Quantity", "Type", "Any"} <= {code for _, code in types}


def test_four_required_sets_cannot_be_named_from_the_package() -> None:
    unknown = {
        element.binding
        for name in definitions.structure_names()
        for element in structure(name).elements.values()
        if element.strength == "required" and definitions.codes(element.binding) is None
    }
    assert unknown == {
        "http://hl7.org/fhir/ValueSet/currencies",
        "http://hl7.org/fhir/ValueSet/mimetypes",
        "http://hl7.org/fhir/ValueSet/ucum-units",
        "http://loinc.org/vs/LL379-9",
    }


def test_search_parameters_are_those_of_r4() -> None:
    found = {parameter.url: parameter for parameter in definitions.search_parameters()}
    assert len(found) == 1387
    panel = found["http://hl7.org/fhir/SearchParameter/Observation-code-value-quantity"]
    assert (panel.code, panel.type, panel.base) == ("code-value-quantity", "composite", ("Observation",))
    assert panel.components == (
        ("http://hl7.org/fhir/SearchParameter/clinical-code", "code"),
        ("http://hl7.org/fhir/SearchParameter/Observation-value-quantity", "value.as(Quantity)"),
    )


def test_the_patient_compartment_is_known() -> None:
    patient = definitions.compartment("Patient")
    assert patient["Observation"] == ("subject", "performer")
    assert "Practitioner" not in patient
    with pytest.raises(KeyError):
        definitions.compartment("Horoscope")


SYSTEM = {
    "url": "urn:s",
    "content": "complete",
    "concept": [
        {"code": "a", "concept": [{"code": "b"}]},
        {"code": "c", "property": [{"code": "subsumedBy", "valueCode": "a"}]},
        {"code": "d"},
    ],
}


def _expanded(compose: dict[str, Any]) -> set[str] | None:
    sets = [{"url": "urn:v", "compose": compose}, {"url": "urn:w", "compose": {"include": [{"system": "urn:s"}]}}]
    found = Terminology({"CodeSystem": [SYSTEM], "ValueSet": sets}).expand("urn:v|4.0.1")
    return None if found is None else {code for _, code in found}


def _filter(op: str) -> dict[str, Any]:
    return {"include": [{"system": "urn:s", "filter": [{"property": "concept", "op": op, "value": "a"}]}]}


@pytest.mark.parametrize(
    ("compose", "codes"),
    [
        pytest.param({"include": [{"system": "urn:s"}]}, {"a", "b", "c", "d"}, id="a whole system, nested codes too"),
        pytest.param({"include": [{"system": "urn:x", "concept": [{"code": "q"}]}]}, {"q"}, id="codes that are listed"),
        pytest.param({"include": [{"system": "urn:x"}]}, None, id="a system that the package has not"),
        pytest.param(_filter("is-a"), {"a", "b", "c"}, id="is-a, by nesting and by subsumedBy"),
        pytest.param(_filter("descendent-of"), {"b", "c"}, id="descendent-of leaves the code itself out"),
        pytest.param(_filter("is-not-a"), {"d"}, id="is-not-a"),
        pytest.param(_filter("regex"), None, id="a filter that is not understood"),
        pytest.param({"include": [{"valueSet": ["urn:w"]}]}, {"a", "b", "c", "d"}, id="another value set"),
        pytest.param({"include": [{"valueSet": ["urn:none"]}]}, None, id="a value set that the package has not"),
        pytest.param(
            {"include": [{"system": "urn:s", "concept": [{"code": "a"}], "valueSet": ["urn:w"]}]},
            {"a"},
            id="codes and a value set: what is in both",
        ),
        pytest.param(
            {"include": [{"system": "urn:s"}], "exclude": [{"system": "urn:s", "concept": [{"code": "d"}]}]},
            {"a", "b", "c"},
            id="codes that are taken out",
        ),
    ],
)
def test_a_value_set_is_expanded(compose: dict[str, Any], codes: set[str] | None) -> None:
    assert _expanded(compose) == codes


def test_examples_of_search_parameters_and_compartments_are_left_out() -> None:
    parameter = {"code": "x", "type": "token", "base": ["Patient"]}
    package: dict[str, list[dict[str, Any]]] = {
        "SearchParameter": [
            {**parameter, "url": "http://hl7.org/fhir/SearchParameter/example"},
            {**parameter, "url": "http://hl7.org/fhir/SearchParameter/Patient-x"},
            {"url": "http://hl7.org/fhir/SearchParameter/no-base", "code": "x", "type": "token"},
        ],
        "CompartmentDefinition": [
            {"url": "http://hl7.org/fhir/CompartmentDefinition/example", "code": "Device", "resource": []},
            {
                "url": "http://hl7.org/fhir/CompartmentDefinition/patient",
                "code": "Patient",
                "resource": [{"code": "Account", "param": ["subject"]}, {"code": "Basic"}],
            },
        ],
    }
    assert [row[0] for row in search_parameters(package)] == ["http://hl7.org/fhir/SearchParameter/Patient-x"]
    assert compartments(package) == {"Patient": {"Account": ["subject"]}}
