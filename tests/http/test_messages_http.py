"""The message log's pages over real HTTP: who may look, what is shown, what is done, what is audited."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.hl7_messages import header, message, obx, pid, pv1, segment
from tests.running import PATIENCE_S, RunningHub
from tests.telemetry import eventually

POLICY = "default-src 'none'; style-src 'self'; script-src 'self'"
ER7 = {"Content_Type": "application/hl7-v2"}


class Console:
    """An engineer who is signed in, and a sender of messages that nobody else uses."""

    def __init__(self, hub: RunningHub, token: str) -> None:
        self.hub, self.token = hub, token
        self.name = uuid.uuid4().hex[:10].upper()
        self.http = httpx.Client(base_url=hub.http.base_url, timeout=PATIENCE_S, trust_env=False)
        self.http.headers["Accept-Language"] = "en"
        page = self.http.get("/login").text
        self.http.post("/login", data={"csrf": csrf(page), "token": token})

    def send(self, *segments: str, kind: str = "ADT^A01^ADT_A01", control: str = "") -> str:
        """Send a message of this sender; return its control id."""
        number = control or uuid.uuid4().hex[:12]
        text = message(header(kind, number, f3="LAB", f4=self.name), *segments)
        self.hub.request("POST", "/hl7v2", content=text.encode(), **ER7)
        return number

    def person(self, **more: str) -> str:
        return pid(f"{self.name}^^^CHU&1.2.250.1.999.1&ISO^PI", **more)

    def admit(self, *more: str, **fields: str) -> str:
        return self.send("EVN||20261120083000", self.person(**fields), pv1(f"V{self.name}"), *more)

    def results(self, *lines: str, person: str = "") -> str:
        order = segment("OBR", f3=f"L{self.name}", f4="VITALS^x^L", f7="20261120083000", f25="F")
        return self.send(person or self.person(), order, *lines, kind="ORU^R01^ORU_R01")

    def post(self, path: str, **fields: str) -> httpx.Response:
        return self.http.post(path, data={"csrf": csrf(self.http.get("/admin/messages").text), **fields})

    def listed(self, query: str = "") -> str:
        return html.unescape(self.http.get(f"/admin/messages?sender={self.name}{query}").text)

    def place(self, control: str) -> str:
        """The address of a message, once it is settled."""
        return str(eventually(lambda: self._settled(control)))

    def _settled(self, control: str) -> str:
        page = self.listed(f"&control_id={control}")
        found = re.search(r'<a href="(/admin/messages/\d+)"><bdi>', page)
        return found[1] if found and "received, waiting</span>" not in page else ""

    def replayed(self, where: str) -> str:
        """The page of a replay, once it has ended."""
        eventually(lambda: "Refresh" not in self.http.get(where).headers)
        return self.http.get(where).text

    def coverage(self, words: str) -> str:
        """The page of what was used of this sender's messages, once it says these words."""
        where = f"/admin/messages/coverage?sender={self.name}"
        eventually(lambda: words in html.unescape(self.http.get(where).text))
        return html.unescape(self.http.get(where).text)


def csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


@pytest.fixture
def console(hub: RunningHub) -> Iterator[Console]:
    made = Console(hub, hub.operator)
    yield made
    made.http.close()


@pytest.mark.parametrize("since", ["yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-13-01"])
def test_a_time_that_is_none_is_told(console: Console, since: str) -> None:
    assert console.http.get("/admin/messages", params={"since": since}).status_code == 400


# --- who -----------------------------------------------------------------------------------------------------
PATHS = ["/admin/messages", "/admin/messages/coverage", "/admin/messages/1", "/admin/messages/1/edit"]


@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_the_log_without_signing_in(hub: RunningHub, path: str) -> None:
    with httpx.Client(base_url=hub.http.base_url, timeout=PATIENCE_S, trust_env=False) as client:
        answer = client.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next={path}")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("who", ["patient", "practitioner", "narrow"])
def test_only_the_operator_sees_it(hub: RunningHub, path: str, who: str) -> None:
    tokens = {
        "patient": lambda: hub.token("patient/*.cruds", patient="p1"),
        "practitioner": lambda: hub.token("system/*.cruds", actor="Practitioner/x"),
        "narrow": lambda: hub.token("system/Patient.cruds"),
    }
    answer = hub.request("GET", path, token=tokens[who]())
    assert answer.status_code == 403


def test_who_may_only_read_can_look_and_not_act(hub: RunningHub, console: Console) -> None:
    where = console.place(console.results(obx(), person=pid("")))
    reader = Console(hub, hub.token("system/*.rs"))
    assert "Replay" not in reader.http.get(where).text
    for path in (f"{where}/replay", f"{where}/leave-out", f"{where}/edit", "/admin/messages/replays"):
        fields = {"mode": "apply", "reason": "x", "text": "MSH", "fault": "101"}
        assert reader.post(path, **fields).status_code == 403, path
    reader.http.close()


def test_a_form_without_its_token_does_nothing(console: Console) -> None:
    where = console.place(console.results(obx(), person=pid("")))
    for path in (
        f"{where}/replay",
        f"{where}/leave-out",
        f"{where}/edit",
        "/admin/messages/replays",
        "/admin/messages",
    ):
        assert console.http.post(path, data={"mode": "apply", "reason": "x"}).status_code == 403, path
    assert "in quarantine" in console.http.get(where).text


# --- the list ------------------------------------------------------------------------------------------------
def test_the_list_shows_what_came(console: Console) -> None:
    good, bad = console.admit("ZZZ|1|secret-of-the-house"), console.results(obx(), person=pid(""))
    console.place(good)
    page = console.listed()
    assert good in page and bad in page and "<bdi>ZZZ</bdi>" in page and "a required field is missing" in page
    assert "secret-of-the-house" not in page and "DUPOND" not in page, "no content in the list"
    answer = console.http.get("/admin/messages")
    assert answer.headers["content-security-policy"].startswith(POLICY)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", answer.text)
    assert good not in console.listed("&state=quarantined") and bad in console.listed("&state=quarantined")
    assert bad in console.listed("&fault=101 PID[1]-3") and bad not in console.listed("&fault=207")
    assert console.http.get("/admin/messages?state=nonsense").status_code == 400
    assert console.http.get("/admin/messages?since=yesterday").status_code == 400


def test_a_patient_is_looked_for_without_being_in_an_address(console: Console) -> None:
    number = console.admit()
    console.place(number)
    for patient in (f"urn:oid:1.2.250.1.999.1|{console.name}", console.name):
        answer = console.post("/admin/messages", patient=patient)
        assert (answer.status_code, number in answer.text, "location" in answer.headers) == (200, True, False)
        assert f"patient={console.name}" not in answer.text, "nor in a link to the next page"
    known = console.hub.search(f"Patient?identifier={console.name}")["entry"][0]["resource"]["id"]
    assert number in console.post("/admin/messages", patient=f"Patient/{known}").text
    assert console.post("/admin/messages", patient="Patient/nobody").status_code == 404
    assert number not in console.post("/admin/messages", patient="urn:oid:1.2.250.1.999.1|nobody").text


def test_a_search_without_a_patient_has_an_address_that_can_be_kept(console: Console) -> None:
    answer = console.post("/admin/messages", sender="A B", state="applied", patient="")
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/messages?state=applied&sender=A+B")


# --- one message ---------------------------------------------------------------------------------------------
def test_a_message_is_shown_raw_beside_its_tree_beside_its_resources(console: Console) -> None:
    page = html.unescape(console.http.get(console.place(console.admit("ZZZ|1|secret-of-the-house"))).text)
    assert '<b>ZZZ</b>|<bdi title="ZZZ[1]-1 ">1</bdi>' in page and "secret-of-the-house" in page
    assert "Patient identifier list" in page and "Assigning authority" in page
    assert '"resourceType": "Patient"' in page and '"resourceType": "Encounter"' in page
    assert "Read by no map: <code>ZZZ</code>" in page and 'class="flag unused"' in page


def test_the_fault_is_marked_where_it_stands(console: Console) -> None:
    where = console.place(console.results(obx(), person=pid("")))
    page = html.unescape(console.http.get(where).text)
    assert 'class="flag bad" title="PID[1]-3 Patient identifier list"' in page
    assert "101 – a required field is missing" in page and "fault here" in page and "has no identifier" in page
    french = console.http.get(where, headers={"Accept-Language": "fr"}).text
    assert "champ obligatoire absent" in french and "Le patient n’a pas d’identifiant." in french


def test_a_problem_is_told_in_words_of_the_page_s_language(console: Console) -> None:
    where = console.place(console.results(obx("1-8^x^LN", unit="furlong")))
    assert "unit without a UCUM code" in console.http.get(where).text
    french = console.http.get(where, headers={"Accept-Language": "fr"}).text
    assert "unité sans code UCUM" in french and 'class="flag noted"' in french


def test_a_look_at_a_message_is_in_the_patient_s_journal(hub: RunningHub, console: Console) -> None:
    where = console.place(console.admit())
    patient = hub.search(f"Patient?identifier={console.name}")["entry"][0]["resource"]["id"]
    token = hub.token("patient/*.cruds", patient=patient)

    def journal() -> str:
        return hub.request("GET", "/consent", token=token, Accept_Language="en").text

    assert "looked at a message of the hospital" not in journal()
    console.http.get(where)
    eventually(lambda: "looked at a message of the hospital" in journal())  # it is kept with the next commit


@pytest.mark.parametrize("seq", ["0", "999999999", "x", "-1", "1e3"])
def test_a_message_that_is_not_there_is_404(console: Console, seq: str) -> None:
    assert console.http.get(f"/admin/messages/{seq}").status_code == 404


def test_messages_with_the_same_number_lead_to_each_other(console: Console) -> None:
    number = console.admit()
    first = console.place(number)
    console.send("EVN||20261120083000", console.person(f8="M"), pv1("V2"), control=number)
    page = html.unescape(console.http.get(first).text)
    (other,) = re.findall(r'same control id: <a href="(/admin/messages/\d+)">', page)
    assert f'same control id: <a href="{first}">' in html.unescape(console.http.get(other).text)
    assert "the same control id with other content" in html.unescape(console.http.get(other).text)


def test_the_messages_of_a_batch_lead_to_each_other(console: Console) -> None:
    batch = uuid.uuid4().hex[:8]
    parts = [
        header(control=f"{batch}{n}", f3="LAB", f4=console.name) + f"\rEVN||20261120083000\r{console.person()}"
        for n in range(3)
    ]
    text = message(f"BHS|^~\\&|LAB|{console.name}|||||||{batch}", *parts, "BTS|3")
    assert console.hub.request("POST", "/hl7v2", content=text.encode(), **ER7).text.count("MSA|AA") == 3
    page = html.unescape(console.http.get(console.place(f"{batch}1")).text)
    (found,) = re.findall(r'href="(/admin/messages\?parent=[^"]+)"', page)
    listed = console.http.get(found).text
    assert [f"{batch}{n}" in listed for n in range(3)] == [True] * 3


def test_what_a_message_came_to_before_is_kept(console: Console) -> None:
    where = console.place(console.admit())
    assert ">Attempts</h2>" not in console.http.get(where).text
    console.post(f"{where}/replay", mode="apply")
    page = console.http.get(where).text
    assert page.partition(">Attempts</h2>")[2].partition("</ol>")[0].count("<li>") == 2


# --- acting --------------------------------------------------------------------------------------------------
def heart(code: str, loinc: str, sender: str) -> dict[str, Any]:
    """A ConceptMap of a sender's code."""
    target = {"code": loinc, "equivalence": "equivalent"}
    group = {"source": f"urn:predmp:facility:{sender}:codes", "target": "http://loinc.org",
             "element": [{"code": code, "target": [target]}]}  # fmt: skip
    return {"resourceType": "ConceptMap", "status": "active", "url": f"urn:x:{sender}", "group": [group]}


def test_a_dry_run_shows_what_a_new_map_changes_and_a_replay_does_it(hub: RunningHub, console: Console) -> None:
    console.admit()
    where = console.place(console.results(obx("FC^x^L", "88", "bpm")))
    assert "Codes without a map" in console.http.get(where).text
    hub.create(heart("FC", "8867-4", console.name))
    tried = html.unescape(console.post(f"{where}/replay", mode="dry-run").text)
    assert "What it would change" in tried and "code.coding[1]" in tried and "8867-4" in tried
    query = f"Observation?code=8867-4&patient.identifier={console.name}"
    assert hub.search(query)["total"] == 0, "nothing is written"
    assert "What it changed" in console.post(f"{where}/replay", mode="apply").text
    (entry,) = hub.search(query)["entry"]
    assert [c["code"] for c in entry["resource"]["code"]["coding"]] == ["FC", "8867-4"]
    assert entry["resource"]["category"][0]["coding"][0]["code"] == "vital-signs"
    assert console.post(f"{where}/replay", mode="nonsense").status_code == 400


def test_a_copy_is_edited_tried_and_replayed_and_the_original_stays(hub: RunningHub, console: Console) -> None:
    console.admit()
    where = console.place(console.results(obx(value="77"), person=pid("")))
    form = html.unescape(console.http.get(f"{where}/edit").text)
    text = form.partition('autocomplete="off">\n')[2].partition("</textarea>")[0]
    assert text.startswith("MSH|")
    assert console.post(f"{where}/edit", text=text, mode="dry-run").status_code == 400, "unchanged"
    fixed = text.replace(pid(""), console.person())
    assert fixed != text
    tried = console.post(f"{where}/edit", text=fixed, mode="dry-run").text
    assert "What it would change" in tried and "Nothing is written." in tried
    assert "<code>valueQuantity</code>" in tried, "what would be made is shown"
    assert 'href="/fhir/Observation/' not in tried.partition("<form")[0], "and is nowhere yet"
    assert hub.search(f"Observation?patient.identifier={console.name}")["total"] == 0
    done = html.unescape(console.post(f"{where}/edit", text=fixed, mode="apply").text)
    assert "What it changed" in done and "original of this copy" in done
    assert hub.search(f"Observation?patient.identifier={console.name}")["total"] == 1
    original = html.unescape(console.http.get(where).text)
    assert "edited copy" in original and "in quarantine" in original and "DUPOND" in original


@pytest.mark.parametrize(
    ("declared", "other"),
    [
        pytest.param("UNICODE UTF-8", "UNICODE UTF-8", id="what it declares becomes true"),
        pytest.param("UNICODE UTF-8", "8859/1", id="what it is in is declared"),
        pytest.param("KLINGON", "", id="nothing is declared"),
    ],
)
def test_no_character_is_lost_in_a_copy_of_a_message_in_another_set_than_it_declares(
    hub: RunningHub, console: Console, declared: str, other: str
) -> None:
    control = uuid.uuid4().hex[:12]
    first = header("ADT^A01^ADT_A01", control, f3="LAB", f4=console.name, f18=declared)
    text = message(first, "EVN||20261120083000", console.person(name="LEFÈVRE^Zoé"), pv1(f"V{console.name}"))
    assert "MSA|AE" in hub.request("POST", "/hl7v2", content=text.encode("iso8859-1"), **ER7).text
    where = console.place(control)
    page = html.unescape(console.http.get(where).text)
    assert "LEFÈVRE" in page and "PID-5.1" in page and page.count("fault here") == 1
    form = html.unescape(console.http.get(f"{where}/edit").text)
    copy = form.partition('autocomplete="off">\n')[2].partition("</textarea>")[0]
    assert "LEFÈVRE^Zoé" in copy
    copy = copy.replace(f"|{declared}", f"|{other}")
    assert "What it changed" in console.post(f"{where}/edit", text=copy, mode="apply").text
    (found,) = hub.search(f"Patient?identifier={console.name}")["entry"]
    assert found["resource"]["name"][0]["family"] == "LEFÈVRE"


def test_an_accent_is_typed_into_a_copy_of_a_message_without_any(hub: RunningHub, console: Console) -> None:
    control = uuid.uuid4().hex[:12]
    first = header("ADT^A01^ADT_A01", control, f3="LAB", f4=console.name, f18="")
    text = message(first, "EVN||20261120083000", pid("", name="LEFEVRE"), pv1())
    hub.request("POST", "/hl7v2", content=text.encode("ascii"), **ER7)
    where = console.place(control)
    form = html.unescape(console.http.get(f"{where}/edit").text)
    text = form.partition('autocomplete="off">\n')[2].partition("</textarea>")[0]
    fixed = text.replace(pid("", name="LEFEVRE"), console.person(name="LEFÈVRE^Zoé"))
    assert "What it changed" in console.post(f"{where}/edit", text=fixed, mode="apply").text
    (found,) = hub.search(f"Patient?identifier={console.name}")["entry"]
    assert found["resource"]["name"][0]["family"] == "LEFÈVRE"


def test_a_message_is_left_out_with_a_reason(console: Console) -> None:
    where = console.place(console.results(obx(), person=pid("")))
    assert console.post(f"{where}/leave-out", reason=" ").status_code == 400
    assert console.post(f"{where}/leave-out", reason="sent by mistake").status_code == 303
    page = console.http.get(where).text
    assert "sent by mistake" in page and "left out</span>" in page
    assert console.post(f"{where}/leave-out", reason="again").status_code == 409


def test_all_messages_of_a_problem_are_replayed_after_a_report(hub: RunningHub, console: Console) -> None:
    console.admit()
    rule = "unit-unknown"
    places = [console.place(console.results(obx(f"{n}-8^x^LN", unit=f"u{console.name}"))) for n in range(3)]
    target = {"code": "mmol/L", "equivalence": "equivalent"}
    group = {"source": f"urn:predmp:facility:{console.name}:units", "target": "http://unitsofmeasure.org",
             "element": [{"code": f"u{console.name}", "target": [target]}]}  # fmt: skip
    hub.create({"resourceType": "ConceptMap", "status": "active", "url": "urn:x:u", "group": [group]})
    for mode, words in (("dry-run", "Nothing was written"), ("apply", "Done.")):
        begun = console.post("/admin/messages/replays", rule=rule, mode=mode)
        assert begun.status_code == 303
        page = console.replayed(begun.headers["location"])
        assert words in page and "Observation.valueQuantity.code" in page
        found = hub.search(
            f"Observation?patient.identifier={console.name}&value-quantity=88|http://unitsofmeasure.org|mmol/L"
        )
        assert found["total"] == (0 if mode == "dry-run" else 3)
    assert rule not in console.http.get(places[0]).text
    assert console.post("/admin/messages/replays", mode="apply").status_code == 400, "of everything"
    assert console.http.get("/admin/messages/replays/nothing").status_code == 404


def test_a_code_that_was_mapped_meanwhile_is_replayed_from_its_account(hub: RunningHub, console: Console) -> None:
    console.admit()
    console.place(console.results(obx("FC^x^L", "88", "bpm")))
    console.coverage('name="code" value="OBX-3 FC"')
    hub.create(heart("FC", "8867-4", console.name))
    begun = console.post("/admin/messages/replays", code="OBX-3 FC", sender=f"LAB|{console.name}", mode="apply")
    page = console.replayed(begun.headers["location"])
    assert "1 / 1" in page and "<code>OBX-3 FC</code>" in page
    assert hub.search(f"Observation?code=8867-4&patient.identifier={console.name}")["total"] == 1


# --- accounts and tables -------------------------------------------------------------------------------------
def test_coverage_shows_accounts_by_sender(console: Console) -> None:
    console.place(console.admit("ZZZ|1|secret-of-the-house", f8="Q"))
    page = console.coverage("ADT^A01")
    assert "1 unused" in page and "<code>ZZZ</code>" in page and "secret-of-the-house" not in page
    assert "HL70001" in page, "the code of PID-8 has no map"


def test_the_tables_that_apply_can_be_read(hub: RunningHub) -> None:
    listed = hub.request("GET", "/hl7v2/maps").json()
    assert "8c9b414" in listed["source"] and len(listed["tables"]) > 70
    one = hub.request("GET", "/hl7v2/maps/PatientClass[EncounterClass]")
    assert (one.json()["resourceType"], one.headers["content-type"]) == ("ConceptMap", "application/fhir+json")
    assert hub.request("GET", "/hl7v2/maps/Nothing").status_code == 404
    assert hub.request("GET", "/hl7v2/maps", token=None).status_code == 401
    stored = hub.request("POST", "/fhir/ConceptMap", json=one.json())
    assert stored.status_code == 201, stored.text
