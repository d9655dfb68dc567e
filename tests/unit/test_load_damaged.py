"""Files that are damaged: they are named, and the others are loaded."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fhir_server.load import load
from fhir_server.settings import Settings

CHANCE = random.Random(7)


def patient(id: str) -> bytes:
    """Return a resource that does not pack well, so that any of its bytes matters."""
    text = CHANCE.randbytes(20_000).hex()
    return json.dumps({"resourceType": "Patient", "id": id, "name": [{"text": text}]}).encode()


def archive(folder: str, *, is_package: bool) -> bytes:
    """Return a packed folder of three resources."""
    made = io.BytesIO()
    members = {f"{folder}/{number}.json": patient(f"m{number}") for number in range(3)}
    if is_package:
        manifest = {"name": "a.b", "version": "1.0.0", "fhirVersions": ["4.0.1"]}
        members = {f"{folder}/package.json": json.dumps(manifest).encode(), **members}
    with tarfile.open(fileobj=made, mode="w:gz") as package:
        for name, body in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            package.addfile(member, io.BytesIO(body))
    return made.getvalue()


def damaged(packed: bytes) -> bytes:
    """Return bytes of which some in the middle are others."""
    middle = len(packed) // 2
    return packed[:middle] + bytes(255 - byte for byte in packed[middle : middle + 40]) + packed[middle + 40 :]


FILES = {
    "one.json.gz": gzip.compress(patient("a")),
    "lines.ndjson.gz": gzip.compress(b"\n".join(patient(f"l{number}") for number in range(5))),
    "folder.tgz": archive("all", is_package=False),
    "package.tgz": archive("package", is_package=True),
}


def run(tmp_path: Path, name: str, body: bytes) -> tuple[Settings, list[Path]]:
    """Write a file and another beside it."""
    (tmp_path / name).write_bytes(body)
    (tmp_path / "good.json").write_bytes(patient("good"))
    return Settings(store=f"sqlite:///{tmp_path / 'hub.db'}", rooms=()), [tmp_path / name, tmp_path / "good.json"]


@pytest.mark.parametrize("cut", [pytest.param(False, id="damaged"), pytest.param(True, id="cut off")])
@pytest.mark.parametrize("name", FILES)
async def test_a_damaged_file_is_named_and_the_others_are_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, cut: bool
) -> None:
    body = FILES[name][: len(FILES[name]) // 2] if cut else damaged(FILES[name])
    settings, files = run(tmp_path, name, body)
    assert await load(settings, files, triage=False, as_json=True, everything=True) == 1
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["failed"][-1:] == [f"{name}: cannot be read: it is damaged"]
    assert report["stored"]["Patient"] >= 1
    assert report["packages"] == []


@pytest.mark.parametrize("name", FILES)
async def test_the_same_file_is_loaded_where_it_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    settings, files = run(tmp_path, name, FILES[name])
    assert await load(settings, files, triage=False, as_json=True, everything=True) == 0
    assert json.loads(capsys.readouterr().out)["failed"] == []
