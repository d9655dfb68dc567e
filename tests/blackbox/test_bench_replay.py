"""The replay that an operator can try before trusting one: the same steps, with few messages."""

from __future__ import annotations

import subprocess
import sys

from tests.running import PREDMP


def test_a_map_changed_a_report_then_a_replay_that_does_what_it_said() -> None:
    command = [sys.executable, "-m", "bench.replay", "--messages", "30"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PREDMP.parents[2], timeout=600)
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-1]) == (0, "nothing lost, nothing doubled"), done.stdout + done.stderr
    assert "30 Observation updated" in lines[1] and "30 Observation updated" in lines[2]
    assert "60 Observation unchanged" in lines[3]
