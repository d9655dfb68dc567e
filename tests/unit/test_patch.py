"""PATCH documents: what each format does, what it refuses, and what never happens."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.errors import FhirError
from fhir_server.patch import fhirpath_patch, json_patch, merge_patch, read, settled

JSON, MERGE, PATH = "application/json-patch+json", "application/merge-patch+json", "application/fhir+json"
PATIENT = gate.parse_resource(
    b'{"resourceType":"Patient","id":"a","meta":{"versionId":"3","lastUpdated":"2026-01-01T00:00:00Z"},'
    b'"name":[{"family":"Secret","given":["Zo","Ann"],"_given":[null,{"id":"g"}]}],"birthDate":"1951-04-23"}'
)
PULSE = gate.parse_resource(
    b'{"resourceType":"Observation","status":"final","code":{"text":"pulse"},'
    b'"valueQuantity":{"value":1.10,"unit":"/min"},"note":[{"text":"x"}]}'
)


def operation(type: str, path: str, **parts: Any) -> dict[str, Any]:
    """Return Parameters with one operation; a part is a (key, value), an int, or a string for the name."""
    made: list[dict[str, Any]] = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    for name, part in parts.items():
        key, value = {int: ("valueInteger", part), str: ("valueString", part)}.get(part.__class__, part)
        made.append({"name": name, key: value})
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": made}]}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("Patient.name.given[0]", {"given": ["X", "Ann"], "_given": [None, {"id": "g"}]}, id="by index"),
        pytest.param("Patient.name.given.where($this = 'Ann')", {"given": ["Zo", "X"]}, id="a primitive by its value"),
        pytest.param("Patient.name.given.last()", {"given": ["Zo", "X"]}, id="the last one, and its id goes"),
        pytest.param("name.family", {"family": "X", "given": ["Zo", "Ann"]}, id="without the type in front"),
    ],
)
def test_fhirpath_replaces_the_one_element_it_leads_to(path: str, expected: dict[str, Any]) -> None:
    made = fhirpath_patch.apply(PATIENT, operation("replace", path, value="X"))
    assert expected.items() <= made["name"][0].items()


def test_fhirpath_keeps_primitives_and_their_extensions_side_by_side() -> None:
    moved = fhirpath_patch.apply(PATIENT, operation("move", "Patient.name.given", source=1, destination=0))
    assert moved["name"][0] == {"family": "Secret", "given": ["Ann", "Zo"], "_given": [{"id": "g"}, None]}
    inserted = fhirpath_patch.apply(PATIENT, operation("insert", "Patient.name.given", index=0, value="N"))
    assert inserted["name"][0]["_given"] == [None, None, {"id": "g"}]
    deleted = fhirpath_patch.apply(PATIENT, operation("delete", "Patient.name.given[0]"))
    assert deleted["name"][0] == {"family": "Secret", "given": ["Ann"], "_given": [{"id": "g"}]}
    more = {"url": "urn:x", "valueCode": "unknown"}
    added = fhirpath_patch.apply(
        PATIENT, operation("add", "Patient.birthDate", name="extension", value=("valueExtension", more))
    )
    assert added["_birthDate"] == {"extension": [more]}


def test_fhirpath_gives_a_choice_another_type_and_leaves_the_order() -> None:
    made = fhirpath_patch.apply(PULSE, operation("replace", "Observation.value", value=70))
    assert list(made) == ["resourceType", "status", "code", "valueInteger", "note"]
    with pytest.raises(FhirError) as raised:
        fhirpath_patch.apply(PULSE, operation("add", "Observation", name="value", value=7))
    assert raised.value.status == 422


def test_a_delete_of_what_is_not_there_changes_nothing() -> None:
    assert fhirpath_patch.apply(PATIENT, operation("delete", "Patient.gender")) == PATIENT


def in_turn(*made: dict[str, Any]) -> dict[str, Any]:
    """Return Parameters with the operations of others, in order."""
    return {"resourceType": "Parameters", "parameter": [one for other in made for one in other["parameter"]]}


ODD = operation("add", "Patient", name="name", value=("valueHumanName", {"given": "x"}))
ODDER = operation("add", "Patient", name="name", value=("valueHumanName", {"given": [{"a": 1}]}))
GIVEN = operation("add", "Patient.name[1]", name="given", value="y")
INTO = operation("insert", "Patient.name[1].given", index=0, value="y")
DOUBLING = [{"op": "add", "path": "/x", "value": []}, *[{"op": "copy", "from": "", "path": "/x/-"}] * 90]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        pytest.param(["/telecom/0", "/telecom/0"], {"contact": [{"name": {"text": "a"}}]}, id="the last of a list"),
        pytest.param(["/contact/0/name/text"], {"telecom": [{"value": "1"}, {"value": "2"}]}, id="all within"),
        pytest.param(["/contact/0/name/text", "/telecom/0", "/telecom/0"], {}, id="both"),
    ],
)
def test_a_removal_leaves_nothing_empty_behind(patch: list[str], expected: dict[str, Any]) -> None:
    given = {"telecom": [{"value": "1"}, {"value": "2"}], "contact": [{"name": {"text": "a"}}]}
    before = {"resourceType": "Patient", "id": "a", **copy.deepcopy(given)}
    made = json_patch.apply(before, [{"op": "remove", "path": path} for path in patch])
    assert made == {"resourceType": "Patient", "id": "a", **expected}
    assert before == {"resourceType": "Patient", "id": "a", **given}, "what was patched stays as it was"


def test_a_list_that_is_filled_again_stays() -> None:
    patch = [{"op": "remove", "path": "/name/0"}, {"op": "add", "path": "/name/-", "value": {"text": "b"}}]
    made = json_patch.apply({"resourceType": "Patient", "name": [{"text": "a"}]}, patch)
    assert made["name"] == [{"text": "b"}]


@pytest.mark.parametrize(
    ("kind", "document", "status"),
    [
        pytest.param(JSON, {}, 400, id="JSON: no list"),
        pytest.param(JSON, [1], 400, id="JSON: an operation that is no object"),
        pytest.param(JSON, [{"op": ["add"], "path": "/a", "value": 1}], 400, id="JSON: an operation that is a list"),
        pytest.param(JSON, [{"op": "add", "path": "/a"}], 400, id="JSON: no value"),
        pytest.param(JSON, [{"op": "add", "path": "a", "value": 1}], 400, id="JSON: a pointer without a slash"),
        pytest.param(JSON, [{"op": "add", "path": "/~2", "value": 1}], 400, id="JSON: a broken escape"),
        pytest.param(JSON, [{"op": "copy", "path": "/a"}], 400, id="JSON: a copy from nowhere"),
        pytest.param(JSON, [{"op": "move", "from": "/name", "path": "/name/0"}], 400, id="JSON: a move into itself"),
        pytest.param(JSON, [{"op": "test", "path": "/id", "value": "b"}], 422, id="JSON: a test that fails"),
        pytest.param(JSON, [{"op": "remove", "path": "/gender"}], 422, id="JSON: a path that is not there"),
        pytest.param(JSON, [{"op": "remove", "path": "/name/00"}], 422, id="JSON: an index with a leading zero"),
        pytest.param(JSON, [{"op": "remove", "path": "/name/-"}], 422, id="JSON: the element after the last"),
        pytest.param(JSON, [{"op": "add", "path": "/name/2", "value": 1}], 422, id="JSON: behind the end of a list"),
        pytest.param(JSON, [{"op": "add", "path": "/birthDate/x", "value": 1}], 422, id="JSON: below a string"),
        pytest.param(JSON, [{"op": "remove", "path": ""}], 422, id="JSON: the whole resource away"),
        pytest.param(JSON, [{"op": "replace", "path": "", "value": 1}], 422, id="JSON: no resource left"),
        pytest.param(JSON, [{"op": "remove", "path": "/meta"}], 422, id="JSON: the server's meta"),
        pytest.param(JSON, [{"op": "test", "path": "", "value": 1}] * 1001, 400, id="JSON: too many operations"),
        pytest.param(JSON, DOUBLING, 400, id="JSON: copies that double"),
        pytest.param(JSON, [{"op": "add", "path": "/a" * 65, "value": 1}], 400, id="JSON: a pointer too deep"),
        pytest.param(MERGE, [], 400, id="merge: no object"),
        pytest.param(MERGE, {"id": None}, 422, id="merge: no id"),
        pytest.param(MERGE, {"resourceType": "Group"}, 422, id="merge: another type"),
        pytest.param(MERGE, {"meta": {"versionId": "4"}}, 422, id="merge: another version"),
        pytest.param(PATH, {}, 400, id="FHIRPath: no Parameters"),
        pytest.param(PATH, operation("spam", "Patient"), 400, id="FHIRPath: an unknown operation"),
        pytest.param(PATH, operation("add", "Patient"), 400, id="FHIRPath: an add of nothing"),
        pytest.param(PATH, operation("delete", "Patient.("), 400, id="FHIRPath: a path that is none"),
        pytest.param(PATH, operation("delete", "id.matches('a')"), 400, id="FHIRPath: a regular expression"),
        pytest.param(PATH, operation("delete", "1 | 2"), 422, id="FHIRPath: no element"),
        pytest.param(PATH, operation("delete", "Patient.name.given"), 422, id="FHIRPath: several elements"),
        pytest.param(PATH, operation("delete", "Patient"), 422, id="FHIRPath: the whole resource away"),
        pytest.param(PATH, operation("replace", "gender", value=("valueCode", "male")), 422, id="FHIRPath: nothing there"),
        pytest.param(PATH, operation("replace", "birthDate", value=("valuePeriod", {})), 422, id="FHIRPath: wrong type"),
        pytest.param(PATH, operation("replace", "birthDate", value=("valueDate", [1])), 400, id="FHIRPath: a list"),
        pytest.param(PATH, operation("add", "Patient", name="colour", value="x"), 422, id="FHIRPath: not of R4"),
        pytest.param(PATH, operation("add", "Patient", name="birthDate", value="1950"), 422, id="FHIRPath: a second one"),
        pytest.param(PATH, operation("insert", "name.given", index=3, value="x"), 422, id="FHIRPath: behind the end"),
        pytest.param(PATH, operation("insert", "name.given[0]", index=0, value="x"), 422, id="FHIRPath: part of a list"),
        pytest.param(PATH, operation("move", "name.given", source=2, destination=0), 422, id="FHIRPath: a move of nothing"),
        pytest.param(PATH, operation("move", "name.given", source=-1, destination=0), 400, id="FHIRPath: below zero"),
        pytest.param(PATH, operation("replace", "Patient.id", value="b"), 422, id="FHIRPath: another id"),
        pytest.param(PATH, operation("delete", "Patient.meta"), 422, id="FHIRPath: the server's meta"),
        pytest.param(PATH, in_turn(ODD, GIVEN), 422, id="FHIRPath: an add to a list that is none"),
        pytest.param(PATH, in_turn(ODDER, GIVEN), 422, id="FHIRPath: an add to a list of another kind"),
        pytest.param(PATH, in_turn(ODDER, INTO), 422, id="FHIRPath: an insert into a list of another kind"),
        pytest.param(PATH, operation("replace", "birthDate", value=("_valueDate", [{}])), 400, id="FHIRPath: a list beside"),
        pytest.param("text/plain", [], 415, id="another format"),
        pytest.param(JSON + "; charset=latin1", [], 415, id="another encoding"),
        pytest.param(JSON + "; charset=UTF-8", [], 200, id="UTF-8 said aloud"),
    ],
)  # fmt: skip
def test_a_patch_that_does_not_hold_is_refused_without_its_values(kind: str, document: Any, status: int) -> None:
    before, reached = copy.deepcopy(PATIENT), 200
    try:
        read(kind, gate.write(document))(PATIENT)
    except FhirError as error:
        reached = error.status
        assert "Secret" not in error.text
    assert (reached, PATIENT) == (status, before)


def test_numbers_are_compared_by_value_and_kept_as_they_are_written() -> None:
    patch = gate.parse(
        b'[{"op":"test","path":"/valueQuantity/value","value":1.1},'
        b'{"op":"copy","from":"/valueQuantity/value","path":"/valueQuantity/again"}]'
    )
    made = gate.write(json_patch.apply(PULSE, patch))
    assert b'"value":1.10' in made and b'"again":1.10' in made
    assert b'"value":1.10' in gate.write(fhirpath_patch.apply(PULSE, operation("replace", "note.text", value="y")))
    assert json_patch.same(1, gate.parse(b"1.0")) and not json_patch.same(1, True) and not json_patch.same(1, "1")


def test_a_generated_narrative_goes_when_the_data_change() -> None:
    before = {**PULSE, "text": {"status": "generated", "div": "<div>pulse</div>"}}
    assert settled(before, {**before, "status": "amended"}) == {**PULSE, "status": "amended"}
    tagged = {**before, "meta": {"tag": [{"code": "x"}]}}
    assert settled(before, tagged) == tagged
    rewritten = {**before, "status": "amended", "text": {"status": "generated", "div": "<div>other</div>"}}
    assert settled(before, rewritten) == rewritten


def test_a_narrative_that_holds_more_than_the_data_stops_the_patch() -> None:
    before = {**PULSE, "text": {"status": "additional", "div": "<div>pulse</div>"}}
    with pytest.raises(FhirError) as raised:
        settled(before, {**before, "status": "amended"})
    assert raised.value.issues[0].expression == "Observation.text"


TEXTS = st.text(st.sampled_from('ab/~01-é"'), min_size=1, max_size=3)
VALUES = st.recursive(
    st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)


@given(OBJECTS, OBJECTS)
def test_a_patch_made_from_the_difference_leads_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    def at(key: str) -> str:
        return "/x/" + key.replace("~", "~0").replace("/", "~1")

    start, goal = {"resourceType": "Basic", "x": before}, {"resourceType": "Basic", "x": after}
    gone: list[dict[str, Any]] = [{"op": "remove", "path": at(key)} for key in before if key not in after]
    new = [{"op": "add", "path": at(key), "value": value} for key, value in after.items()]
    emptied = {"resourceType": "Basic"} if before and not after else goal  # FHIR has nothing that is empty
    assert json_patch.apply(start, gone + new + [{"op": "test", "path": "/x", "value": after}]) == emptied
    assert merge_patch.apply(merge_patch.apply(start, {"x": None}), {"x": after}) == goal


@given(st.permutations(range(5)), st.integers(0, 4), st.integers(0, 4))
def test_a_move_is_undone_by_the_move_back(order: list[int], source: int, destination: int) -> None:
    start = {"resourceType": "Patient", "name": [{"given": [str(n) for n in order]}]}
    moved = fhirpath_patch.apply(start, operation("move", "name.given", source=source, destination=destination))
    assert moved["name"][0]["given"][destination] == str(order[source])
    back = operation("move", "name.given", source=destination, destination=source)
    assert fhirpath_patch.apply(moved, back) == start
