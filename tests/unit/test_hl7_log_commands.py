"""`predmp hl7 log|show|replay|coverage|profile|maps`: what they print and return, on a store of their own."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.hl7.channels import Channel
from adapters.hl7.commands import COMMANDS
from adapters.hl7.inbox import Inbox
from fhir_server.app import opened
from fhir_server.errors import BadRequest, FhirError, NotFound
from fhir_server.interface import Asking, Core
from fhir_server.model import Entry
from fhir_server.settings import Settings, SettingsError
from tests.hl7_messages import CHANNEL, adt, message, obx, oru, pid, pv1
from tests.hl7_messages import header as msh


class Store:
    """A store with messages, and the commands on it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.url, self._capsys = f"sqlite:///{folder / 'hub.db'}", capsys

    def send(self, *texts: str, channel: Channel = CHANNEL, codec: str = "utf-8") -> None:
        """Store messages and let them have their effect."""

        async def work(core: Core) -> None:
            box = Inbox(core)
            for text in texts:
                await box.receive(channel, text.encode(codec))
                await box.drained()
            await box.stop()

        self.act(work)

    def create(self, resource: dict[str, Any]) -> None:
        """Store a resource."""

        async def work(core: Core) -> None:
            actor = core.internal("default", "test")
            await core.submit([Entry("POST", resource["resourceType"], resource)], actor=actor)

        self.act(work)

    def find(self, query: str) -> list[dict[str, Any]]:
        """Return what a search finds."""
        found: list[dict[str, Any]] = []

        async def look(asking: Asking) -> list[dict[str, Any]]:
            return await asking.find(query)

        async def work(core: Core) -> None:
            found.extend(await core.ask("default", look))

        self.act(work)
        return found

    def audits(self, interaction: str) -> list[str]:
        """Return the actions that the audit chain has of an interaction."""
        found: list[str] = []

        async def work(core: Core) -> None:
            async with cast(Any, core).store.view("default") as view:
                found.extend(row.action for _, row in await view.audits(limit=10_000) if row.interaction == interaction)

        self.act(work)
        return found

    def act(self, work: Callable[[Core], Any]) -> None:
        """Open the store and do something with its core."""

        async def run() -> None:
            async with opened(Settings(store=self.url, rooms=())) as composed:
                await work(cast(Core, composed.hub))

        asyncio.run(run())

    def run(self, *argv: str, code: int = 0) -> str:
        """Run a command; return what it prints."""
        (command,) = COMMANDS
        parser = argparse.ArgumentParser()
        command.configure(parser)
        done = command.run(parser.parse_args([*argv, "--store", self.url]))
        printed = self._capsys.readouterr()
        assert done == code, (done, printed)
        return printed.out

    def rows(self, *argv: str) -> list[Any]:
        return [json.loads(row) for row in self.run(*argv, "--json").splitlines()]


@pytest.fixture
def store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Store:
    return Store(tmp_path, capsys)


def ids(rows: list[Any]) -> list[str]:
    return [row["control_id"] for row in rows]


def concept_map(code: str, to: str) -> dict[str, Any]:
    target = {"code": to, "equivalence": "equivalent"}
    group = {"source": "urn:predmp:facility:CHU-TEST:codes", "target": "http://loinc.org",
             "element": [{"code": code, "target": [target]}]}  # fmt: skip
    return {"resourceType": "ConceptMap", "status": "active", "url": f"urn:x:{code}", "group": [group]}


def test_messages_are_listed_by_what_is_asked(store: Store) -> None:
    store.send(adt(control="C1")[:-1] + "\rZZZ|1|secret\r", oru(control="C2", person=pid("")))
    assert ids(store.rows("log")) == ["C1", "C2"]
    assert ids(store.rows("log", "--limit", "1")) == ["C2"]
    assert ids(store.rows("log", "--state", "quarantined", "--type", "ORU")) == ["C2"]
    assert ids(store.rows("log", "--sender", "CHU TEST", "--since", "2000", "--until", "2999")) == ["C1", "C2"]
    assert ids(store.rows("log", "--since", "2999")) == []
    assert ids(store.rows("log", "--fault", "101")) == ["C2"]
    (row,) = store.rows("log", "--control-id", "C1")
    assert (row["unused"], row["sender"], row["used"]["EVN"]) == (["ZZZ"], "DPI|CHU TEST", [2])
    assert "secret" not in json.dumps(row) and "DUPOND" not in json.dumps(row)
    text = store.run("log")
    assert "unused: ZZZ" in text and "101 at PID[1]-3" in text and "secret" not in text
    store.run("log", "--control-id", "nothing", code=1)
    with pytest.raises(BadRequest):
        store.run("log", "--state", "nonsense")


def test_a_text_with_a_line_end_in_it_is_shown_to_who_looks_at_the_message_alone(store: Store) -> None:
    store.send(adt(control="C1")[:-1] + "\rMme MARKED va bien|0612345678\r")
    (row,) = store.rows("log")
    assert (row["state"], row["unused"]) == ("applied", ["?"])
    assert [(issue["path"], issue["rule"]) for issue in row["issues"]] == [("?[1]", "segment-out-of-place")]
    for command in ("log", "coverage"):
        assert "MARKED" not in store.run(command) + json.dumps(store.rows(command))
    assert "Mme MARKED va bien|0612345678" in store.run("show", "C1", "--part", "raw")
    tree = store.run("show", "C1", "--part", "tree")
    assert "?-0" in tree and "Mme MARKED va bien" in tree and "0612345678" in tree


def test_of_very_many_problems_the_first_are_kept_and_the_others_counted(store: Store) -> None:
    store.send(adt(control="C1") + "ZZZ|1\r" * 1_200 + "".join(f"X{n:02}|1\r" for n in range(99)))
    (row,) = store.rows("log")
    assert (row["state"], len(row["issues"])) == ("applied", 1_001)
    assert row["issues"][-1]["rule"] == "problems-left-out" and int(row["issues"][-1]["code"]) > 200
    assert len(row["unused"]) == 100


def test_times_are_compared_as_times(store: Store) -> None:
    store.send(adt(control="C1"))
    at = datetime.fromisoformat(store.rows("log")[0]["received"])
    here = timezone(timedelta(hours=2))
    for earlier, later in (
        (at.astimezone(here), at.astimezone(here) + timedelta(milliseconds=1)),
        (at.replace(tzinfo=None), at.replace(tzinfo=None) + timedelta(milliseconds=1)),
    ):
        asked = ("--since", earlier.isoformat(), "--until", later.isoformat())
        assert ids(store.rows("log", *asked)) == ["C1"]
        assert "1 messages" in store.run("replay", "--all", "--dry-run", *asked)
    assert store.rows("log", "--since", f"{at + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}") == []
    assert ids(store.rows("log", "--since", f"{at:%Y-%m-%dT%H:%M:%SZ}")) == ["C1"]
    assert ids(store.rows("log", "--since", f"{at:%Y-%m}")) == ["C1"]


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(("log", "--since", "yesterday"), id="the log since a word"),
        pytest.param(("log", "--until", "2026-13-01"), id="the log until a month that is none"),
        pytest.param(
            ("replay", "--all", "--until", "nonsense"), id="a replay until a word: it was one of all messages"
        ),
        pytest.param(("replay", "--all", "--dry-run", "--state", "nonsense"), id="a replay of a state that is none"),
        pytest.param(("coverage", "--since", "x"), id="accounts since a word"),
        pytest.param(("profile", "check", "nowhere.hl7"), id="a file that is not there"),
        pytest.param(("profile", "learn", "nowhere.hl7"), id="a sample that is not there"),
    ],
)
def test_what_is_not_understood_is_refused_and_not_ignored(store: Store, asked: tuple[str, ...]) -> None:
    store.send(adt(control="C1"))
    with pytest.raises(FhirError):
        store.run(*asked)
    assert store.rows("log")[0].get("history") is None


@pytest.mark.parametrize("asked", [("log", "--limit", "-1"), ("coverage", "--top", "-1"), ("log", "--limit", "many")])
def test_a_number_that_is_none_is_bad_usage(store: Store, asked: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        store.run(*asked)
    assert caught.value.code == 2


@pytest.mark.parametrize("asked", [("log",), ("replay", "--all"), ("coverage",), ("show", "C1")])
def test_a_store_that_is_not_there_is_told_and_not_made(store: Store, tmp_path: Path, asked: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError):
        store.run(*asked)
    assert list(tmp_path.iterdir()) == []


def test_one_message_is_shown_with_its_marks(store: Store) -> None:
    store.send(adt(control="C1")[:-1] + "\rZZZ|1|secret\r", oru(control="C2", person=pid("")))
    (whole,) = store.rows("show", "C1")
    assert whole["raw"].startswith("MSH|") and whole["tree"][0]["segment"] == "MSH"
    assert [one["resourceType"] for one in whole["fhir"]] == ["Patient", "Encounter"]
    text = store.run("show", "C1")
    assert "ZZZ[1] (unused)" in text and "Family name: DUPOND" in text and '"resourceType": "Patient"' in text
    assert "PID-3        Patient identifier list:  <-- FAULT" in store.run("show", "C2", "--part", "tree")
    assert store.run("show", "C2", "--part", "raw").startswith("MSH|")
    assert store.run("show", "C2", "--part", "fhir") == ""
    assert '"resourceType": "Patient"' in store.run("show", "C1", "--part", "draft")
    with pytest.raises(NotFound):
        store.run("show", "nothing")


def test_a_look_at_a_message_is_in_the_patient_s_journal(store: Store) -> None:
    store.send(adt(control="C1"))
    (patient,) = store.find("Patient")
    seen: list[str] = []

    async def work(core: Core) -> None:
        lines = await core.journal(patient["id"], actor=core.internal("default", "test"))
        seen.extend(f"{line.who} {line.what}" for line in lines)

    store.run("log", "--json")
    store.act(work)
    assert "predmp hl7 hl7-message" not in seen, "the list shows no content"
    store.run("show", "C1")
    store.act(work)
    assert "predmp hl7 hl7-message" in seen


def test_a_control_id_that_several_have_is_not_guessed(store: Store) -> None:
    store.send(adt(control="C1"), message(msh(f3="LAB", control="C1"), "EVN||20261120083000", pid(), pv1()))
    with pytest.raises(BadRequest):
        store.run("show", "C1")
    keys = [row["key"] for row in store.rows("log")]
    assert len(keys) == 2 and "MSH[1]" in store.run("show", keys[1], "--part", "tree")


def test_replay_takes_the_maps_of_today(store: Store) -> None:
    store.send(adt(control="C1"), oru(obx("K^Potassium^L", "4.1", "mmol/L"), control="C2"))
    store.create(concept_map("K", "2823-3"))
    (tried,) = store.rows("replay", "C2", "--dry-run")
    assert "code.coding[1]" in [d["path"] for one in tried["touched"] for d in one.get("differences", ())]
    assert store.find("Observation?code=2823-3") == []
    assert "C2  AA  applied" in store.run("replay", "C2")
    assert len(store.find("Observation?code=2823-3")) == 1
    (again,) = store.rows("replay", "C2")
    assert {one["action"] for one in again["touched"]} == {"unchanged"}, "twice changes nothing"
    (as_of,) = store.rows("replay", "C2", "--as-of")
    assert {one["action"] for one in as_of["touched"]} <= {"unchanged", "kept"}


def test_all_messages_of_a_fault_are_replayed_with_a_report(store: Store) -> None:
    store.send(*[oru(control=f"C{n}", person=pid("")) for n in range(3)], adt(control="A1"))
    text = store.run("replay", "--all", "--fault", "101", "--dry-run", code=1)
    assert "3 messages, nothing written (dry run)" in text and "quarantined -> quarantined: 3" in text
    found = [json.loads(row) for row in store.run("replay", "--all", "--fault", "101", "--json", code=1).splitlines()]
    assert (len(found), found[-1]["messages"]) == (4, 3), "one line a message, then the summary"
    assert "0 messages" in store.run("replay", "--all", "--fault", "999")
    assert store.audits("hl7-message-replay") == ["R", "U", "U"], "each look, and each replay, is in the audit chain"


def test_all_messages_with_a_code_are_replayed_once_it_is_mapped(store: Store) -> None:
    store.send(adt(control="A1"), *[oru(obx("K^x^L", f4=str(n)), control=f"C{n}") for n in range(2)])
    store.create(concept_map("K", "2823-3"))
    text = store.run("replay", "--all", "--code", "OBX-3 K", "--sender", "DPI|CHU TEST")
    assert "2 messages" in text and "Observation updated: 2" in text and "Observation.code.coding: 2" in text
    assert "0 messages" in store.run("replay", "--all", "--code", "OBX-3 K"), "none has it any more"


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param((), id="neither a message nor --all"),
        pytest.param(("C1", "--all"), id="both"),
        pytest.param(("--fault", "101"), id="what selects without --all"),
        pytest.param(("--all", "--edited", "x"), id="one copy for all"),
        pytest.param(("C1", "--edited", "nowhere.hl7"), id="a copy that is not there"),
    ],
)
def test_replay_without_saying_what_is_refused(store: Store, argv: tuple[str, ...]) -> None:
    store.send(adt(control="C1"))
    with pytest.raises(BadRequest):
        store.run("replay", *argv)


def test_a_copy_is_edited(store: Store, tmp_path: Path) -> None:
    store.send(adt(control="C1"), oru(control="C2", person=pid("")))
    file = tmp_path / "copy.hl7"
    text = store.run("show", "C2", "--part", "raw")
    file.write_text(text.replace(pid(""), pid()).rstrip("\n").replace("\n", "\r") + "\r", newline="")
    assert "quarantined" in store.run("replay", "C2", "--dry-run", code=1)
    (done,) = store.rows("replay", "C2", "--edited", str(file))
    assert done["state"] == "applied"
    original, copy = store.rows("log", "--control-id", "C2")
    assert (original["replays"], copy["replay_of"]) == ([copy["key"]], original["key"])


@pytest.mark.parametrize(
    ("declared", "codec", "saved"),
    [
        pytest.param("8859/2", "iso8859-2", "utf-8", id="8859/2, saved as it is printed"),
        pytest.param("8859/2", "iso8859-2", "iso8859-2", id="8859/2, saved as it came"),
        pytest.param("UNICODE UTF-16", "utf-16", "utf-8", id="UTF-16, saved as it is printed"),
        pytest.param("UNICODE UTF-16", "utf-16", "utf-16", id="UTF-16, saved as it came"),
    ],
)
def test_an_edited_copy_is_read_in_the_set_that_it_declares(
    store: Store, tmp_path: Path, declared: str, codec: str, saved: str
) -> None:
    text = message(msh(control="C2", f18=declared), "EVN||1", pid("", name="ŁUKASZ^Š"), pv1())
    store.send(text, codec=codec)
    shown = store.run("show", "C2", "--part", "raw")
    assert "ŁUKASZ^Š" in shown
    file = tmp_path / "copy.hl7"
    file.write_bytes(shown.replace(pid("", name="ŁUKASZ^Š"), pid(name="ŁUKASZ^Š")).encode(saved))
    assert "applied" in store.run("replay", "C2", "--edited", str(file))
    (copy,) = [row for row in store.rows("log", "--state", "applied")]
    (patient, _) = store.rows("show", copy["key"])[0]["fhir"]
    assert patient["name"][0]["family"] == "ŁUKASZ"


def test_coverage_is_by_sender(store: Store) -> None:
    store.send(adt(control="C1")[:-1] + "\rZZZ|1|secret\r", oru(obx("QQ^own^L"), control="C2"))
    first, second = store.rows("coverage")
    assert (first["type"], first["unused"], first["used"]["PID-3"]) == ("ADT^A01", {"ZZZ": 1}, 1)
    source = "urn:predmp:facility:CHU-TEST:codes"
    assert {"field": "OBX-3", "system": source, "code": "QQ", "count": 1} in second["unmapped"]
    text = store.run("coverage")
    assert "unused: ZZZ (1)" in text and f"no map: OBX-3 {source} QQ (1)" in text and "secret" not in text
    assert store.rows("coverage", "--sender", "NOBODY") == [] == store.rows("coverage", "--since", "2999-01-01")


def test_a_profile_is_learned_shown_checked_and_forgotten(store: Store, tmp_path: Path) -> None:
    store.send(*[adt(control=f"C{n}") for n in range(6)])
    assert "learned from 6 messages" in store.run("profile", "learn", "--sender", "DPI|CHU TEST")
    odd = tmp_path / "odd.hl7"
    odd.write_text(adt(person=pid(f16="M"))[:-1] + "\rZBE|1\r", newline="")
    found = [json.loads(row) for row in store.run("profile", "check", str(odd), "--json", code=1).splitlines()]
    assert {(row["path"], row["rule"]) for row in found} == {
        ("PID[1]-16", "profile-field-new"), ("ZBE[1]", "profile-segment-new")
    }  # fmt: skip
    usual = tmp_path / "usual.hl7"
    usual.write_text(adt(), newline="")
    assert store.run("profile", "check", str(usual)) == ""
    assert store.rows("profile", "show")[0]["sender"] == "DPI|CHU TEST"
    kept = tmp_path / "profile.json"
    kept.write_text(store.run("profile", "show", "DPI|CHU TEST"))
    store.run("profile", "forget", "DPI|CHU TEST")
    assert store.run("profile", "check", str(usual), "--profile", str(kept)) == ""
    store.run("profile", "check", str(usual), code=1)
    with pytest.raises(NotFound):
        store.run("profile", "forget", "DPI|CHU TEST")


def test_a_profile_is_learned_of_files(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "samples.hl7"
    file.write_text(
        adt(control="C1") + adt(control="C2") + message(msh(f4="OTHER"), "EVN||1", pid(), pv1()), newline=""
    )
    made = [json.loads(row) for row in store.run("profile", "learn", str(file), "--print").splitlines()]
    assert [(one["sender"], one["messages"]) for one in made] == [("DPI|CHU TEST", 2), ("DPI|OTHER", 1)]
    assert store.run("profile", "show") == "", "printed, not kept"
    cut = tmp_path / "cut.hl7"
    cut.write_text(f"BHS|^~\\&|A|B\r{adt()}BTS|2\r", newline="")
    with pytest.raises(BadRequest):
        store.run("profile", "learn", str(cut))
    with pytest.raises(BadRequest):
        store.run("profile", "check", str(file), "--profile", str(file))
    junk = tmp_path / "junk.hl7"
    junk.write_text("hello")
    with pytest.raises(FhirError):
        store.run("profile", "learn", str(junk))
    with pytest.raises(BadRequest):
        store.run("profile", "learn")


def test_the_tables_that_apply_are_listed(store: Store) -> None:
    store.create(concept_map("QQ", "2823-3"))
    listed = json.loads(store.run("maps", "--json"))
    assert "8c9b414" in listed["source"] and listed["own"] == ["urn:x:QQ"]
    assert json.loads(store.run("maps", "AdministrativeSex"))["resourceType"] == "ConceptMap"
    assert "0001  AdministrativeSex" in store.run("maps")
    with pytest.raises(NotFound):
        store.run("maps", "Nothing")
