"""The README's tour is what the hub does: the day is played, its commands are run, their output compared."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.running import PATIENCE_S, PREDMP, free_port

README = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
STORY = re.search(r"```\n(  08:00 .*?)```", README, re.DOTALL)
TOUR = re.search(r"```\n\$ FHIR=\S+\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The demonstration, served on: its root URL and what it printed."""
    port, folder = free_port(), tmp_path_factory.mktemp("demo")
    out = folder / "out"
    with out.open("wb") as sink:
        process = subprocess.Popen(
            [str(PREDMP), "demo", "--http", f"127.0.0.1:{port}", "--mllp", f"127.0.0.1:{free_port()}"],
            stdout=sink, stderr=subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
    end = time.monotonic() + PATIENCE_S
    while "Ctrl-C" not in out.read_text("utf-8") and time.monotonic() < end and process.poll() is None:
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}", out.read_text("utf-8")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0


def test_the_day_is_the_one_of_the_readme(demo: tuple[str, str]) -> None:
    assert STORY is not None
    told = [line.rstrip() for line in demo[1].splitlines() if re.match(r"  \d\d:\d\d  ", line)]
    assert told == STORY[1].rstrip("\n").split("\n")


NO_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")


def commands() -> list[tuple[str, str]]:
    """Return each command of the tour and the output it shows."""
    assert TOUR is not None
    return [
        (part.partition("\n")[0], part.partition("\n")[2].strip())
        for part in re.split(r"^\$ ", TOUR[1], flags=re.M)
        if part
    ]


@NO_CURL
@pytest.mark.parametrize("number", range(len(commands())))
def test_a_command_of_the_tour_prints_what_is_shown(demo: tuple[str, str], number: int) -> None:
    root, printed = demo
    command, shown = commands()[number]
    token = printed.split("sees and does everything):\n")[1].split()[0]
    script = f"FHIR={root}/fhir; TOKEN={token}; {command}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stdout.strip() == shown


def test_the_doctor_finds_the_alert_on_the_worklist(demo: tuple[str, str]) -> None:
    root, printed = demo
    token = printed.split("in the care team of all):\n")[1].split()[0]
    page = httpx.get(
        f"{root}/worklist", headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S, trust_env=False
    )
    assert page.status_code == 200 and "EXEMPLE-DUPOND" in page.text
