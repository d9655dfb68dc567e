"""`predmp hl7 profile learn|check|show|forget`: what is usual of a sender."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from adapters.hl7.faults import Refused
from adapters.hl7.local import PROFILE
from adapters.hl7.log import detail, profile, search
from adapters.hl7.log.channel import channels
from adapters.hl7.log.search import Wanted
from adapters.hl7.log.session import Session, add_action, content, count, emit
from adapters.hl7.record import when
from fhir_server import gate
from fhir_server.errors import BadRequest, NotFound
from fhir_server.interface import Asking, Writing
from fhir_server.model import Record


def configure(actions: Any) -> None:
    """Add the action and its own."""
    parser = actions.add_parser("profile", help="what is usual of a sender: learn it from samples, check files by it")
    inner = parser.add_subparsers(dest="profile_action", required=True, metavar="ACTION")
    learn = add_action(inner, "learn", "learn a sender's profile from files, or from its last messages", run_learn)
    learn.add_argument("files", nargs="*", type=Path, metavar="FILE", help="samples, one or more messages each")
    learn.add_argument("--sender", default="", metavar="NAME", help="'MSH-3|MSH-4'; with files: who they are of")
    learn.add_argument("--last", type=count, default=200, metavar="N", help="without files: its last N messages")
    learn.add_argument("--print", action="store_true", help="print the profile and keep nothing")
    check = add_action(inner, "check", "say what of a file the sender's profile does not know", run_check)
    check.add_argument("files", nargs="+", type=Path, metavar="FILE", help="one or more messages each")
    check.add_argument("--profile", type=Path, metavar="FILE", help="a profile in a file, in place of the kept one")
    show = add_action(inner, "show", "print a sender's profile; without a name who has one", run_profile)
    show.add_argument("sender", nargs="?", default="", metavar="SENDER", help="'MSH-3|MSH-4'")
    forget = add_action(inner, "forget", "forget a sender's profile: nothing of it is drift any more", run_forget)
    forget.add_argument("sender", metavar="SENDER", help="'MSH-3|MSH-4'")


async def run_learn(session: Session, args: argparse.Namespace) -> int:
    """Learn a profile and keep it."""
    if not args.files and not args.sender:
        raise BadRequest("Give files, or the sender whose last messages are to be learned from.")
    if args.files:
        samples = [raw for path in args.files for raw in _messages(path)]
    else:
        wanted = Wanted(sender=args.sender)
        samples = [entry.raw for entry in await search.newest(session.core, session.tenant, wanted, args.last)]
    learners: dict[str, profile.Learner] = {}
    unread = 0
    for raw in samples:
        try:
            message = profile.read(raw)
        except Refused:
            unread += 1
            continue
        learners.setdefault(args.sender or profile.sender_of(message), profile.Learner()).see(message)
    if not learners:
        raise NotFound("There is no message to learn from.")
    made = [one.profile(sender, learned=when(session.core.now())) for sender, one in learners.items()]
    if not args.print:
        await _keep_profiles(session, made)
    for one in made:
        if args.json or args.print:
            emit(one)
        else:
            types = ", ".join(f"{name} ({type['messages']})" for name, type in one["types"].items())
            print(f"{one['sender']}: learned from {one['messages']} messages: {types}")
    if unread:
        print(f"predmp hl7: {unread} of the samples are no messages", file=sys.stderr)
    return 1 if unread else 0


def _messages(file: Path) -> list[bytes]:
    """Return the messages of a file; raise BadRequest where it cannot be read or parted."""
    from adapters.hl7.commands import messages

    try:
        return list(messages(content(file)))
    except Refused as refused:
        raise BadRequest(f"{file}: the batch cannot be parted at {refused.fault.place.path}.") from None


def _given(file: Path) -> dict[str, Any]:
    """Return a profile that `learn --print` wrote; raise BadRequest for anything else."""
    try:
        found = json.loads(content(file))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("types"), dict):
        raise BadRequest(f"{file}: this is no profile.")
    return found


async def _keep_profiles(session: Session, made: list[dict[str, Any]]) -> None:
    async def work(writing: Writing) -> None:
        for one in made:
            await writing.put_record(PROFILE, one["sender"], "", gate.write(one))

    await session.core.transact(session.tenant, work)


async def run_check(session: Session, args: argparse.Namespace) -> int:
    """Say what of each message its sender's profile does not know; 1 where anything is."""
    given = _given(args.profile) if args.profile else None
    problems = 0
    for path in args.files:
        for number, raw in enumerate(_messages(path), 1):
            message = detail.message_of(raw)
            sender = profile.sender_of(message) if message else ""
            known = given or await _profile(session, sender)
            if known is None:
                print(f"predmp hl7: {path}: message {number}: its sender has no profile", file=sys.stderr)
                problems += 1
                continue
            for problem in profile.problems_of(known, raw):
                problems += 1
                row = {"file": str(path), "message": number, **problem._asdict()}
                emit(row) if args.json else print(
                    f"{path}: message {number}: {problem.path}: {problem.rule} {problem.code}".rstrip()
                )
    return 1 if problems else 0


async def _profile(session: Session, sender: str) -> dict[str, Any] | None:
    async def work(asking: Asking) -> Record | None:
        return await asking.record(PROFILE, sender)

    row: Record | None = await session.core.ask(session.tenant, work)
    return gate.load(row.body) if row else None


async def run_profile(session: Session, args: argparse.Namespace) -> int:
    """Print a profile, or who has one."""
    if args.sender:
        found = await _profile(session, args.sender)
        if found is None:
            raise NotFound("This sender has no profile.")
        emit(found)
        return 0
    known = (await channels(session.core, session.tenant, session.settings))("mllp").local.profiles
    for sender, one in sorted(known.items()):
        row = {"sender": sender, "learned": one["learned"], "messages": one["messages"]}
        emit(row) if args.json else print(f"{sender}  {one['learned']}  {one['messages']} messages")
    return 0


async def run_forget(session: Session, args: argparse.Namespace) -> int:
    """Remove a profile."""
    if await _profile(session, args.sender) is None:
        raise NotFound("This sender has no profile.")

    async def work(writing: Writing) -> None:
        await writing.drop_record(PROFILE, args.sender)

    await session.core.transact(session.tenant, work)
    return 0
