"""Who runs a job: a process, named so that others on the same machine can tell whether it still lives.

A lease alone would make a job wait for its end after each crash; where the name says that the process was one of
this machine and boot and it is gone, its jobs are free at once.
"""

from __future__ import annotations

import os
from pathlib import Path


def own_name() -> str:
    """Return the name of this process: machine and boot, process namespace, number, start."""
    pid = os.getpid()
    return f"{_machine()}:{pid}:{_started(pid)}"


def is_gone(name: str) -> bool:
    """Whether a process is known to be gone; False where that cannot be told."""
    machine, _, rest = name.partition(":")
    pid, _, started = rest.partition(":")
    if not machine or machine != _machine() or not pid.isdigit() or not started:
        return False
    return _started(int(pid)) != started


def _machine() -> str:
    """Return what tells this boot and process namespace from others; "" where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process began, in ticks since boot (proc(5), field 22 of stat); "" where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else fields[19]
