"""Jobs of a server that is killed: another one, or the next start, goes on where it stood."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.http.test_jobs_http import ended, where
from tests.running import PATIENCE_S, PREDMP, RunningHub, free_port

pytestmark = pytest.mark.durable_stores

FULL = bool(os.environ.get("PREDMP_FULL"))  # 100 MB in place of 6
LINES = 25_000 if FULL else 1_500
KILLS = 3
NEW = 7  # each line of this many has no id, so that storing it twice would show


def write_lines(path: Path) -> None:
    """Write lines of 4 kB: Basics, one without an id in seven, one that is not valid in a thousand."""
    with path.open("w") as sink:
        for n in range(LINES):
            made: dict[str, Any] = {"resourceType": "Basic", "id": f"b{n}", "code": {"text": f"{n} " + "x" * 3900}}
            if n % NEW == 0:
                del made["id"]
            if n % 1_000 == 999:
                made["created"] = "yesterday"
            sink.write(json.dumps(made) + "\n")


def progress(hub: RunningHub, url: str) -> int:
    """Return how many lines are done; -1 when the job has ended."""
    answer = hub.request("GET", url)
    if answer.status_code != 202:
        return -1
    word = answer.headers["x-progress"].split()[0]
    return int(word) if word.isdigit() else 0


def wait_for(hub: RunningHub, url: str, more_than: int) -> int:
    """Wait until more lines are done, or the job has ended."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        done = progress(hub, url)
        if done < 0 or done > more_than:
            return done
        time.sleep(0.02)
    raise AssertionError("the import stands still")


def memory(hub: RunningHub) -> int:
    """Return the memory that is the server's own, in bytes: not the pages of the store's file that it has mapped."""
    assert hub.process is not None
    status = Path(f"/proc/{hub.process.pid}/status").read_text("ascii")
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


def test_an_import_killed_in_the_middle_stores_each_line_once(own_hub: RunningHub, tmp_path: Path) -> None:
    hub, source = own_hub, tmp_path / "lines.ndjson"
    write_lines(source)
    before = memory(hub)
    with source.open("rb") as body:
        headers = {"Authorization": f"Bearer {hub.operator}", "Content-Type": "application/fhir+ndjson"}
        url = where(hub.http.post("/fhir/$import", content=body, headers=headers, timeout=300))
    done = kills = 0
    while kills < KILLS and (done := wait_for(hub, url, done)) >= 0:
        hub.stop(signal.SIGKILL)
        kills += 1
        hub.start()
        done = max(done, progress(hub, url))
    answer = ended(hub, url, seconds=900)
    assert answer.status_code == 200, answer.text
    assert kills >= 1, "it ended before it could be killed"
    bad = LINES // 1_000
    assert [(o["type"], o["count"]) for o in answer.json()["output"]] == [("Basic", LINES - bad)]
    assert sum(o["count"] for o in answer.json()["error"]) == bad
    assert hub.search("Basic?_summary=count")["total"] == LINES - bad
    assert hub.search("Basic/_history?_count=1")["total"] == LINES - bad
    assert memory(hub) - before < 300_000_000, "it is the same for 100 MB and for 240 MB"
    assert hub.run("audit", "verify", "--store", hub.store).returncode == 0


def test_of_two_servers_on_one_store_one_runs_a_job_and_the_other_takes_it_over(
    own_hub: RunningHub, tmp_path: Path
) -> None:
    """Whichever has it is killed; the other ends it, and both can say so and serve its files."""
    hub, source = own_hub, tmp_path / "lines.ndjson"
    write_lines(source)
    port = free_port()
    command = [
        str(PREDMP),
        "serve",
        "--http",
        f"127.0.0.1:{port}",
        "--mllp",
        f"127.0.0.1:{free_port()}",
        "--store",
        hub.store,
    ]
    with hub.log.open("ab") as out:
        other = subprocess.Popen(command, stdout=out, stderr=out, env=hub.env, cwd=hub.folder, start_new_session=True)
    try:
        with source.open("rb") as body:
            headers = {"Authorization": f"Bearer {hub.operator}", "Content-Type": "application/fhir+ndjson"}
            url = where(hub.http.post("/fhir/$import", content=body, headers=headers, timeout=300))
        wait_for(hub, url, 0)
        os.killpg(other.pid, signal.SIGKILL)
        assert other.wait(PATIENCE_S) != 0
        answer = ended(hub, url, seconds=900)
        assert answer.status_code == 200, answer.text
        assert hub.search("Basic/_history?_count=1")["total"] == LINES - LINES // 1_000
    finally:
        if other.poll() is None:
            os.killpg(other.pid, signal.SIGKILL)
            other.wait(PATIENCE_S)


def test_loading_a_file_again_after_a_kill_ends_with_the_same_store(own_hub: RunningHub, tmp_path: Path) -> None:
    hub, source = own_hub, tmp_path / "lines.ndjson"
    with source.open("w") as sink:
        for n in range(LINES):
            sink.write(json.dumps({"resourceType": "Basic", "id": f"b{n}", "code": {"text": "x" * 3900}}) + "\n")
    command = [str(PREDMP), "load", "--store", hub.store, str(source)]
    with hub.log.open("ab") as out:
        loading = subprocess.Popen(command, stdout=out, stderr=out, env=hub.env, cwd=hub.folder, start_new_session=True)
    end = time.monotonic() + PATIENCE_S
    while not hub.search("Basic?_summary=count")["total"] and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(loading.pid, signal.SIGKILL)
    loading.wait(PATIENCE_S)
    done = hub.run("load", "--json", "--store", hub.store, str(source), timeout=900)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["stored"].get("Basic", 0) + told["unchanged"] == LINES and told["unchanged"] > 0
    assert hub.search("Basic/_history?_count=1")["total"] == LINES
