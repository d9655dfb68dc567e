"""`predmp move`: a store copied into one of another kind holds the same, and serves on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from fhir_server.content import content
from fhir_server.search.values import Indexed, Reference, Token
from fhir_server.store.mongo import MongoStore
from fhir_server.store.protocol import AuditRow, Store, Transaction, Write
from fhir_server.store.sqlite import SqliteStore
from tests import mongo
from tests.running import RunningHub

NONE = Indexed({}, ())


@pytest.fixture
def url() -> Iterator[str]:
    made = mongo.new_url()
    yield made
    mongo.drop(made)


def fill(hub: RunningHub) -> str:
    """Write some versions, a deletion, and what rooms keep; return a Patient's id."""
    patient = hub.create({"resourceType": "Patient", "name": [{"family": "Épreuve"}], "birthDate": "1951-04-23"})
    for n in range(3):
        patient["birthDate"] = f"195{n}-01-01"
        hub.request("PUT", f"/fhir/Patient/{patient['id']}", json=patient)
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    subject = {"reference": f"Patient/{patient['id']}"}
    for n in range(5):
        hub.create({"resourceType": "Observation", "status": "final", "code": code, "subject": subject, "id": str(n)})
    gone = hub.create({"resourceType": "Basic", "code": {"text": "x"}})
    hub.request("DELETE", f"/fhir/Basic/{gone['id']}")
    return str(patient["id"])


def test_a_store_moves_to_mongodb_and_back_and_serves_on(url: str, tmp_path: Path) -> None:
    back = f"sqlite:///{tmp_path / 'back.db'}"
    with RunningHub() as hub:
        id, token = fill(hub), hub.operator
        before = hub.request("GET", f"/fhir/Patient/{id}/_history").json()
        hub.stop()
        for source, target in ((hub.store, url), (url, back)):
            done = hub.run("move", source, target, "--json")
            assert done.returncode == 0, done.stderr
            report = json.loads(done.stdout)
            assert report["same"] and report["audit"] and report["keys"] >= 1
            (tenant,) = report["tenants"]
            assert tenant["from"] == tenant["to"]
            assert tenant["to"]["versions"]["count"] == 11 and tenant["to"]["audit"]["count"] >= 11
            assert tenant["to"]["current"] == {"Basic": 0, "Observation": 5, "Patient": 1}
            hub.store = target
            hub.start()
            after = hub.request("GET", f"/fhir/Patient/{id}/_history", token=token).json()
            assert [e["resource"] for e in after["entry"]] == [e["resource"] for e in before["entry"]]
            assert hub.search(f"Observation?patient={id}&code=8867-4", token=token)["total"] == 5
            hub.stop()
            assert hub.run("audit", "verify", "--store", target).returncode == 0


def held(path: Path) -> int:
    """Return how many versions a file has."""
    with closing(apsw.Connection(str(path))) as file:
        return int(file.execute("SELECT count(*) FROM version").get)


DYING = """
import os, signal, sys
from itertools import count
from fhir_server import cli, move

put, turn = move._put, count()

async def dying(*given):
    if next(turn) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    await put(*given)

move._put = dying
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_move_that_was_killed_is_gone_on_with_and_served_only_when_it_is_whole(tmp_path: Path) -> None:
    copy, lines = tmp_path / "copy.db", tmp_path / "lines.ndjson"
    lines.write_text(
        "".join(f'{{"resourceType":"Basic","id":"b{n}","code":{{"text":"{"x" * 900}"}}}}\n' for n in range(1_500))
    )
    hub = RunningHub()
    assert hub.run("load", "--store", hub.store, str(lines)).returncode == 0
    source, target = hub.store, f"sqlite:///{copy}"
    killed = subprocess.run([sys.executable, "-c", DYING, "move", source, target], capture_output=True, env=hub.env)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert 0 < held(copy) < 1_500
    hub.store = target
    with pytest.raises(AssertionError, match="a copy that was broken off"):
        hub.start()
    done = hub.run("move", source, target, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (tenant,) = json.loads(done.stdout)["tenants"]
    assert tenant["same"] and tenant["to"]["current"] == {"Basic": 1_500}
    with hub:
        assert hub.search("Basic?_summary=count")["total"] == 1_500


def test_what_cannot_be_moved_is_refused_with_the_reason(tmp_path: Path) -> None:
    with RunningHub() as hub:
        fill(hub)
        hub.stop()
        other = f"sqlite:///{tmp_path / 'other.db'}"
        for source, target, reason in (
            (hub.store, hub.store, "into itself"),
            (f"sqlite:///{tmp_path / 'none.db'}", other, "no store"),
            ("memory:", other, "in memory"),
            (hub.store, "mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=50", "cannot be reached"),
        ):
            done = hub.run("move", source, target)
            assert done.returncode == 2 and reason in done.stderr, done.stderr
        assert hub.run("move", hub.store, other).returncode == 0
        done = hub.run("move", hub.store, other)
        assert done.returncode == 2 and "not empty" in done.stderr


async def test_content_differs_where_anything_does(url: str, tmp_path: Path) -> None:
    row = AuditRow(1, "s", "", "R", "read", "Patient/1", ("1",), 0, "TREAT", "r")

    async def told(store: Store, change: str) -> dict[str, object]:
        async def work(tx: Transaction) -> None:
            owners = ("other",) if change == "owner" else ("1",)
            body = b'{"a":1}' if change == "body" else b'{"a":2}'
            indexed = Indexed({"code": (Token("", "x"),), "subject": (Reference("Patient", "1"),)}, owners)
            await tx.put(Write("Basic", "1", 1, 5 if change == "time" else 4, "POST", body, indexed))
            await tx.put(Write("Basic", "1", 2, 6, "DELETE", b"", NONE))
            await tx.put_record("inbox", "k", "done" if change == "state" else "new", b"x")
            await tx.audit(row._replace(outcome=8) if change == "audit" else row)

        await store.open()
        await store.transact("t", work)
        async with store.view("t") as view:
            made = (await content(view)).told()
        await store.close()
        return made

    def index(_: object) -> Indexed:
        return NONE

    plain = await told(SqliteStore(str(tmp_path / "plain.db"), index=index), "")
    assert await told(MongoStore(url, index=index), "") == plain
    for change in ("owner", "body", "time", "state", "audit"):
        assert await told(SqliteStore(str(tmp_path / f"{change}.db"), index=index), change) != plain, change
