"""Consent over real HTTP: FHIR doors, the patient's pages, the command line."""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx
import pytest

from tests.running import PATIENCE_S, RunningHub
from tests.unit.consent_cases import actor, care_team, coding, consent, observation

pytestmark = pytest.mark.every_store

TODAY = "2026-01-01"


@dataclass
class Scene:
    """One patient's record and who is around it: references, and tokens by name, made when they are asked for."""

    hub: RunningHub
    patient: str
    pulse: str
    doctor: str
    vendor: str
    vendor_name: str

    @property
    def id(self) -> str:
        return self.patient.removeprefix("Patient/")

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self)


class Tokens(dict[str, str]):
    def __init__(self, scene: Scene) -> None:
        super().__init__(operator=scene.hub.operator)
        self.scene = scene

    def __missing__(self, who: str) -> str:
        scene = self.scene
        scope, options = {
            "patient": ("patient/*.cruds", {"patient": scene.id, "sub": "Zoé Épreuve"}),
            "reader": ("patient/*.rs", {"patient": scene.id, "sub": "Zoé Épreuve"}),
            "doctor": ("system/*.cruds", {"actor": scene.doctor, "sub": "Dr Martin"}),
            "vendor": ("system/*.cruds", {"actor": scene.vendor, "sub": "vendor"}),
        }[who]
        self[who] = scene.hub.token(scope, **options)
        return self[who]


def stored(hub: RunningHub, resource: dict[str, Any], **options: Any) -> str:
    bare = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    return f"{resource['resourceType']}/{hub.create(bare, **options)['id']}"


@pytest.fixture
def scene(hub: RunningHub) -> Scene:
    mark = uuid.uuid4().hex[:12]
    patient = stored(hub, {"resourceType": "Patient", "name": [{"family": "Épreuve", "given": ["Zoé"]}]})
    pulse = stored(hub, observation(status="final", subject={"reference": patient}))
    doctor = stored(hub, {"resourceType": "Practitioner", "name": [{"prefix": ["Dr"], "family": "Martin"}]})
    vendor = stored(hub, {"resourceType": "Organization", "name": f"Télésoins {mark}"})
    stored(hub, care_team(doctor, subject={"reference": patient}))
    return Scene(hub, patient, pulse, doctor, vendor, f"Télésoins {mark}")


@pytest.fixture
def client(hub: RunningHub) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=hub.http.base_url, timeout=PATIENCE_S, trust_env=False) as made:
        yield made


def sees(hub: RunningHub, scene: Scene, who: str) -> bool:
    answers = {
        hub.request("GET", f"/fhir/{scene.pulse}", token=scene.tokens[who]).status_code == 200,
        hub.request("GET", f"/fhir/{scene.patient}", token=scene.tokens[who]).status_code == 200,
        hub.search(f"Observation?patient={scene.id}&_summary=count", token=scene.tokens[who])["total"] == 1,
    }
    assert len(answers) == 1
    return True in answers


def csrf(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert found is not None
    return found[1]


def sign_in(client: httpx.Client, token: str) -> None:
    page = client.get("/login")
    assert client.post("/login", data={"csrf": csrf(page), "token": token}).status_code == 303


def decide(client: httpx.Client, **fields: str) -> httpx.Response:
    page = client.get("/consent/confirm", params=fields)
    assert page.status_code == 200, page.text
    return client.post("/consent/decisions", data={"csrf": csrf(page), **fields})


# --- FHIR --------------------------------------------------------------------------
def test_what_is_hidden_answers_as_what_is_not_there(hub: RunningHub, scene: Scene) -> None:
    def answer(path: str) -> tuple[int, Any, list[str]]:
        got = hub.request("GET", f"/fhir/{path}", token=scene.tokens["vendor"])
        return got.status_code, got.json(), sorted(name for name in got.headers if name != "date")

    hidden, absent = answer(scene.pulse), answer(f"Observation/{uuid.uuid4().hex}")
    assert hidden == absent
    assert hidden[0] == 404
    assert answer(f"{scene.pulse}/_history/1")[0] == 404
    assert answer(f"{scene.pulse}/_history")[:2] == answer(f"Observation/{uuid.uuid4().hex}/_history")[:2]


def test_granting_and_ending_hold_from_the_next_request_on(hub: RunningHub, scene: Scene) -> None:
    assert not sees(hub, scene, "vendor")
    given = consent("permit", scene.vendor, patient={"reference": scene.patient})
    reference = stored(hub, given, token=scene.tokens["patient"])
    assert sees(hub, scene, "vendor")
    body = hub.request("GET", f"/fhir/{reference}").json() | {"status": "inactive"}
    assert hub.request("PUT", f"/fhir/{reference}", json=body, token=scene.tokens["doctor"]).status_code == 403
    assert sees(hub, scene, "vendor")
    assert hub.request("PUT", f"/fhir/{reference}", json=body, token=scene.tokens["patient"]).status_code == 200
    assert not sees(hub, scene, "vendor")


def test_a_part_of_the_record_is_counted_as_it_is_seen(hub: RunningHub, scene: Scene) -> None:
    label = coding("v3-ActCode", "PSY")
    marked = observation(label, status="final", subject={"reference": scene.patient})
    hidden = hub.create({name: value for name, value in marked.items() if name != "id"})["id"]
    refusal = consent("deny", scene.doctor, provision_securityLabel=[label], patient={"reference": scene.patient})
    assert hub.search(f"Observation?patient={scene.id}", token=scene.tokens["doctor"])["total"] == 2
    stored(hub, refusal)
    found = hub.search(f"Observation?patient={scene.id}", token=scene.tokens["doctor"])
    assert found["total"] == 1 and hidden not in json.dumps(found)
    assert hub.request("GET", f"/fhir/Observation/{hidden}", token=scene.tokens["doctor"]).status_code == 404
    assert hub.request("GET", f"/fhir/Observation/{hidden}", token=scene.tokens["patient"]).status_code == 200
    assert hub.search(f"Observation?_security=PSY&patient={scene.id}", token=scene.tokens["doctor"])["total"] == 0


def test_a_consent_nested_too_deep_is_refused_with_its_place(hub: RunningHub, scene: Scene) -> None:
    third = {"type": "deny", "provision": [{"type": "deny", "provision": [{"type": "deny"}]}]}
    given = consent("permit", provision_provision=[third], patient={"reference": scene.patient}, id=None, meta=None)
    answer = hub.request("POST", "/fhir/Consent", json=given)
    assert answer.status_code == 422
    assert [(i["code"], i["expression"]) for i in answer.json()["issue"]] == [("business-rule", ["Consent.provision"])]


def test_a_stranger_does_not_name_itself_in_a_care_team(hub: RunningHub, scene: Scene) -> None:
    own = care_team(scene.vendor, subject={"reference": scene.patient}, id=uuid.uuid4().hex)
    answer = hub.request("PUT", f"/fhir/CareTeam/{own['id']}", json=own, token=scene.tokens["vendor"])
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (403, "forbidden")
    assert not sees(hub, scene, "vendor")


# --- pages -------------------------------------------------------------------------
def test_a_patient_objects_to_a_member_of_the_care_team(hub: RunningHub, scene: Scene, client: httpx.Client) -> None:
    assert sees(hub, scene, "doctor")
    sign_in(client, scene.tokens["patient"])
    page = client.get("/consent").text
    assert "Dr Martin" in page and "Fait partie de l’équipe de soins." in page
    done = decide(client, act="object", who=scene.doctor)
    assert done.status_code == 303 and not sees(hub, scene, "doctor")
    page = client.get("/consent").text
    assert "Vous vous y opposez." in page and "Vous refusez l’accès au dossier à Dr Martin." in page
    made = hub.search(f"Consent?patient={scene.id}")["entry"][0]["resource"]
    assert made["performer"] == [{"reference": scene.patient}]
    assert made["provision"] == {"type": "deny", "actor": [actor(scene.doctor)]}
    decide(client, act="end", consent=made["id"])
    assert sees(hub, scene, "doctor")


def test_a_patient_finds_and_allows_a_service_until_a_day(hub: RunningHub, scene: Scene, client: httpx.Client) -> None:
    sign_in(client, scene.tokens["patient"])
    found = client.get("/consent", params={"find": scene.vendor_name.upper()}).text
    assert scene.vendor_name in found and "act=allow" in found
    assert "Personne de ce nom" in client.get("/consent", params={"find": "zzz,$|\\"}).text
    refused = client.get("/consent/confirm", params={"act": "allow", "who": scene.vendor})
    fields = {"csrf": csrf(refused), "act": "allow", "who": scene.vendor}
    for wrong in (TODAY, "2026-02-30", "demain"):
        answer = client.post("/consent/decisions", data={**fields, "until": wrong})
        assert answer.status_code == 422 and 'aria-invalid="true"' in answer.text
    assert not sees(hub, scene, "vendor")
    assert client.post("/consent/decisions", data={**fields, "until": "2999-12-31"}).status_code == 303
    assert sees(hub, scene, "vendor")
    assert "jusqu’au 31/12/2999" in client.get("/consent").text


def test_a_new_decision_ends_the_one_it_replaces(hub: RunningHub, scene: Scene, client: httpx.Client) -> None:
    sign_in(client, scene.tokens["patient"])
    decide(client, act="allow", who=scene.vendor)
    decide(client, act="object", who=scene.vendor)
    assert not sees(hub, scene, "vendor")
    active = hub.search(f"Consent?patient={scene.id}&status=active")["entry"]
    assert len(active) == 1
    decide(client, act="end", consent=active[0]["resource"]["id"])
    assert not sees(hub, scene, "vendor")
    assert "Décisions passées ou remplacées</summary>" in client.get("/consent").text.replace(" (2)", "")


def test_a_receipt_carries_the_hash_of_what_is_stored(hub: RunningHub, scene: Scene, client: httpx.Client) -> None:
    sign_in(client, scene.tokens["patient"])
    location = decide(client, act="allow", who=scene.vendor).headers["location"]
    receipt = client.get(location).text
    id = location.partition("consent=")[2]
    answer = hub.request("GET", f"/fhir/Consent/{id}")
    assert f"Consent/{id}" in receipt and hashlib.sha256(answer.content).hexdigest() in receipt
    sign_in(client, scene.tokens["vendor"])
    assert client.get(location).status_code == 403


def test_the_page_says_who_looked(hub: RunningHub, scene: Scene, client: httpx.Client) -> None:
    assert sees(hub, scene, "doctor")
    sign_in(client, scene.tokens["patient"])
    end, journal = time.monotonic() + PATIENCE_S, ""
    while "Dr Martin" not in journal:  # reads reach the audit with the next commit, not at once
        assert time.monotonic() < end, journal
        journal = client.get("/consent").text.partition("Qui a regardé le dossier")[2]
    assert "a lu : mesures et résultats" in journal and "soins" in journal


def test_older_accesses_are_on_the_pages_that_follow(hub: RunningHub, scene: Scene, client: httpx.Client) -> None:
    for _ in range(60):
        assert sees(hub, scene, "doctor")
    sign_in(client, scene.tokens["patient"])
    end, first = time.monotonic() + PATIENCE_S, ""
    while "Accès plus anciens" not in first:  # reads reach the audit with the next commit, not at once
        assert time.monotonic() < end
        first = client.get("/consent").text
    older = client.get("/consent?page=2").text
    assert ("Première page" in first, "Première page" in older) == (False, True)
    assert 0 < older.partition("Qui a regardé le dossier")[2].count("<time") <= 50
    for odd in ("0", "-1", "x", "99999999", "200"):
        assert client.get(f"/consent?page={odd}").status_code == 200


@pytest.mark.parametrize(
    ("who", "fields", "status"),
    [
        pytest.param("reader", {"act": "object"}, 403, id="a patient whose token only reads"),
        pytest.param("doctor", {"act": "object"}, 403, id="a practitioner"),
        pytest.param("patient", {"act": "nonsense"}, 400, id="what is no decision"),
        pytest.param("patient", {"act": "allow", "who": "Organization/none"}, 404, id="who is not there"),
        pytest.param("patient", {"act": "allow", "who": "Patient/x"}, 400, id="who cannot be allowed"),
        pytest.param("patient", {"act": "end", "who": "", "consent": "none"}, 404, id="a consent that is not there"),
        pytest.param("operator", {"act": "object"}, 400, id="the operator for no patient"),
    ],
)
def test_what_is_not_decided(
    hub: RunningHub, scene: Scene, client: httpx.Client, who: str, fields: dict[str, str], status: int
) -> None:
    sign_in(client, scene.tokens[who])
    asked = {"who": scene.doctor, **fields}
    assert client.get("/consent/confirm", params=asked).status_code == status
    form = {"csrf": csrf(client.get("/")), **asked}
    assert client.post("/consent/decisions", data=form).status_code == status
    assert sees(hub, scene, "doctor")


def test_a_patient_does_not_end_the_consent_of_another(hub: RunningHub, scene: Scene, client: httpx.Client) -> None:
    other = stored(hub, {"resourceType": "Patient"})
    foreign = stored(hub, consent("permit", scene.vendor, patient={"reference": other})).removeprefix("Consent/")
    sign_in(client, scene.tokens["patient"])
    asked = {"act": "end", "consent": foreign, "patient": other.removeprefix("Patient/")}
    assert client.get("/consent/confirm", params=asked).status_code == 404
    form = {"csrf": csrf(client.get("/")), **asked}
    assert client.post("/consent/decisions", data=form).status_code == 404
    assert hub.request("GET", f"/fhir/Consent/{foreign}").json()["status"] == "active"


def test_a_form_without_its_token_decides_nothing(hub: RunningHub, scene: Scene, client: httpx.Client) -> None:
    sign_in(client, scene.tokens["patient"])
    answer = client.post("/consent/decisions", data={"act": "object", "who": scene.doctor})
    assert answer.status_code == 403 and sees(hub, scene, "doctor")


def test_who_may_only_read_is_told_so(scene: Scene, client: httpx.Client) -> None:
    sign_in(client, scene.tokens["reader"])
    page = client.get("/consent").text
    assert "mais pas décider" in page and "act=object" not in page


def test_a_professional_learns_whether_and_why(hub: RunningHub, scene: Scene, client: httpx.Client) -> None:
    sign_in(client, scene.tokens["doctor"])
    assert "Numéro du patient" in client.get("/consent").text
    seen = client.get("/consent", params={"patient": scene.id})
    assert seen.status_code == 200 and "Zoé Épreuve" in seen.text and "Fait partie de l’équipe de soins." in seen.text
    sign_in(client, scene.tokens["vendor"])
    hidden = client.get("/consent", params={"patient": scene.id})
    absent = client.get("/consent", params={"patient": "0" * len(scene.id)})
    assert hidden.status_code == absent.status_code == 404
    bare = [re.sub(r'name="csrf" value="\w+"', "", page.text) for page in (hidden, absent)]
    assert bare[0].replace(scene.id, "") == bare[1].replace("0" * len(scene.id), "")


def test_the_operator_decides_at_the_patients_side(hub: RunningHub, scene: Scene, client: httpx.Client) -> None:
    sign_in(client, scene.tokens["operator"])
    page = client.get("/consent", params={"patient": scene.patient})
    assert page.status_code == 200 and "Qui voit ce dossier" in page.text
    done = decide(client, act="object", who=scene.doctor, patient=scene.id)
    assert done.status_code == 303 and not sees(hub, scene, "doctor")
    assert f"/consent?patient={scene.id}" in client.get(done.headers["location"]).text
    assert client.get("/consent", params={"patient": "none"}).status_code == 404


# --- the command -------------------------------------------------------------------
def explain(hub: RunningHub, *args: str) -> tuple[int, str]:
    done = hub.run("consent", "explain", "--store", hub.store, *args)
    return done.returncode, done.stdout


@pytest.mark.durable_stores
def test_the_command_says_who_may_and_why(hub: RunningHub, scene: Scene) -> None:
    code, text = explain(hub, "--patient", scene.id, "--actor", scene.vendor)
    assert code == 0 and text.startswith("deny: ") and "Is not in the care team" in text
    code, text = explain(hub, "--patient", scene.id, "--actor", scene.doctor)
    assert (
        code == 0
        and text.startswith("permit: ")
        and "Fait partie de l’équipe de soins." in text
        and "CareTeam/" in text
    )
    given = stored(hub, consent("deny", scene.doctor, patient={"reference": scene.patient}))
    code, text = explain(hub, "--patient", scene.patient, "--actor", scene.doctor, "--json")
    found = json.loads(text)
    assert (code, found["outcome"], found["rules"], found["careTeamMember"]) == (0, "deny", [given], True)
    assert found["words"][given]["fr"] == "Le patient refuse l’accès au dossier à Dr Martin."


@pytest.mark.durable_stores
def test_the_command_asks_for_a_purpose(hub: RunningHub, scene: Scene) -> None:
    only = [coding("v3-ActReason", "HRESCH")]
    stored(hub, consent("permit", scene.vendor, provision_purpose=only, patient={"reference": scene.patient}))
    who = ("--patient", scene.id, "--actor", scene.vendor)
    assert explain(hub, *who)[1].startswith("deny: ")
    assert explain(hub, *who, "--purpose", "HRESCH")[1].startswith("permit: ")


def test_the_command_says_what_it_cannot_do(hub: RunningHub, scene: Scene) -> None:
    assert explain(hub, "--patient", "none", "--actor", scene.vendor)[0] == 1
    assert explain(hub, "--patient", scene.id, "--actor", "vendor")[0] == 2
    assert explain(hub, "--patient", scene.id)[0] == 2
