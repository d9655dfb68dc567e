"""`$graphql` over real HTTP: R4's GraphQL, its bounds, and consent on each resource."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.http.record import Record, audited, make_record, stranger, vital
from tests.running import RunningHub

NAMES = [
    {"use": "official", "family": "Dossier", "given": ["Ève", "Anne"]},
    {"use": "nickname", "given": ["Évie"]},
]


@pytest.fixture(scope="module")
def record(hub: RunningHub) -> Record:
    made = make_record(hub)
    patient = hub.request("GET", f"/fhir/{made.patient}").json() | {"name": NAMES, "_birthDate": {"id": "b"}}
    assert hub.request("PUT", f"/fhir/{made.patient}", json=patient).status_code == 200
    return made


def ask(record: Record, query: str, place: str = "", token: str = "", status: int = 200, **more: Any) -> Any:
    path = f"/fhir/{place}{'/' if place else ''}$graphql"
    answer = record.hub.request("POST", path, json={"query": query, **more}, token=token)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    return answer.json()


def id_of(reference: str) -> str:
    return reference.partition("/")[2]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        pytest.param("birthDate gender", {"birthDate": "1951-04-23", "gender": "female"}, id="plain fields"),
        pytest.param("born: birthDate", {"born": "1951-04-23"}, id="an alias"),
        pytest.param("deceasedBoolean telecom { value }", {"deceasedBoolean": None, "telecom": None}, id="what is not there is null"),
        pytest.param("__typename resourceType", {"__typename": "Patient", "resourceType": "Patient"}, id="names of types"),
        pytest.param("_birthDate { id }", {"_birthDate": {"id": "b"}}, id="what is beside a primitive"),
        pytest.param("name(use: official) { family }", {"name": [{"family": "Dossier"}]}, id="elements by a value"),
        pytest.param("name(use: [nickname, old]) { given }", {"name": [{"given": ["Évie"]}]}, id="elements by values"),
        pytest.param('name(fhirpath: "given.count() > 1") { use }', {"name": [{"use": "official"}]}, id="elements by FHIRPath"),
        pytest.param("name(_offset: 1, _count: 1) { use }", {"name": [{"use": "nickname"}]}, id="elements by place"),
        pytest.param("name { given(_count: 1) }", {"name": [{"given": ["Ève"]}, {"given": ["Évie"]}]}, id="plain elements by place"),
        pytest.param("name @first { use }", {"name": {"use": "official"}}, id="@first"),
        pytest.param("name @flatten { given }", {"given": ["Ève", "Anne", "Évie"]}, id="@flatten"),
        pytest.param("name @flatten { family @singleton }", {"family": "Dossier"}, id="@flatten and @singleton"),
        pytest.param("name @first @flatten { family }", {"family": "Dossier"}, id="@first and @flatten"),
        pytest.param('name @flatten @slice(fhirpath: "use") { given }', {"given.official": ["Ève", "Anne"], "given.nickname": ["Évie"]}, id="@slice of what is flattened"),
        pytest.param('name @flatten @slice(path: "use") { given @first @singleton }', {"given.official": "Ève", "given.nickname": "Évie"}, id="@slice as R4's examples write it"),
        pytest.param('name @slice(fhirpath: "$index") { use }', {"name.0": {"use": "official"}, "name.1": {"use": "nickname"}}, id="@slice by place"),
        pytest.param("gender @skip(if: true) id @include(if: false) birthDate", {"birthDate": "1951-04-23"}, id="@skip and @include"),
        pytest.param("...Born ... on Patient { gender } ... on Group { quantity }", {"birthDate": "1951-04-23", "gender": "female"}, id="fragments"),
        pytest.param("name(use: official) { family } name(use: official) { use }", {"name": [{"family": "Dossier", "use": "official"}]}, id="selections of one field are joined"),
        pytest.param("managingOrganization { resource { ... on Organization { name } } }", {"managingOrganization": {"resource": {"name": "Clinique d'essai"}}}, id="a reference"),
        pytest.param("managingOrganization { resource(type: Patient) { id } }", {"managingOrganization": {"resource": None}}, id="a reference to another type"),
        pytest.param("managingOrganization { resource(type: Patient) { id } resource(type: Organization) { name } }", {"managingOrganization": {"resource": {"name": "Clinique d'essai"}}}, id="a reference to one of two types"),
        pytest.param("TaskList(_reference: patient) { status }", {"TaskList": [{"status": "ready"}]}, id="what refers here"),
    ],
)  # fmt: skip
def test_fields_of_a_patient(record: Record, selection: str, expected: dict[str, Any]) -> None:
    fragment = " fragment Born on Patient { birthDate }" if "...Born" in selection else ""
    at_system = ask(record, f'{{ Patient(id: "{id_of(record.patient)}") {{ {selection} }} }}{fragment}')
    at_instance = ask(record, f"{{ {selection} }}{fragment}", record.patient)
    assert at_system == {"data": {"Patient": expected}}
    assert at_instance == {"data": expected}


def test_the_query_comes_by_url_or_as_graphql_too(record: Record) -> None:
    query = f'query Q($id: ID!) {{ Patient(id: $id) {{ id }} }} query R {{ Patient(id: "{id_of(record.patient)}") {{ gender }} }}'
    url = f"/fhir/$graphql?query={quote(query)}&operationName=R"
    assert record.hub.request("GET", url).json() == {"data": {"Patient": {"gender": "female"}}}
    sent = record.hub.request(
        "POST", "/fhir/$graphql?operationName=R", content=query.encode(), Content_Type="application/graphql"
    )
    assert sent.json() == {"data": {"Patient": {"gender": "female"}}}
    named = ask(record, query, operationName="Q", variables={"id": id_of(record.patient)})
    assert named == {"data": {"Patient": {"id": id_of(record.patient)}}}


def test_decimals_keep_their_digits(record: Record) -> None:
    body = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.10}}'
    id = record.hub.request("POST", "/fhir/Observation", content=body).json()["id"]
    answer = record.hub.request("GET", f"/fhir/Observation/{id}/$graphql?query={quote('{ valueQuantity { value } }')}")
    assert answer.text == '{"data":{"valueQuantity":{"value":1.10}}}'


@pytest.mark.every_store
def test_lists_search_by_any_parameter(record: Record) -> None:
    query = '{ ObservationList(patient: "%s", code: "http://loinc.org|8867-4", _sort: "-date", date: "ge2026-01-02") { valueQuantity { value } } }'
    found = ask(record, query % record.patient)["data"]["ObservationList"]
    assert [one["valueQuantity"]["value"] for one in found] == [63, 62]
    few = ask(record, f'{{ ObservationList(patient: "{record.patient}", _count: 2) {{ id }} }}')
    assert len(few["data"]["ObservationList"]) == 2
    path = '{ ObservationList(patient: "%s", fhirpath: "value.value > 62") { valueQuantity { value } } }'
    assert ask(record, path % record.patient)["data"]["ObservationList"] == [{"valueQuantity": {"value": 63}}]
    composite = '{ ObservationList(patient: "%s", code_value_quantity: "8867-4$63") { id } }'
    assert len(ask(record, composite % record.patient)["data"]["ObservationList"]) == 1


@pytest.mark.every_store
def test_connections_page_by_cursor(record: Record) -> None:
    query = f"""
        query Page($cursor: String) {{
          ObservationConnection(patient: "{record.patient}", _sort: "date", pageSize: 2, cursor: $cursor) {{
            count pagesize next previous edges {{ mode resource {{ valueQuantity {{ value }} }} }}
          }}
        }}
    """  # fmt: skip
    values, cursor = [], None
    for _ in range(3):
        page = ask(record, query, variables={"cursor": cursor})["data"]["ObservationConnection"]
        assert (page["count"], page["pagesize"], page["previous"]) == (3, 2, None)
        values += [edge["resource"]["valueQuantity"]["value"] for edge in page["edges"]]
        if (cursor := page["next"]) is None:
            break
    assert values == [61, 62, 63]


def test_a_cursor_goes_on_by_itself(record: Record) -> None:
    def page(arguments: str, status: int = 200) -> Any:
        asked = f"{{ ObservationConnection({arguments}) {{ next edges {{ resource {{ id }} }} }} }}"
        return ask(record, asked, status=status)

    first = page(f'patient: "{record.patient}", _sort: "date", _count: 2')["data"]["ObservationConnection"]
    cursor = first["next"]
    for name in ("cursor", "_cursor"):
        second = page(f'{name}: "{cursor}"')["data"]["ObservationConnection"]
        assert (len(second["edges"]), second["next"]) == (1, None)
        assert second["edges"][0] not in first["edges"]
    for other in (f'cursor: "{cursor}", status: "final"', 'cursor: "AAAA"'):
        answer = page(other)
        assert answer["data"] == {"ObservationConnection": None}
        assert answer["errors"][0]["extensions"]["resource"]["resourceType"] == "OperationOutcome"


def test_what_refers_here_is_paged_too(record: Record) -> None:
    query = "{ ObservationConnection(_reference: subject, first: 1, _sort: date) { edges { resource { subject { reference } } } } }"
    edges = ask(record, query, record.patient)["data"]["ObservationConnection"]["edges"]
    assert edges == [{"resource": {"subject": {"reference": record.patient}}}]


@pytest.mark.every_store
def test_one_round_trip_shows_a_chart(record: Record) -> None:
    query = """
        query Chart($id: ID!, $from: String = "ge2026-01-03") {
          Patient(id: $id) {
            name @first @flatten { family given @first }
            MedicationRequestList(_reference: subject) {
              medicationReference { resource(type: Medication) { code { coding @flatten { code @singleton } } } }
            }
            pulses: ObservationList(_reference: subject, date: $from) {
              valueQuantity @flatten { value unit }
              performer { resource { ... on Patient { id } } }
            }
          }
        }
    """
    assert ask(record, query, variables={"id": id_of(record.patient)}) == {
        "data": {
            "Patient": {
                "family": "Dossier",
                "given": "Ève",
                "MedicationRequestList": [{"medicationReference": {"resource": {"code": {"code": "A10BA02"}}}}],
                "pulses": [{"value": 63, "unit": "/min", "performer": [{"resource": {"id": id_of(record.patient)}}]}],
            }
        }
    }


def test_contained_resources_are_followed_inside_of_their_own(record: Record) -> None:
    made = record.add(
        vital(record.patient, "1-8", 1, "2020-01-01", contained=[{"resourceType": "Device", "id": "d", "modelNumber": "M"}], device={"reference": "#d"})
    )  # fmt: skip
    found = ask(record, "{ device { resource { ... on Device { modelNumber } } } contained { resourceType } }", made)
    assert found == {"data": {"device": {"resource": {"modelNumber": "M"}}, "contained": [{"resourceType": "Device"}]}}


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "word"),
    [
        pytest.param("{ Patient(id: 1) { id }", "name is expected", id="a brace is missing"),
        pytest.param("{ Patient(id: 1) { nothing } }", "nothing", id="an unknown field"),
        pytest.param("{ Patient(id: 1) { name } }", "select", id="a field without its selection"),
        pytest.param("{ Patient(id: 1) { birthDate { x } } }", "plain", id="a selection of a plain value"),
        pytest.param("{ Nothing(id: 1) { id } }", "Nothing", id="an unknown type"),
        pytest.param("{ Patient { id } }", "id", id="a resource without an id"),
        pytest.param("{ Patient(id: 1) { name(nothing: 1) { use } } }", "nothing", id="an unknown argument"),
        pytest.param("{ Patient(id: 1) { id @nothing } }", "nothing", id="an unknown directive"),
        pytest.param("{ Patient(id: 1) { id @skip } }", "skip", id="a directive without its argument"),
        pytest.param("{ Patient(id: $x) { id } }", "$x", id="an unknown variable"),
        pytest.param("query($x: ID!) { Patient(id: $x) { id } }", "$x", id="a variable without a value"),
        pytest.param("query($x: Int = \"a\") { Patient(id: $x) { id } }", "$x", id="a value of another type"),
        pytest.param("{ ...A } fragment A on Patient { ...A }", "itself", id="a fragment in itself"),
        pytest.param("{ ...B }", "B", id="an unknown fragment"),
        pytest.param("mutation { PatientCreate { id } }", "mutation", id="a mutation"),
        pytest.param("{ __schema { types { name } } }", "introspection", id="introspection"),
        pytest.param("{ Patient(id: 1) { id id: gender } }", "alias", id="one name for two fields"),
        pytest.param("{ a: Patient(id: 1) { id } } { b: Patient(id: 1) { id } }", "name", id="two queries without names"),
        pytest.param("{" * 40 + "}" * 40, "", id="deep nesting"),
        pytest.param("{ Patient(id: 1) { " + "link { other { resource { ... on Patient { " * 9 + "id" + " } } } }" * 9 + " } }", "deeper", id="a deep query"),
        pytest.param("{ Patient(id: 1) { " + " ".join(f"a{n}: id" for n in range(2500)) + " } }", "2000", id="a wide query"),
        pytest.param("# " + "x" * 60_000, "longer", id="a long query"),
        pytest.param("", "no query", id="nothing"),
    ],
)  # fmt: skip
def test_a_query_that_cannot_run_is_refused(record: Record, query: str, word: str) -> None:
    answer = ask(record, query, status=400)
    assert answer.keys() == {"errors"}
    (error,) = answer["errors"]
    assert word in error["message"]
    (issue,) = error["extensions"]["resource"]["issue"]
    assert (issue["severity"], issue["diagnostics"]) == ("error", error["message"])


def test_an_error_says_where_it_is(record: Record) -> None:
    answer = ask(record, "{\n  Patient(id: 1) {\n    nothing\n  }\n}", status=400)
    assert answer["errors"][0]["locations"] == [{"line": 3, "column": 5}]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        pytest.param('{ Patient(id: "nobody") { id } }', ["Patient"], id="a resource that is not there"),
        pytest.param('{ PatientList(nothing: "x") { id } }', ["PatientList"], id="an unknown search parameter"),
        pytest.param('{ PatientList(_include: "x") { id } }', ["PatientList"], id="an include"),
        pytest.param('{ ObservationConnection(cursor: "AAAA") { next } }', ["ObservationConnection"], id="a forged cursor"),
    ],
)  # fmt: skip
def test_a_field_that_fails_is_null_and_named(record: Record, query: str, path: list[str]) -> None:
    answer = ask(record, query)
    assert answer["data"] == {path[0]: None}
    assert answer["errors"][0]["path"] == path


def test_a_reference_to_nothing_is_an_error_unless_optional(record: Record) -> None:
    made = record.add(vital(record.patient, "1-8", 1, "2020-01-01", performer=[{"reference": "Practitioner/nobody"}]))
    strict = ask(record, "{ performer { resource { id } } }", made)
    assert strict["data"] == {"performer": [{"resource": None}]} and len(strict["errors"]) == 1
    assert ask(record, "{ performer { resource(optional: true) { id } } }", made) == {"data": strict["data"]}


def test_a_query_that_reads_too_much_is_refused(record: Record) -> None:
    aliases = " ".join(f'a{n}: ObservationList(_id: "x{n}") {{ id }}' for n in range(300))
    assert "searches" in ask(record, f"{{ {aliases} }}", status=400)["errors"][0]["message"]


# --- consent ----------------------------------------------------------------------------------------------


@pytest.mark.every_store
def test_a_stranger_is_told_nothing(record: Record) -> None:
    token = stranger(record.hub)
    query = f"""{{
        Patient(id: "{id_of(record.patient)}") {{ id }}
        ObservationList(patient: "{record.patient}") {{ id }}
        ObservationConnection(patient: "{record.patient}") {{ count edges {{ mode }} }}
    }}"""  # fmt: skip
    hidden = ask(record, query, token=token)
    assert hidden["data"] == {
        "Patient": None, "ObservationList": [], "ObservationConnection": {"count": 0, "edges": []}
    }  # fmt: skip
    absent = ask(record, '{ Patient(id: "nobody") { id } }', token=token)
    assert [e["message"] for e in hidden["errors"]] == [e["message"] for e in absent["errors"]]
    instance = record.hub.request("POST", f"/fhir/{record.patient}/$graphql", json={"query": "{ id }"}, token=token)
    assert instance.status_code == 404


def test_a_hidden_patient_is_not_reached_by_reference(record: Record) -> None:
    """Who sees one patient's Observation learns nothing of another whom it is about too."""
    mine, other = make_record(record.hub, 1), make_record(record.hub, 1)
    member = {"member": {"reference": mine.doctor}}
    mine.add({"resourceType": "CareTeam", "status": "active", "subject": {"reference": mine.patient}, "participant": [member]})  # fmt: skip
    token = record.hub.token("system/*.cruds", actor=mine.doctor)
    query = "{ subject { resource { ... on Patient { gender } } } focus { resource { id } } }"
    answers = [
        ask(record, query, mine.add(vital(mine.patient, "1-8", 1, "2020", focus=[{"reference": focus}])), token=token)
        for focus in (other.patient, "Patient/nobody")
    ]
    assert answers[0]["data"] == {"subject": {"resource": {"gender": "female"}}, "focus": [{"resource": None}]}
    assert answers[0] == answers[1]
    lists = '{ PatientList(_id: "%s") { id } Patient(id: "%s") { ObservationList(_reference: focus) { id } } }'
    seen = ask(record, lists.replace("%s", id_of(mine.patient)), token=token)["data"]
    hidden = ask(record, lists.replace("%s", id_of(other.patient)), token=token)["data"]
    assert seen == {"PatientList": [{"id": id_of(mine.patient)}], "Patient": {"ObservationList": []}}
    assert hidden == {"PatientList": [], "Patient": None}


def test_scopes_hold_for_each_type(record: Record) -> None:
    token = record.hub.token("system/Patient.rs")
    answer = ask(record, "{ gender managingOrganization { resource { id } } TaskList(_reference: patient) { id } }", record.patient, token=token)  # fmt: skip
    assert answer["data"] == {"gender": "female", "managingOrganization": {"resource": None}, "TaskList": None}
    assert len(answer["errors"]) == 2
    assert ask(record, '{ PatientList(_id: "x") { id } }', token=token) == {"data": {"PatientList": []}}


@pytest.mark.durable_stores
def test_each_resource_is_audited(record: Record) -> None:
    ask(record, f'{{ Patient(id: "{id_of(record.patient)}") {{ id }} ObservationList(patient: "{record.patient}") {{ id }} }}')  # fmt: skip
    assert record.patient in audited(record.hub, "read", id_of(record.patient))
    assert "Observation" in audited(record.hub, "search", id_of(record.patient))


@pytest.mark.parametrize("form", ["application/fhir+json", "application/fhir+xml"])
def test_a_batch_carries_the_answer_as_a_binary_for_it_is_no_resource(record: Record, form: str) -> None:
    queries = ("{ name { family } }", "{ nonsense }")
    url = f"{record.patient}/$graphql?query="
    entries = [{"request": {"method": "GET", "url": url + quote(query)}} for query in queries]
    asked = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    sent = record.hub.request("POST", "/fhir", json=asked, Accept=form)
    assert sent.headers["content-type"].startswith(form)
    answer = record.hub.request(
        "POST", "/fhir/$convert", content=sent.content, Content_Type=form, Accept="application/fhir+json"
    ).json()
    told = [entry["resource"] for entry in answer["entry"]]
    assert {one["resourceType"] for one in told} == {"Binary"}
    assert {one["contentType"] for one in told} == {"application/json"}
    good, bad = (json.loads(base64.b64decode(one["data"])) for one in told)
    assert good == ask(record, queries[0], record.patient)
    assert "nonsense" in bad["errors"][0]["message"]
    assert [entry["response"]["status"] for entry in answer["entry"]] == ["200 OK", "400"]


def test_a_parameter_of_the_url_that_a_query_does_not_have_is_refused(record: Record) -> None:
    url = f"/fhir/{record.patient}/$graphql?query={quote('{ id }')}"
    assert record.hub.request("GET", url + "&_format=json&extensions=%7B%7D").status_code == 200
    refused = record.hub.request("GET", url + "&quary=x")
    assert refused.status_code == 400
    assert "quary" in refused.json()["errors"][0]["message"]
