"""The tour of the manual is what the hub does: its commands are run in order by a shell, their output compared."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.running import PATIENCE_S, RunningHub

TOUR = (Path(__file__).resolve().parents[2] / "docs/howto/tour.md").read_text("utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```$", TOUR, re.DOTALL | re.MULTILINE)


def test_the_tour(own_hub: RunningHub) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("curl or bash is not on this machine")
    function = BLOCKS[0].splitlines()[1]
    steps = [part for block in BLOCKS[1:] for part in re.split(r"^\$ ", block, flags=re.M) if part]
    assert len(steps) > 20
    env = {**own_hub.env, "FHIR": f"{own_hub.http.base_url}/fhir", "TOKEN": own_hub.operator}
    for step in steps:
        command, *expected = step.rstrip("\n").split("\n")
        done = subprocess.run(
            ["bash", "-c", f"{function}\n{command}"], env=env, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert done.returncode == 0, (command, done.stderr)
        for line in expected:
            assert line.strip() in done.stdout, (command, line, done.stdout)
