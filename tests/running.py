"""A hub as a user starts it: its own process, store and ports; talked to over real sockets."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tests import mongo

PREDMP = Path(sys.executable).parent / "predmp"
PATIENCE_S = 120  # seconds that a machine may take for what only success ends earlier
_WORKERS, _PORTS = 64, 312  # processes that run tests at once; ports of each
_turn = itertools.count(secrets.randbelow(_PORTS))


def free_port() -> int:
    """Return a port that is free now.

    It is below those that the system gives to connections, and in a row that is this process's own: what is chosen is
    bound seconds later, and neither a connection nor another process of the same run takes it until then.
    """
    row = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").lstrip("gw")) % _WORKERS
    while True:
        port = 10_000 + row * _PORTS + next(_turn) % _PORTS
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class RunningHub:
    """One hub; a context manager.

    Args:
        flags: More flags of `predmp serve`.
        env: More variables; outbound calls to loopback are allowed, and dates are in UTC, unless it says otherwise.
        engine: sqlite, mongo or memory: on which kind of store, a new one.
    """

    def __init__(self, *flags: str, env: dict[str, str] | None = None, engine: str = "sqlite") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hub-"))
        self._database = mongo.new_url() if engine == "mongo" else ""
        stores = {"sqlite": f"sqlite:///{self.folder / 'hub.db'}", "mongo": self._database, "memory": "memory:"}
        self.store = stores[engine]
        self.command = [str(PREDMP)]  # what is started; a test may put another in its place
        self.port, self.mllp_port = free_port(), free_port()
        self.flags = flags
        self.env = {
            **os.environ,
            "PREDMP_OUTBOUND_ALLOW": "127.0.0.0/8",
            "PREDMP_ZONE": "UTC",
            **({"PREDMP_TOKEN_KEY": secrets.token_hex(32)} if engine == "memory" else {}),
            **(env or {}),
        }
        self.log = self.folder / "hub.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE_S, trust_env=False)
        self._operator = ""

    def start(self) -> RunningHub:
        """Start the process and wait until it is ready."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [
                    *self.command, "serve", "--http", f"127.0.0.1:{self.port}", "--mllp", f"127.0.0.1:{self.mllp_port}",
                    "--store", self.store, *self.flags,
                ],
                stdout=out, stderr=out, env=self.env, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
            with contextlib.suppress(httpx.TransportError):
                if self.http.get("/readyz").status_code == 200:
                    return self
            time.sleep(0.05)
        raise AssertionError(f"the hub is not ready: {self.log.read_text(errors='replace')[-2000:]}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the process and return its exit code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code

    def __enter__(self) -> RunningHub:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        if self.process is not None:
            self.stop()
        if self._database:
            mongo.drop(self._database)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(
        self, *args: str, stdin: str | None = None, timeout: float = 2 * PATIENCE_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a `predmp` command beside the hub."""
        return subprocess.run(
            [str(PREDMP), *args],
            capture_output=True,
            text=True,
            input=stdin,
            timeout=timeout,
            env=self.env,
            cwd=self.folder,
        )

    def token(self, scope: str = "system/*.cruds", **options: str) -> str:
        """Return a token made by `predmp token`."""
        given = [part for name, value in options.items() for part in (f"--{name}", value)]
        done = self.run("token", "--store", self.store, "--scope", scope, *given)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def operator(self) -> str:
        """A token of the operator."""
        if not self._operator:
            self._operator = self.token()
        return self._operator

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = "",
        json: Any = None,
        content: bytes | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Send one request; `token=""` is the operator's, None sends none; header names with _ for -."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.operator}"
        if content is not None:
            sent.setdefault("Content-Type", "application/fhir+json")
        return self.http.request(method, path, json=json, content=content, headers=sent)

    def create(self, resource: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Create a resource and return it as stored."""
        answer = self.request("POST", f"/fhir/{resource['resourceType']}", json=resource, **options)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def search(self, query: str, **options: Any) -> dict[str, Any]:
        """Search and return the Bundle."""
        answer = self.request("GET", f"/fhir/{query}", **options)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def waiting(self) -> int:
        """Return how many acknowledged messages of HL7 v2 have no effect yet."""
        found = re.search(r"^predmp_hl7_waiting (\S+)$", self.http.get("/metrics").text, re.M)
        assert found is not None
        return int(float(found[1]))

    def settle(self) -> None:
        """Wait until all acknowledged messages have their effect; a request waits for some seconds only."""
        end = time.monotonic() + PATIENCE_S
        while self.waiting():
            assert time.monotonic() < end, "messages still wait"
            time.sleep(0.02)

    def logged(self) -> str:
        """Return what the hub wrote to its log."""
        return self.log.read_text(errors="replace")
