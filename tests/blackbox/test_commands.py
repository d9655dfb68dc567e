"""Commands beside a running hub."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from tests.running import RunningHub

LINES = (
    '{"resourceType":"Patient","id":"a"}\n'
    '{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/a"},'
    '"valueQuantity":{"value":1.10,"unit":"x"}}\n'
)


def test_what_is_exported_loads_again_to_the_digit(own_hub: RunningHub, tmp_path: Path) -> None:
    packed = tmp_path / "in.ndjson.gz"
    packed.write_bytes(gzip.compress(LINES.encode()))
    assert own_hub.run("load", "--store", own_hub.store, str(packed)).returncode == 0
    out = tmp_path / "out"
    done = own_hub.run("export", "--store", own_hub.store, str(out))
    assert (done.returncode, sorted(file.name for file in out.iterdir())) == (
        0,
        ["Observation.ndjson", "Patient.ndjson"],
    )
    assert '"value":1.10,' in (out / "Observation.ndjson").read_text()
    assert (out / "Patient.ndjson").stat().st_mode & 0o077 == 0
    again = own_hub.run("load", "--store", f"sqlite:///{tmp_path / 'second.db'}", "--json", str(out))
    assert json.loads(again.stdout)["stored"] == {"Observation": 1, "Patient": 1}
    assert own_hub.run("export", "--store", own_hub.store, str(out)).returncode == 2  # not over what is there


def test_a_bundle_that_was_kept_as_a_resource_is_exported_and_loaded_as_one(
    own_hub: RunningHub, tmp_path: Path
) -> None:
    entry = [
        {
            "fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
            "resource": {"resourceType": "Basic", "code": {"text": "x"}},
        }
    ]
    kept = own_hub.create({"resourceType": "Bundle", "type": "collection", "entry": entry})
    out = tmp_path / "out"
    assert own_hub.run("export", "--store", own_hub.store, str(out)).returncode == 0
    again = own_hub.run("load", "--store", f"sqlite:///{tmp_path / 'second.db'}", "--json", str(out))
    assert json.loads(again.stdout)["stored"] == {"Bundle": 1}
    more = tmp_path / "more"
    assert own_hub.run("export", "--store", f"sqlite:///{tmp_path / 'second.db'}", str(more)).returncode == 0
    assert json.loads((more / "Bundle.ndjson").read_text())["id"] == kept["id"]


@pytest.mark.parametrize("words", [["export"], ["jobs", "list"], ["audit", "verify"], ["reindex"]], ids=" ".join)
def test_a_store_that_is_not_there_is_no_empty_one(own_hub: RunningHub, tmp_path: Path, words: list[str]) -> None:
    typo = tmp_path / "typo.db"
    folder = [str(tmp_path / "out")] if words == ["export"] else []
    done = own_hub.run(*words, "--store", f"sqlite:///{typo}", *folder)
    assert (done.returncode, "there is no store at" in done.stderr, typo.exists()) == (2, True, False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NOT TESTED: no /dev/full here")
def test_what_cannot_be_printed_is_told_in_one_line(own_hub: RunningHub) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*own_hub.command, "hl7", "maps"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "predmp: No space left on device\n")


def test_an_export_goes_into_no_file(own_hub: RunningHub, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.touch()
    for folder in (place, place / "below"):
        done = own_hub.run("export", "--store", own_hub.store, str(folder))
        assert (done.returncode, "cannot be a folder" in done.stderr) == (2, True)


def test_a_load_says_which_files_of_a_folder_it_does_not_read(own_hub: RunningHub, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.xml", "b.xml", "notes.txt", ".hidden", "package.json"):
        (folder / name).write_text("x")
    (folder / "c.ndjson").write_text(LINES)
    said = own_hub.run("load", "--store", own_hub.store, str(folder))
    assert said.returncode == 0 and "not read: 2 .xml" in said.stderr and "not read: 1 .txt" in said.stderr
    told = json.loads(own_hub.run("load", "--store", own_hub.store, "--json", str(folder)).stdout)
    assert told["not_read"] == {".txt": 1, ".xml": 2}


def test_a_load_says_what_it_could_not_store(own_hub: RunningHub, tmp_path: Path) -> None:
    bad = tmp_path / "bad.ndjson"
    bad.write_text(LINES + '{"resourceType":"Patient","id":"b","gender":"x"}\n')
    done = own_hub.run("load", "--store", own_hub.store, "--json", str(bad))
    report = json.loads(done.stdout)
    assert (done.returncode, report["stored"]) == (1, {"Observation": 1, "Patient": 1})
    assert report["failed"][0].startswith("bad.ndjson: line 3: Patient.gender: ")
    assert own_hub.search("Patient?_summary=count")["total"] == 1


def test_a_file_that_breaks_off_is_told_and_the_others_are_loaded(own_hub: RunningHub, tmp_path: Path) -> None:
    for name in "ac":
        (tmp_path / f"{name}.ndjson").write_text(LINES.replace('"a"', f'"{name}"').replace('"o"', f'"o{name}"'))
    (tmp_path / "b.ndjson.gz").write_bytes(gzip.compress(LINES.encode())[:-12])
    files = [str(file) for file in sorted(tmp_path.glob("?.ndjson*"))]
    done = own_hub.run("load", "--store", own_hub.store, "--json", *files)
    report = json.loads(done.stdout)
    assert (done.returncode, report["stored"]) == (1, {"Observation": 2, "Patient": 2})
    assert report["failed"] == ["b.ndjson.gz: cannot be read: it is damaged"]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        pytest.param(("load", "--store", "memory:", "nothing-there"), 2, "nothing-there is not there", id="a file that is not there"),
        pytest.param(("serve", "--store", "nonsense"), 2, "--store reads", id="a store that is none"),
        pytest.param(("serve", "--http", "here"), 2, "--http is malformed", id="an address that is none"),
        pytest.param(("token", "--store", "memory:", "--scope", "system/*.rs"), 2, "another process", id="a token for a store in memory"),
        pytest.param(("token", "--scope", "system/*.sr"), 2, "scope is malformed", id="a scope that is none"),
        pytest.param(("serve", "--auth", "off", "--http", "0.0.0.0:1"), 2, "--auth off is refused", id="no authentication for others"),
        pytest.param(("serve", "--rooms", "nobody.room"), 2, "nobody.room is not there", id="a room that is missing"),
    ],
)  # fmt: skip
def test_a_command_that_cannot_run_says_why(hub: RunningHub, args: tuple[str, ...], code: int, said: str) -> None:
    done = hub.run(*args)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert said in done.stderr


def test_doctor_and_audit_say_that_all_is_well(own_hub: RunningHub) -> None:
    own_hub.create({"resourceType": "Patient"})
    assert "the audit chain is whole" in own_hub.run("audit", "verify", "--store", own_hub.store).stdout
    done = own_hub.run("doctor", "--store", own_hub.store, "--http", f"127.0.0.1:{own_hub.port}")
    assert done.returncode == 1 and f"BAD  HTTP port 127.0.0.1:{own_hub.port} is free" in done.stdout
