"""Starts `MongoWire.java` on a free port; its jars come by Maven, once, into the user's cache."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final

HERE: Final = Path(__file__).resolve().parent
LEAST_JAVA: Final = 17
_START_S: Final = 60
_FETCH_S: Final = 300


class CannotStart(Exception):
    """There is no server to be had here; says why."""


def java() -> str:
    """Return the command of a JDK that runs a source file; raise CannotStart."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None) or shutil.which("java")
    if found is None:
        raise CannotStart("there is no java (a JDK 17 or newer is needed)")
    told = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < LEAST_JAVA:
        raise CannotStart(f"java is older than {LEAST_JAVA}")
    modules = subprocess.run([found, "--list-modules"], capture_output=True, text=True, check=False).stdout
    if "jdk.compiler" not in modules:
        raise CannotStart("java is no JDK: it has no compiler")
    return found


def cache() -> Path:
    """Return the folder of the jars; another description has another folder."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "predmp" / f"mongo-wire-{sha256((HERE / 'pom.xml').read_bytes()).hexdigest()[:12]}"


def jars() -> Path:
    """Return the folder of the jars, fetched by Maven where they are not there; raise CannotStart."""
    folder = cache()
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise CannotStart("there is no mvn (Maven), which fetches the jars")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    command = [maven, "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
    try:
        done = subprocess.run(
            [*command, f"-DoutputDirectory={fresh}"], capture_output=True, text=True, timeout=_FETCH_S, check=False
        )
    except subprocess.TimeoutExpired:
        shutil.rmtree(fresh, ignore_errors=True)
        raise CannotStart("Maven did not fetch the jars in time") from None
    if done.returncode != 0 or not any(fresh.glob("mongo-java-server-core-*.jar")):
        shutil.rmtree(fresh, ignore_errors=True)
        reason = next((line for line in done.stdout.splitlines() if "ERROR" in line), "it gave no reason")
        raise CannotStart(f"Maven could not fetch the jars: {reason[:200]}")
    try:
        fresh.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


class WireServer:
    """One server; a context manager. It ends with the process that started it.

    Args:
        file: Of H2, to keep what is written; None: in memory.
        port: Where; a free one by default.
    """

    def __init__(self, file: Path | None = None, port: int = 0) -> None:
        self._file = file
        self.port = port or _free_port()
        self._process: subprocess.Popen[str] | None = None

    def url(self, database: str) -> str:
        """Return the URL of a database on it."""
        return f"mongodb://127.0.0.1:{self.port}/{database}"

    def start(self) -> WireServer:
        """Start it and wait until it answers; raise CannotStart where that cannot be."""
        command = [java(), "-Xss4m", "-XX:+UseSerialGC", "-Xmx1g", "-cp", f"{jars()}/*"]
        given = [str(HERE / "MongoWire.java"), str(self.port), *([str(self._file)] if self._file else [])]
        self._process = subprocess.Popen(
            [*command, *given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        end = time.monotonic() + _START_S
        line = self._process.stdout.readline()
        if line.strip() != "ready":
            self.stop()
            raise CannotStart(f"the server did not start: {(line or 'it ended').strip()[:200]}")
        while time.monotonic() < end:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        self.stop()
        raise CannotStart("the server does not answer")

    def stop(self) -> None:
        """End it; what is in an H2 file stays."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.stop()

    def __enter__(self) -> WireServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
