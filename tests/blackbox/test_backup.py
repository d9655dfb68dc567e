"""`predmp backup`: a copy that is made while a hub is written to is whole, private, and serves on."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from tests.running import RunningHub

BASIC = {"resourceType": "Basic", "code": {"text": "x"}}


def test_a_copy_made_beside_a_busy_hub_is_whole_and_is_restored(tmp_path: Path) -> None:
    copy, stop = tmp_path / "copy.db", threading.Event()
    made: list[str] = []
    with RunningHub() as hub:
        before = [hub.create(BASIC)["id"] for _ in range(5)]
        token = hub.operator

        def write() -> None:
            while not stop.is_set():
                made.append(hub.create(BASIC)["id"])

        writing = threading.Thread(target=write)
        writing.start()
        try:
            done = hub.run("backup", "--store", hub.store, str(copy))
        finally:
            stop.set()
            writing.join()
        assert done.returncode == 0 and "whole" in done.stdout, done.stderr
        assert copy.stat().st_mode & 0o077 == 0 and [path.name for path in tmp_path.iterdir()] == ["copy.db"]
        again = hub.run("backup", "--store", hub.store, str(copy))
        assert again.returncode == 2 and "new file" in again.stderr
        hub.stop()
        path = Path(hub.store.removeprefix("sqlite:///"))
        for log in (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            log.unlink(missing_ok=True)
        shutil.copy(copy, path)
        hub.start()
        there = {e["resource"]["id"] for e in hub.search("Basic?_count=1000", token=token).get("entry", ())}
        assert set(before) <= there <= {*before, *made}
        assert there == {*before, *made[: len(there) - len(before)]}, "one state: what came first is there first"
        assert hub.create(BASIC, token=token)["id"] not in there


def test_what_is_no_file_is_not_backed_up(tmp_path: Path) -> None:
    hub = RunningHub()
    for store, target, reason in (
        ("mongodb://127.0.0.1/x", tmp_path / "a.db", "only a SQLite store"),
        (f"sqlite:///{tmp_path / 'none.db'}", tmp_path / "a.db", "no store"),
    ):
        done = hub.run("backup", "--store", store, str(target))
        assert done.returncode == 2 and reason in done.stderr and not any(tmp_path.iterdir())
    (tmp_path / "other.db").write_bytes(b"no database, but long enough to be looked at as one" * 20)
    done = hub.run("backup", "--store", f"sqlite:///{tmp_path / 'other.db'}", str(tmp_path / "a.db"))
    assert done.returncode == 2 and "cannot be made" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]
