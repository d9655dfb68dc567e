"""The message log, local codes and profiles from outside: real sockets, real commands, a real browser.

What the commands print in each case is in tests/unit/test_hl7_log_commands.py, the pages in tests/http.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.blackbox.browser import Browser, programs
from tests.blackbox.test_chromium import FAINT, SMALL, UNNAMED, is_fine, sign_in
from tests.blackbox.test_mllp import Line
from tests.hl7_messages import header, message, obx, pid, pv1, segment
from tests.running import PREDMP, RunningHub
from tests.telemetry import eventually

LOINC = "http://loinc.org"

# Tables that have to be pushed aside to be read.
PUSHED = """
return [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)
  .map(e => e.textContent.trim().slice(0, 40));
"""


class Sender:
    """A laboratory of its own on one connection, and the commands of the hub that it sends to."""

    def __init__(self, hub: RunningHub, line: Line) -> None:
        self.hub, self.line = hub, line
        self.name = f"LAB{uuid.uuid4().hex[:8].upper()}"
        self.person = pid(f"{self.name}^^^CHU&1.2.250.1.999.1&ISO^PI")
        self.sent = 0

    def send(self, *segments: str, kind: str = "ADT^A01^ADT_A01") -> str:
        """Send a message; return its control id."""
        self.sent += 1
        number = f"{self.name}-{self.sent}"
        self.line.send(message(header(kind, number, f3="LIS", f4=self.name), *segments))
        return number

    def admit(self, *more: str) -> str:
        return self.send("EVN||20261120083000", self.person, pv1(f"V{self.name}"), *more)

    def results(self, *lines: str, person: str = "") -> str:
        order = segment("OBR", f3=f"L{self.name}", f4="718-7^Hb^LN", f7="20261120083000", f25="F")
        return self.send(person or self.person, order, *lines, kind="ORU^R01^ORU_R01")

    def run(self, *args: str, code: int = 0) -> str:
        """Run `predmp hl7 …` on the hub's store and return what it prints."""
        done = self.hub.run("hl7", *args, "--store", self.hub.store)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done.stdout

    def rows(self, *args: str) -> list[Any]:
        self.hub.search("Patient?_summary=count")  # what was acknowledged is applied now
        return [json.loads(row) for row in self.run("log", "--json", "--sender", self.name, *args).splitlines()]

    def found(self, query: str) -> list[dict[str, Any]]:
        bundle = self.hub.search(f"{query}&patient.identifier={self.name}")
        return [entry["resource"] for entry in bundle.get("entry", ())]

    def maps(self, code: str, loinc: str) -> None:
        """Say by a ConceptMap what a code of this laboratory is."""
        target = {"code": loinc, "equivalence": "equivalent"}
        group = {"source": f"urn:predmp:facility:{self.name}:codes", "target": LOINC,
                 "element": [{"code": code, "target": [target]}]}  # fmt: skip
        url = f"urn:x:{self.name}:{code}"
        self.hub.create({"resourceType": "ConceptMap", "status": "active", "url": url, "group": [group]})


@pytest.fixture
def lab(hub: RunningHub) -> Iterator[Sender]:
    with Line(hub) as line:
        yield Sender(hub, line)


def test_point_35_unknown_units_and_codes_are_stored_as_sent_and_listed(lab: Sender) -> None:
    """point 35: unknown unit, unknown LOINC"""
    number = lab.results(obx("99999-0^nothing^LN", "5", "furlong"), obx("QQ^own^L", "7", "mmol/L"))
    (row,) = lab.rows()
    assert (row["control_id"], row["state"]) == (number, "applied")
    assert {"path": "OBX[1]-6", "rule": "unit-unknown", "code": "furlong"} in row["issues"]
    assert ["OBX-3", f"urn:predmp:facility:{lab.name}:codes", "QQ", 1] in row["unmapped"]
    first, second = sorted(lab.found("Observation?_count=10"), key=lambda one: one["valueQuantity"]["value"])
    assert first["valueQuantity"] == {"value": 5, "unit": "furlong"}, "no system and no code are claimed"
    assert first["code"]["coding"][0]["code"] == "99999-0"
    assert second["code"]["coding"][0]["system"] == f"urn:predmp:facility:{lab.name}:codes"


def test_a_local_segment_is_shown_by_name_and_its_content_nowhere(lab: Sender) -> None:
    number = lab.admit("ZZZ|1|secret-of-the-house")
    lab.hub.search("Patient?_summary=count")
    (row,) = [json.loads(r) for r in lab.run("log", "--json", "--control-id", number).splitlines()]
    assert ("ZZZ" in row["unused"], row["used"]["PID"]) == (True, [3, 5, 7, 8])
    assert {name.partition("/")[0] for name in row["resources"]} == {"Patient", "Encounter"}
    assert "secret-of-the-house" not in json.dumps(row)
    assert "secret-of-the-house" not in lab.hub.logged()
    assert "secret-of-the-house" not in lab.hub.request("GET", "/metrics").text
    assert "secret-of-the-house" in lab.run("show", number), "to the operator who asks for the message"


def test_a_local_code_that_is_mapped_is_scored(lab: Sender) -> None:
    lab.admit()
    lab.results(obx("FC^Fréquence^L", "140", "bpm", f14="20261120090000"))
    assert lab.found("RiskAssessment?_count=5") == [], "nobody knows what FC is"
    lab.maps("FC", "8867-4")
    lab.results(obx("FC^Fréquence^L", "140", "bpm", f14="20261120100000"))
    (one,) = lab.found("Observation?code=8867-4")
    assert [c["code"] for c in one["code"]["coding"]] == ["FC", "8867-4"]
    assert lab.found("RiskAssessment?_count=5"), "a pulse of 140 is scored"


def test_a_profile_that_a_command_learned_tells_drift_of_the_running_hub(lab: Sender) -> None:
    for _ in range(6):
        lab.admit()
    lab.hub.search("Patient?_summary=count")
    assert "learned from 6 messages" in lab.run("profile", "learn", "--sender", f"LIS|{lab.name}", "--last", "50")

    def is_told() -> bool:
        lab.admit("ZBE|1")
        page = lab.hub.request("GET", f"/admin/messages?sender={lab.name}&rule=profile-segment-new").text
        return "ADT^A01" in page

    eventually(is_told)  # the hub takes it over within seconds


@pytest.mark.skipif(programs() is None, reason="NOT TESTED: no Chromium with chromedriver here")
def test_a_fault_is_found_fixed_and_replayed_in_a_browser(lab: Sender) -> None:
    """From the list to the marked fault, to an edited copy, to its effect; without scripts, on a small screen too."""
    lab.admit()
    number = lab.results(obx(value="66"), person=pid(""))
    lab.hub.search("Patient?_summary=count")
    base = str(lab.hub.http.base_url).rstrip("/")
    with Browser(javascript=False) as browser:
        sign_in(browser, lab.hub, lab.hub.operator, "/admin/messages")
        is_fine(browser)
        browser.type("#sender", lab.name)
        browser.click("form[role=search] button")
        browser.arrive(f"{base}/admin/messages?sender={lab.name}")
        assert number in browser.text("table.log")
        browser.click("table.log tbody tr:first-child th a")
        browser.arrive(f"{base}/admin/messages/")
        is_fine(browser)
        assert browser.text("ol.raw .flag.bad") == "absent"
        assert "PID-3" in browser.text(".tree .flag.bad")
        browser.click("a[href$='/edit']")
        browser.wait(lambda: browser.count("#text"))
        is_fine(browser)
        browser.script(
            f"const t = document.querySelector('#text'); t.value = t.value.replace({pid('')!r}, {lab.person!r})"
        )
        browser.click("button[value=dry-run]")
        browser.wait(lambda: browser.count("#report"))
        assert lab.found("Observation?_count=5") == []
        browser.click("button[value=apply]")
        browser.wait(lambda: browser.count("#report") and not browser.count("#text"))
        is_fine(browser)
    assert [one["valueQuantity"]["value"] for one in lab.found("Observation?_count=5")] == [66]
    with Browser(width=320, dark=True) as browser:
        for path in ("/admin/messages", "/admin/messages/coverage", f"/admin/messages?sender={lab.name}"):
            sign_in(browser, lab.hub, lab.hub.operator, path)
            assert browser.script("return document.documentElement.scrollWidth") <= 320, path
            assert browser.script(FAINT) + browser.script(SMALL) + browser.script(UNNAMED) == [], path
            assert browser.script(PUSHED) == [], path
        browser.click("table.log tbody tr:last-child th a")
        browser.wait(lambda: browser.count(".parts"))
        assert browser.script("return document.documentElement.scrollWidth") <= 320
        assert browser.script(FAINT) + browser.script(SMALL) + browser.script(UNNAMED) == []


@pytest.mark.parametrize(
    "command", [["hl7", "maps"], ["token", "--scope", "system/*.rs"], ["audit", "verify"]], ids=" ".join
)
def test_a_command_whose_reader_has_enough_ends_quietly(hub: RunningHub, command: list[str]) -> None:
    begun = subprocess.Popen([PREDMP, *command, "--store", hub.store], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert begun.stdout is not None and begun.stderr is not None
    begun.stdout.close()
    assert (begun.wait(60), begun.stderr.read()) == (141, b"")
    begun.stderr.close()
