"""`python -m bench.replay`: many stored HL7 v2 messages again, after a map changed; prints what became of them.

It sends results under a code that only the sender knows, makes a ConceptMap for it, asks for the report (a dry
run), replays, and replays once more. It counts resources and versions before and after each step, and ends with 1
where the dry run wrote anything, the replay did not do what the report said, or anything is there twice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.__main__ import HERE, free_port, running
from bench.payload import START
from bench.payload import oru as plain

LOCAL, LOINC = "GLYC", "14749-6"
SOURCE = "urn:predmp:facility:CHU:codes"


def oru(number: int) -> bytes:
    """Return a result of one of 100 patients, two observations: one under a LOINC code, one under a local one."""
    head, pid, obr, first, *_ = plain(f"R{number}", number).decode().rstrip("\r").split("\r")
    local = first.replace("OBX|1|NM|8867-4^FC^LN", f"OBX|2|NM|{LOCAL}^Glycemie^L").replace("/min", "mmol/L")
    return "\r".join((head, pid, obr, first, local, "")).encode()


def concept_map() -> dict[str, Any]:
    """Return the map of the sender's code."""
    element = {"code": LOCAL, "target": [{"code": LOINC, "equivalence": "equivalent"}]}
    return {
        "resourceType": "ConceptMap",
        "status": "active",
        "date": START.isoformat(),
        "group": [{"source": SOURCE, "target": "http://loinc.org", "element": [element]}],
    }


@dataclass(frozen=True, slots=True)
class Hub:
    """The hub under measurement."""

    port: int
    mllp: int
    store: str
    token: str

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the resource that a GET, or a POST of `body`, answers."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/fhir/{path}",
            data=json.dumps(body).encode() if body else None,
            headers={"authorization": f"Bearer {self.token}", "content-type": "application/fhir+json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            made: dict[str, Any] = json.loads(answer.read())
        return made

    def count(self, query: str) -> int:
        """Return how many resources match."""
        return int(self.ask(f"{query}{'&' if '?' in query else '?'}_summary=count")["total"])

    def counts(self) -> dict[str, int]:
        """Return how many resources there are, how many under the LOINC code, and how many changes ever."""
        of_type = {type: self.count(type) for type in ("Patient", "Observation", "DiagnosticReport")}
        changes = int(self.ask("_history?_count=1").get("total", -1))
        return {**of_type, "under the map's code": self.count(f"Observation?code={LOINC}"), "versions": changes}

    async def send(self, count: int) -> None:
        """Send the messages on eight connections, each the next when the last is acknowledged."""
        numbers = iter(range(count))

        async def sender() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.mllp)
            for number in numbers:
                writer.write(b"\x0b" + oru(number) + b"\x1c\r")
                answer = await reader.readuntil(b"\x1c\r")
                if b"MSA|AA" not in answer:
                    raise SystemExit(f"message {number} was not accepted")
            writer.close()

        await asyncio.gather(*(sender() for _ in range(8)))

    def ready(self) -> None:
        """Wait until the hub is ready."""
        for _ in range(200):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz"):
                return
            time.sleep(0.1)
        raise SystemExit("the hub did not start")

    def applied(self, count: int, *, within_s: float) -> None:
        """Wait until every message has its report."""
        end = time.monotonic() + within_s
        while self.count("DiagnosticReport") < count:
            if time.monotonic() > end:
                raise SystemExit("the messages were not applied in time")
            time.sleep(0.5)

    def replay(self, *options: str) -> tuple[dict[str, Any], float]:
        """Replay every message by command; return its summary and the seconds it took."""
        began = time.perf_counter()
        command = [str(HERE / "predmp"), "hl7", "replay", "--store", self.store, "--all", "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return made, time.perf_counter() - began


def actions(summary: dict[str, Any]) -> str:
    """Return what a replay did, in words."""
    return ", ".join(f"{row['count']} {row['type']} {row['action']}" for row in summary["actions"])


def run(hub: Hub, count: int) -> list[str]:
    """Send, change the map, replay; print each step and return what is wrong."""
    began = time.perf_counter()
    asyncio.run(hub.send(count))
    hub.applied(count, within_s=60 + count / 20)
    before = hub.counts()
    print(f"sent and applied: {count} messages in {time.perf_counter() - began:.1f} s; {before}", flush=True)
    hub.ask("ConceptMap", concept_map())
    written = hub.counts()
    report, seconds = hub.replay("--dry-run")
    after_report = hub.counts()
    print(f"dry run:          {report['messages']} messages in {seconds:.1f} s; {actions(report)}", flush=True)
    done, seconds = hub.replay()
    after = hub.counts()
    print(f"replay:           {done['messages']} messages in {seconds:.1f} s; {actions(done)}; {after}", flush=True)
    again, seconds = hub.replay()
    twice = hub.counts()
    print(f"once more:        {again['messages']} messages in {seconds:.1f} s; {actions(again)}", flush=True)
    same = ("Patient", "Observation", "DiagnosticReport")
    claims = {
        "a dry run wrote something": after_report == written,
        "the replay did not do what the report said": report == done and done["messages"] == count,
        "a resource is there twice, or lost": all(before[type] == after[type] for type in same),
        "not every result has the map's code": after["under the map's code"] == count,
        "a result was changed more than once": after["versions"] == written["versions"] + count,
        "a second replay changed something": twice == after,
    }
    return [wrong for wrong, holds in claims.items() if not holds]


def main() -> int:
    """Start a hub on a store of its own and run; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000, help="how many (default 10000)")
    count: int = parser.parse_args().messages
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        store, port, mllp = f"sqlite:///{Path(folder) / 'hub.db'}", free_port(), free_port()
        predmp = str(HERE / "predmp")
        serve = [predmp, "serve", "--http", f"127.0.0.1:{port}", "--mllp", f"127.0.0.1:{mllp}", "--store", store]
        with running(serve, port):
            made = [predmp, "token", "--store", store, "--scope", "system/*.cruds"]
            token = subprocess.run(made, capture_output=True, text=True, check=True).stdout.strip()
            hub = Hub(port, mllp, store, token)
            hub.ready()
            wrong = run(hub, count)
    print("\n".join(wrong) if wrong else "nothing lost, nothing doubled", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
