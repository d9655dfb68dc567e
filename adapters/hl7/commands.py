"""`predmp hl7`: send messages; look at the message log, replay, accounts and profiles (`log/commands.py`)."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Final

from adapters.hl7 import send
from adapters.hl7.log import commands as log
from adapters.hl7.send import messages as messages
from fhir_server.interface import Command

PIPE_CLOSED: Final = 141
"""Exit code where nobody reads on what is printed (`| head`): 128 and the number of SIGPIPE, as shells have it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    send.configure(actions)
    log.configure(actions)


def run(args: argparse.Namespace) -> int:
    """Run one action; return 0 done, 1 problems found, 2 bad usage, 141 where what reads the output has ended."""
    try:
        code = _run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to print at exit goes nowhere
        return PIPE_CLOSED
    return code


def _run(args: argparse.Namespace) -> int:
    if args.action == "send":
        return send.run(args)
    from fhir_server.cli import run_sync

    code: int = run_sync(log.run(args))
    return code


COMMANDS = (Command("hl7", "HL7 v2: send messages, read the message log, replay, accounts, profiles", configure, run),)
