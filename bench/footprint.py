"""`python -m bench.footprint [FOLDER]`: start to ready, memory of an idle hub, and with a folder import and disk.

The import is `predmp load` of the folder into a new store, then of what `predmp export` wrote of it (NDJSON) into
another; disk is what the first store's files hold. The CPU that each took, of all its processes, is printed too: a
machine in use changes it less than the rate.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from bench.__main__ import HERE, free_port


def start(store: str, folder: Path) -> tuple[subprocess.Popen[bytes], float]:
    """Start a hub; return its process and the seconds until it was ready."""
    port = free_port()
    command = [str(HERE / "predmp"), "serve", "--http", f"127.0.0.1:{port}", "--mllp", f"127.0.0.1:{free_port()}"]
    began = time.perf_counter()
    process = subprocess.Popen([*command, "--store", store], stdout=subprocess.DEVNULL, cwd=folder)
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
                if answer.status == 200:
                    return process, time.perf_counter() - began
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, "the hub ended at its start"
        time.sleep(0.01)


def resident_mb(pid: int) -> float:
    """Return the memory that a process holds, in MB (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def main() -> None:
    """Measure and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="resources to import")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        store = f"sqlite:///{folder}/hub.db"
        for kind in ("a new store", "the same again"):
            process, ready_s = start(store, folder)
            time.sleep(1.0)
            print(f"start to ready, {kind}: {ready_s:.2f} s; idle: {resident_mb(process.pid):.0f} MB", flush=True)
            process.terminate()
            process.wait(20)
        if args.folder is not None:
            store = f"sqlite:///{folder}/import.db"
            count = show_import("import", store, args.folder)
            size = sum(os.path.getsize(file) for file in folder.glob("import.db*"))
            print(f"disk: {size / count:.0f} bytes a resource")
            lines = folder / "lines"
            subprocess.run([HERE / "predmp", "export", "--store", store, lines], capture_output=True, check=True)
            show_import("import of NDJSON", f"sqlite:///{folder}/lines.db", lines)


def cpu_s() -> float:
    """Return the CPU seconds of all processes that this one waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show_import(name: str, store: str, source: Path) -> int:
    """Import a folder and print its speed; return how many resources it stored."""
    began, used = time.perf_counter(), cpu_s()
    done = subprocess.run(
        [HERE / "predmp", "load", "--json", "--store", store, source], capture_output=True, text=True, check=False
    )
    seconds, used = time.perf_counter() - began, cpu_s() - used
    tally = json.loads(done.stdout)
    count: int = sum(tally["stored"].values())
    failed = len(tally["failed"])
    print(
        f"{name}: {count} resources in {seconds:.1f} s, {count / seconds:.0f}/s, {failed} not stored;"
        f" CPU {used / count * 1e6:.0f} us a resource",
        flush=True,
    )
    return count


if __name__ == "__main__":
    main()
