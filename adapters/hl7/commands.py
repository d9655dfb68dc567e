"""`predmp hl7`: send messages; look at the message log, replay, accounts and profiles (`log/commands.py`)."""

from __future__ import annotations

import argparse

from adapters.hl7 import send
from adapters.hl7.log import commands as log
from adapters.hl7.send import messages as messages
from fhir_server.interface import Command


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    send.configure(actions)
    log.configure(actions)


def run(args: argparse.Namespace) -> int:
    """Run one action; return 0 done, 1 problems found, 2 bad usage."""
    if args.action == "send":
        return send.run(args)
    from fhir_server.cli import run_sync

    code: int = run_sync(log.run(args))
    return code


COMMANDS = (Command("hl7", "HL7 v2: send messages, read the message log, replay, accounts, profiles", configure, run),)
