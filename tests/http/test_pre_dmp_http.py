"""The pre-DMP record over real HTTP: what the caller may see, a draft until a physician's act, and its pages."""

from __future__ import annotations

import html
import re
import uuid
from typing import Any

import pytest

from fhir_server import gate, xmlformat
from fhir_server.validation import validate
from tests.running import RunningHub

pytestmark = pytest.mark.every_store

CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


class People:
    """A physician and a vendor, and their tokens, each made once: `predmp token` is a process of its own."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub = hub
        self.doctor = hub.create({"resourceType": "Practitioner", "name": [{"family": "Martin", "prefix": ["Dr"]}]})[
            "id"
        ]
        self.vendor = hub.create({"resourceType": "Organization", "name": "Télésuivi"})["id"]
        self._tokens: dict[tuple[str, str], str] = {}

    def token(self, scope: str, actor: str) -> str:
        """Return the token of an actor."""
        if (scope, actor) not in self._tokens:
            self._tokens[scope, actor] = self.hub.token(scope, actor=actor)
        return self._tokens[scope, actor]


class Story:
    """A patient with the physician in the care team, and a vendor who is not."""

    def __init__(self, hub: RunningHub, people: People) -> None:
        self.hub, self.people, self.doctor = hub, people, people.doctor
        self.family = f"Dossier{uuid.uuid4().hex[:8]}"
        named = [{"family": self.family, "given": ["Zoé"]}]
        self.id = hub.create({"resourceType": "Patient", "name": named, "birthDate": "1951-04-23"})["id"]
        member = [{"member": {"reference": f"Practitioner/{self.doctor}"}}]
        self.add("CareTeam", status="active", participant=member)
        state = {"coding": [{"system": CLINICAL, "code": "active"}]}
        self.condition = self.add("Condition", code={"text": "Insuffisance cardiaque <grave>"}, clinicalStatus=state)
        self.weigh("71.50")
        self.physician = self.doctors("user/*.cruds")

    def doctors(self, scope: str) -> str:
        """Return a token of the physician."""
        return self.people.token(scope, f"Practitioner/{self.doctor}")

    def vendors(self, scope: str = "system/*.rs") -> str:
        """Return a token of the vendor."""
        return self.people.token(scope, f"Organization/{self.people.vendor}")

    def add(self, type: str, **elements: Any) -> dict[str, Any]:
        """Add a resource to the record."""
        return self.hub.create({"resourceType": type, "subject": {"reference": f"Patient/{self.id}"}, **elements})

    def weigh(self, value: str) -> None:
        """Add a weight, digits as written."""
        body = {
            "resourceType": "Observation",
            "status": "final",
            "subject": {"reference": f"Patient/{self.id}"},
            "category": [{"coding": [{"system": CATEGORY, "code": "vital-signs"}]}],
            "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
            "effectiveDateTime": "2026-11-20T08:00:00+01:00",
            "valueQuantity": {"value": gate.number(value), "unit": "kg"},
        }  # fmt: skip
        assert self.hub.request("POST", "/fhir/Observation", content=gate.write(body)).status_code == 201

    def document(self, **options: Any) -> dict[str, Any]:
        """Return the document."""
        answer = self.hub.request("GET", f"/fhir/Patient/{self.id}/$pre-dmp", **options)
        assert answer.status_code == 200, answer.text
        bundle: dict[str, Any] = answer.json()
        return bundle

    def status(self, **options: Any) -> str:
        """Return the status of the Composition."""
        return str(self.document(**options)["entry"][0]["resource"]["status"])

    def validate(self, *, token: str = "", **body: Any) -> Any:
        """Validate the record, as the physician unless another token is given."""
        parameters = {"resourceType": "Parameters", **body}
        path = f"/fhir/Patient/{self.id}/$validate-pre-dmp"
        return self.hub.request("POST", path, json=parameters, token=token or self.physician)


@pytest.fixture(scope="module")
def people(hub: RunningHub) -> People:
    return People(hub)


@pytest.fixture
def story(hub: RunningHub, people: People) -> Story:
    return Story(hub, people)


def section(bundle: dict[str, Any], title: str) -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in bundle["entry"][0]["resource"]["section"] if s["title"] == title)
    return found


def test_the_document_is_valid_and_starts_with_a_preliminary_composition(story: Story) -> None:
    answer = story.hub.request("GET", f"/fhir/Patient/{story.id}/$pre-dmp")
    bundle = gate.parse_resource(answer.content)
    assert [i for i in validate(bundle) if i.severity in ("error", "fatal")] == []
    first = bundle["entry"][0]["resource"]
    assert (bundle["type"], first["resourceType"], first["status"]) == ("document", "Composition", "preliminary")
    assert all(entry["fullUrl"] for entry in bundle["entry"])
    assert "71.50 kg" in section(bundle, "Constantes et scores")["text"]["div"]
    assert "Insuffisance cardiaque &lt;grave&gt;" in section(bundle, "Antécédents et problèmes")["text"]["div"]
    assert "Dr Martin" in section(bundle, "Équipe de soins")["text"]["div"]
    assert b'"value":71.50' in answer.content


def test_get_and_post_give_the_same_in_both_languages(story: Story) -> None:
    answer = story.hub.request(
        "POST", f"/fhir/Patient/{story.id}/$pre-dmp", json={"resourceType": "Parameters"}, Accept_Language="en"
    )
    assert section(answer.json(), "Vital signs and scores")["code"]["coding"][0]["code"] == "8716-3"
    assert answer.json()["entry"][0]["resource"]["title"] == "Pre-DMP record (draft)"


def test_a_physicians_validation_makes_it_final_and_a_change_a_draft_again(story: Story) -> None:
    answer = story.validate()
    assert answer.status_code == 201, answer.text
    stored = answer.json()
    assert stored["status"] == "final" and "section" not in stored
    assert stored["attester"][0] | {"time": ""} == {
        "mode": "legal",
        "time": "",
        "party": {"reference": f"Practitioner/{story.doctor}"},
    }
    assert answer.headers["location"].endswith(f"/Composition/{stored['id']}")
    provenance = story.hub.search(f"Provenance?target=Composition/{stored['id']}")["entry"][0]["resource"]
    assert provenance["agent"][0]["who"]["reference"] == f"Practitioner/{story.doctor}"
    final = story.document()["entry"][0]["resource"]
    assert final["status"] == "final" and final["attester"][0]["mode"] == "legal"
    assert story.validate().status_code == 200, "validating again changes nothing"
    story.weigh("74")
    assert story.status() == "preliminary"


def test_a_deletion_makes_it_a_draft_again(story: Story) -> None:
    story.validate()
    assert story.hub.request("DELETE", f"/fhir/Condition/{story.condition['id']}").status_code in (200, 204)
    assert story.status() == "preliminary"


def test_an_alert_that_is_worked_on_leaves_it_final(story: Story) -> None:
    flag = story.add("Flag", status="active", code={"text": "Alerte"})
    story.validate()
    story.hub.request("PUT", f"/fhir/Flag/{flag['id']}", json={**flag, "status": "inactive"})
    assert story.status() == "final"


def test_only_a_professional_who_sees_the_patient_and_may_change_validates(story: Story) -> None:
    stranger = story.hub.create({"resourceType": "Practitioner", "name": [{"family": "Autre"}]})["id"]
    for token, status in (
        (story.hub.operator, 403),
        (story.vendors("system/*.cruds"), 403),
        (story.hub.token("patient/*.cruds", patient=story.id), 403),
        (story.doctors("user/*.rs"), 403),
        (story.hub.token("user/*.cruds", actor=f"Practitioner/{stranger}"), 404),
        (story.doctors("user/*.r user/Composition.u"), 201),
    ):
        assert story.validate(token=token).status_code == status
    assert story.status() == "final"


def test_a_composition_that_somebody_else_writes_validates_nothing(story: Story) -> None:
    draft = story.document()["entry"][0]["resource"]
    forged = {key: value for key, value in draft.items() if key not in ("id", "section")}
    story.hub.create({**forged, "status": "final", "subject": {"reference": f"Patient/{story.id}"}})
    assert story.status() == "preliminary"


def test_a_validation_that_is_withdrawn_holds_no_more(story: Story) -> None:
    stored = story.validate().json()
    story.hub.request("PUT", f"/fhir/Composition/{stored['id']}", json={**stored, "status": "entered-in-error"})
    assert story.status() == "preliminary"


def test_what_was_read_is_what_is_validated(story: Story) -> None:
    seen = story.document()["entry"][0]["resource"]["identifier"]["value"]
    story.weigh("75")
    parameter = [{"name": "fingerprint", "valueString": seen}]
    assert story.validate(parameter=parameter).status_code == 409
    assert story.validate(parameter=[{"name": "other", "valueString": "x"}]).status_code == 400
    assert story.status() == "preliminary"


def test_who_may_not_see_the_patient_gets_what_an_absent_one_gives(story: Story) -> None:
    vendor = story.vendors()
    hidden = story.hub.request("GET", f"/fhir/Patient/{story.id}/$pre-dmp", token=vendor)
    absent = story.hub.request("GET", "/fhir/Patient/never-there/$pre-dmp", token=vendor)
    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert hidden.json()["issue"] == absent.json()["issue"]


def test_the_document_holds_only_what_the_token_may_read(story: Story) -> None:
    narrow = story.doctors("user/Patient.r user/Observation.r")
    bundle = story.document(token=narrow)
    assert {entry["resource"]["resourceType"] for entry in bundle["entry"]} == {"Composition", "Patient", "Observation"}
    assert section(bundle, "Antécédents et problèmes")["emptyReason"]["coding"][0]["code"] == "withheld"
    story.validate()
    assert story.status(token=narrow) == "preliminary", "another view is another record"


def test_a_reference_that_somebody_made_up_does_not_break_the_document(story: Story) -> None:
    for reference in (
        "Practitioner/x&_nonsense=1",
        "Practitioner/,",
        "Practitioner/never-there",
        "https://x.example/y",
    ):
        story.add("CareTeam", status="active", participant=[{"member": {"reference": reference}}])
    assert "Dr Martin" in section(story.document(), "Équipe de soins")["text"]["div"]


def test_other_formats_are_refused_by_name(story: Story) -> None:
    for accept in ("application/pdf", "application/cda+xml"):
        answer = story.hub.request("GET", f"/fhir/Patient/{story.id}/$pre-dmp", Accept=accept)
        assert answer.status_code == 406 and "application/fhir+json" in answer.text


def test_the_document_is_the_same_in_xml(story: Story) -> None:
    path = f"/fhir/Patient/{story.id}/$pre-dmp"
    for query, accept in (("", "application/fhir+xml"), ("?_format=xml", "*/*")):
        answer = story.hub.request("GET", path + query, Accept=accept)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/fhir+xml; charset=utf-8")
        entries = xmlformat.read(answer.content)["entry"]
        assert entries[0]["resource"]["resourceType"] == "Composition"
        assert [e["resource"] for e in entries[1:]] == [e["resource"] for e in story.document()["entry"][1:]]


def test_a_parameter_that_does_not_exist_is_not_ignored(story: Story) -> None:
    assert story.hub.request("GET", f"/fhir/Patient/{story.id}/$pre-dmp?since=2026").status_code == 400


def test_a_token_without_read_is_refused(story: Story) -> None:
    token = story.hub.token("system/Observation.c")
    assert story.hub.request("GET", f"/fhir/Patient/{story.id}/$pre-dmp", token=token).status_code == 403


# --- pages ------------------------------------------------------------------
def page(story: Story, path: str, *, method: str = "GET", token: str = "", **fields: str) -> Any:
    """Ask a page as a browser that sent its token by header, which needs no csrf token."""
    head = {"Authorization": f"Bearer {token or story.physician}", "Accept-Language": "fr"}
    return story.hub.http.request(method, path, data=fields or None, headers=head)


def test_the_list_shows_the_records_that_the_person_may_see(hub: RunningHub) -> None:
    story = Story(hub, People(hub))
    answer = page(story, "/records")
    assert answer.status_code == 200 and "content-security-policy" in answer.headers
    assert story.family in answer.text and "brouillon" in answer.text
    vendor = story.vendors()
    assert story.family not in page(story, "/records", token=vendor).text


def test_the_list_counts_active_alerts_and_no_others(story: Story) -> None:
    for status in ("active", "active", "inactive"):
        story.add("Flag", status=status, code={"text": "Alerte"})
    answer = page(story, "/records", method="POST", name=story.family)
    assert re.findall(r'class="badge bad">(\d+)<', answer.text) == ["2"]


def test_the_list_is_searched_by_name_without_a_name_in_the_url(story: Story) -> None:
    answer = page(story, "/records", method="POST", name=story.family[:10])
    assert story.family in answer.text
    nobody = page(story, "/records", method="POST", name="Introuvable,x")
    assert nobody.status_code == 200 and "Aucun dossier" in nobody.text


def test_the_list_goes_on_page_by_page(story: Story) -> None:
    for n in range(26):
        story.hub.create({"resourceType": "Patient", "name": [{"family": f"{story.family}-{n:02}"}]})
    operator = story.hub.operator
    first = page(story, "/records", method="POST", name=story.family, token=operator)
    fields = {
        name: html.unescape(value) for name, value in re.findall(r'name="(name|cursor)" value="([^"]+)"', first.text)
    }
    second = page(story, "/records", method="POST", token=operator, **fields)
    rows = [re.findall(r'href="/records/([^"]+)"', answer.text) for answer in (first, second)]
    assert [len(found) for found in rows] == [25, 2]
    assert not set(rows[0]) & set(rows[1])


def test_a_physician_validates_on_the_page(story: Story) -> None:
    before = page(story, f"/records/{story.id}")
    assert "Insuffisance cardiaque &lt;grave&gt;" in before.text and "71.50 kg" in before.text
    (seen,) = re.findall(r'name="fingerprint" value="([^"]+)"', before.text)
    answer = page(story, f"/records/{story.id}/validate", method="POST", fingerprint=seen)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/records/{story.id}")
    after = page(story, f"/records/{story.id}")
    assert "Validé par" in after.text and "Dr Martin" in after.text and "Valider le dossier" not in after.text
    assert "validé" in page(story, "/records", method="POST", name=story.family).text


def test_a_record_that_changed_is_shown_again_before_it_is_validated(story: Story) -> None:
    (seen,) = re.findall(r'name="fingerprint" value="([^"]+)"', page(story, f"/records/{story.id}").text)
    story.weigh("76")
    answer = page(story, f"/records/{story.id}/validate", method="POST", fingerprint=seen)
    assert answer.status_code == 409 and "a changé depuis" in answer.text and "76 kg" in answer.text
    assert story.status() == "preliminary"


def test_who_may_not_validate_has_no_button(story: Story) -> None:
    reader = story.doctors("user/*.rs")
    assert "Valider le dossier" not in page(story, f"/records/{story.id}", token=reader).text
    assert page(story, f"/records/{story.id}/validate", method="POST", token=reader, fingerprint="x").status_code == 403


def test_a_hidden_record_and_an_absent_one_show_the_same_page(story: Story) -> None:
    vendor = story.vendors()
    hidden, absent = page(story, f"/records/{story.id}", token=vendor), page(story, "/records/never", token=vendor)
    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert story.family not in hidden.text


def test_pages_need_a_sign_in(story: Story) -> None:
    for path in ("/records", f"/records/{story.id}"):
        assert story.hub.http.get(path).status_code in (302, 303, 307)


def test_a_form_without_its_token_is_refused(story: Story) -> None:
    cookies = {"predmp_session": story.physician}
    answer = story.hub.http.post(
        f"/records/{story.id}/validate",
        data={"fingerprint": "x"},
        headers={"Cookie": f"predmp_session={cookies['predmp_session']}"},
    )
    assert answer.status_code == 403
    assert story.status() == "preliminary"


def test_the_record_leaves_no_trace_in_the_log(story: Story) -> None:
    page(story, f"/records/{story.id}")
    page(story, "/records", method="POST", name=story.family)
    assert story.family not in story.hub.logged()
