"""Writes about what is hidden are answered as writes about what is not there; scopes to write need none to read."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from tests.running import RunningHub

pytestmark = pytest.mark.every_store
HIDDEN, ABSENT = "urn:tests:hidden", "urn:tests:absent"
PATCH: dict[str, Any] = {"content": b'{"active": true}', "Content_Type": "application/merge-patch+json"}


class Scene:
    """A patient whom a stranger may not see, and a Practitioner whom anybody may."""

    def __init__(self, hub: RunningHub) -> None:
        mark = uuid.uuid4().hex
        self.hub, self.mark = hub, mark
        patient: dict[str, Any] = {"resourceType": "Patient", "identifier": [{"system": HIDDEN, "value": mark}]}
        self.id = hub.create(patient)["id"]
        performer = {"resourceType": "Practitioner", "identifier": [{"system": HIDDEN, "value": mark}]}
        self.performer = hub.create(performer)["id"]
        hub.create(
            {
                "resourceType": "Observation",
                "status": "final",
                "code": {"text": "x"},
                "subject": {"reference": f"Patient/{self.id}"},
                "performer": [{"reference": f"Practitioner/{self.performer}"}],
            }
        )
        me = hub.create({"resourceType": "Practitioner"})["id"]
        self.token = hub.token("system/*.cruds", actor=f"Practitioner/{me}", purpose="TREAT")

    def asked(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        answer = self.hub.request(method, f"/fhir/{path}", token=self.token, **options)
        return answer.status_code, answer.text

    def ids(self, path: str) -> list[str]:
        return [path.format(id=id, value=value) for id, value in ((self.id, self.mark), (uuid.uuid4().hex, "no"))]


@pytest.fixture
def scene(hub: RunningHub) -> Scene:
    return Scene(hub)


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        pytest.param("DELETE", "Patient/{id}", {}, 204, id="delete"),
        pytest.param("DELETE", "Patient/{id}", {"If_Match": 'W/"1"'}, 412, id="delete of a version"),
        pytest.param("PATCH", "Patient/{id}", PATCH, 404, id="patch"),
        pytest.param("PATCH", "Patient/{id}", {**PATCH, "If_Match": 'W/"1"'}, 404, id="patch of a version"),
        pytest.param("DELETE", f"Patient?identifier={HIDDEN}|{{value}}", {}, 204, id="conditional delete"),
        pytest.param("DELETE", f"Patient?identifier={HIDDEN}|{{value}}&_count=9", {}, 204, id="delete of several"),
        pytest.param("PATCH", f"Patient?identifier={HIDDEN}|{{value}}", PATCH, 404, id="conditional patch"),
        pytest.param(
            "PATCH",
            "Practitioner?_has:Observation:performer:patient={id}",
            PATCH,
            404,
            id="patch of what only a hidden resource leads to",
        ),
        pytest.param(
            "DELETE",
            f"Practitioner?_has:Observation:performer:patient.identifier={HIDDEN}|{{value}}",
            {},
            204,
            id="delete of what only a hidden resource leads to",
        ),
    ],
)
def test_a_write_about_what_is_hidden_is_answered_as_about_nothing(
    scene: Scene, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    hidden, absent = (scene.asked(method, one, **options) for one in scene.ids(path))
    assert hidden == absent
    assert hidden[0] == status
    assert scene.hub.request("GET", f"/fhir/Patient/{scene.id}").json()["meta"]["versionId"] == "1"
    assert scene.hub.request("GET", f"/fhir/Practitioner/{scene.performer}").status_code == 200


@pytest.mark.parametrize("if_match", ['W/"1"', "*"])
def test_an_update_of_a_hidden_version_is_answered_as_of_none(scene: Scene, if_match: str) -> None:
    answers = [
        scene.asked("PUT", f"Patient/{id}", json={"resourceType": "Patient", "id": id}, If_Match=if_match)
        for id in scene.ids("{id}")
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 412


def test_a_reference_by_condition_does_not_tell_of_what_is_hidden(scene: Scene) -> None:
    made: dict[str, Any] = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    answers = [
        scene.asked("POST", "Observation", json=made | {"subject": {"reference": one}})
        for one in scene.ids(f"Patient?identifier={HIDDEN}|{{value}}")
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 422


def test_a_create_on_a_condition_that_only_hidden_data_meet_creates(scene: Scene) -> None:
    condition = f"_has:Observation:performer:patient={scene.id}"
    performer = {"resourceType": "Practitioner"}
    assert scene.asked("POST", "Practitioner", json=performer, If_None_Exist=condition)[0] == 201


def test_a_create_on_what_is_hidden_makes_no_double(scene: Scene) -> None:
    patient = {"resourceType": "Patient", "identifier": [{"system": HIDDEN, "value": scene.mark}]}
    status, text = scene.asked("POST", "Patient", json=patient, If_None_Exist=f"identifier={HIDDEN}|{scene.mark}")
    assert status == 422
    assert scene.id not in text


# --- scopes that write and do not read ---------------------------------------------
def basic(hub: RunningHub) -> dict[str, Any]:
    return hub.create({"resourceType": "Basic", "code": {"text": "before"}})


def written(hub: RunningHub, method: str, path: str, scope: str, **options: Any) -> httpx.Response:
    return hub.request(method, f"/fhir/{path}", token=hub.token(scope), **options)


def test_a_scope_to_update_needs_none_to_read(hub: RunningHub) -> None:
    made = basic(hub)
    changed = made | {"code": {"text": "after"}}
    assert written(hub, "PUT", f"Basic/{made['id']}", "system/Basic.u", json=changed).status_code == 200
    patch = {"content": b'{"language": "fr"}', "Content_Type": "application/merge-patch+json"}
    answer = written(hub, "PATCH", f"Basic/{made['id']}", "system/Basic.u", **patch)
    assert (answer.status_code, answer.content) == (200, b""), "a patch shows nothing that the scopes do not let read"
    entry = {
        "resource": {"resourceType": "Binary", "contentType": "application/merge-patch+json", "data": "e30="},
        "request": {"method": "PATCH", "url": f"Basic/{made['id']}"},
    }
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    prefer: dict[str, Any] = {"json": bundle, "Prefer": "return=representation"}
    answer = hub.request("POST", "/fhir", token=hub.token("system/Basic.u"), **prefer)
    assert answer.status_code == 200, answer.text
    assert "resource" not in answer.json()["entry"][0]


def test_a_scope_to_delete_needs_none_to_read(hub: RunningHub) -> None:
    made = basic(hub)
    assert written(hub, "DELETE", f"Basic/{made['id']}", "system/Basic.d").status_code == 204
    assert hub.request("GET", f"/fhir/Basic/{made['id']}").status_code == 410


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_a_condition_asks_for_a_scope_that_finds(hub: RunningHub, method: str) -> None:
    made = basic(hub)
    options = PATCH if method == "PATCH" else {}
    answer = written(hub, method, f"Basic?_id={made['id']}", "system/Basic.cud", **options)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (403, "forbidden")
