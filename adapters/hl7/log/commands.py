"""`predmp hl7 log|show|replay|coverage|profile|maps`: the message log at the command line.

Exit codes: 0 done, 1 problems found (a message that is in quarantine, is not there, or drifts), 2 bad usage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final, cast

from adapters.hl7.log import coverage, detail, profile_command, replay_command, search, shipped, words
from adapters.hl7.log.channel import channels
from adapters.hl7.log.entry import Entry
from adapters.hl7.log.search import Wanted
from adapters.hl7.log.session import Session, add_action, count, emit, known_state
from adapters.hl7.maps import tables
from adapters.hl7.record import STATES
from fhir_server import gate
from fhir_server.interface import Asking, Core

FOLLOW_S: Final = 1.0


def configure(actions: Any) -> None:
    """Add the actions and their options."""
    _configure_log(actions)
    replay_command.configure(actions)
    show = add_action(actions, "show", "one message: as it came, its tree, the resources it made", run_show)
    show.add_argument("key", metavar="KEY", help="MSH-10, or the key that `log --json` shows")
    show.add_argument("--part", choices=("raw", "tree", "fhir", "draft"), help="only that part")
    cover = add_action(actions, "coverage", "by sender: fields used and unused, codes without a map", run_coverage)
    cover.add_argument("--sender", default="", metavar="NAME", help="MSH-3, MSH-4, or both as 'MSH-3|MSH-4'")
    cover.add_argument("--since", default="", metavar="DAY", help="from this day on (YYYY-MM-DD, UTC)")
    cover.add_argument("--until", default="", metavar="DAY", help="before this day")
    cover.add_argument("--top", type=count, default=20, metavar="N", help="how many codes and problems (default 20)")
    maps = add_action(actions, "maps", "the code tables that apply, as ConceptMap; or a list of them", run_maps)
    maps.add_argument("name", nargs="?", default="", metavar="TABLE", help="e.g. 'PatientClass[EncounterClass]'")
    profile_command.configure(actions)


def _configure_log(actions: Any) -> None:
    log = add_action(actions, "log", "list messages: state, problems, unused segments and fields, resources", run_log)
    log.add_argument("--control-id", default="", metavar="ID", help="only messages with this MSH-10")
    log.add_argument("--state", default="", help="only messages in this state: " + ", ".join(STATES))
    log.add_argument("--type", default="", metavar="TYPE", help="only this type, e.g. ADT or ADT^A08")
    log.add_argument("--sender", default="", metavar="NAME", help="MSH-3, MSH-4, or both as 'MSH-3|MSH-4'")
    log.add_argument("--fault", default="", metavar="CODE", help="only messages with this fault of table 0357")
    log.add_argument("--rule", default="", metavar="RULE", help="only messages with a problem of this rule")
    log.add_argument("--since", default="", metavar="TIME", help="received at or after (ISO 8601, UTC)")
    log.add_argument("--until", default="", metavar="TIME", help="received before")
    log.add_argument("--limit", type=count, default=0, metavar="N", help="only the newest N")
    log.add_argument("--follow", action="store_true", help="go on with messages as they come, until interrupted")


async def run(args: argparse.Namespace) -> int:
    """Open the store and run one action."""
    from fhir_server.app import opened
    from fhir_server.cli import read_settings

    settings = read_settings(args)
    needs_messages = args.action not in ("maps", "profile")  # profiles may be learned before the first message
    async with opened(settings, must_exist=needs_messages) as composed:
        code: int = await args.work(Session(cast(Core, composed.hub), settings), args)
        return code


# --- log -----------------------------------------------------------------------------------------------------
async def run_log(session: Session, args: argparse.Namespace) -> int:
    """List messages; with --control-id 1 where none has it."""
    since, until = search.moment(args.since), search.moment(args.until)
    wanted = Wanted(
        args.control_id, known_state(args.state), args.type, args.sender, since, until, args.fault, args.rule
    )
    count, last = 0, 0
    async for entry in _listed(session, wanted, args.limit):
        count, last = count + 1, max(last, entry.seq)
        emit(entry.shown()) if args.json else print(summary(entry), flush=True)
    while args.follow:
        await asyncio.sleep(FOLLOW_S)
        async for entry in search.walk(session.core, session.tenant, wanted, after=last):
            last = max(last, entry.seq)
            emit(entry.shown()) if args.json else print(summary(entry), flush=True)
    return 0 if count or not args.control_id else 1


async def _listed(session: Session, wanted: Wanted, limit: int) -> AsyncIterator[Entry]:
    if limit > 0:
        for entry in await search.newest(session.core, session.tenant, wanted, limit):
            yield entry
        return
    async for entry in search.walk(session.core, session.tenant, wanted):
        yield entry


def summary(entry: Entry) -> str:
    """Return a message as one line."""
    body = entry.body
    parts = [body["received"], body["control_id"], body["type"] or "?", body["code"] or "-", entry.state]
    parts.append(
        f"{counted(len(body.get('resources', ())), 'resource')}, {counted(len(body.get('issues', ())), 'problem')}"
    )
    if body.get("unused"):
        parts.append("unused: " + " ".join(body["unused"]))
    if body.get("unmapped"):
        parts.append("no map: " + " ".join(f"{place} {code}" for place, _, code, _ in body["unmapped"][:5]))
    if "error" in body:
        code, said = body["error"]["code"], body["error"]["detail"]
        parts.append(f"{code} at {body['error']['path']}: {said or words.in_words(words.FAULTS, code, 'en')}")
    return "  ".join(parts)


def counted(number: int, what: str) -> str:
    """Return how many: `1 problem`, `2 problems`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


# --- show ----------------------------------------------------------------------------------------------------
async def run_show(session: Session, args: argparse.Namespace) -> int:
    """Print one message; what is looked at is audited."""
    entry = await session.find(args.key)
    session.saw(entry)
    channel = (await channels(session.core, session.tenant, session.settings))(entry.body["channel"])
    message = detail.shown_of(entry.raw, channel.charset)
    marks = detail.marks_of(entry.body)
    tree = detail.tree_of(message, marks) if message else []
    found = await _resources(session, entry) if args.part in (None, "fhir") else []
    drafted = detail.draft_of(channel, entry.raw) if args.part == "draft" or (args.part is None and not found) else []
    raw = "\n".join(line.rstrip("\r") for line in detail.text_of(entry.raw, entry.body["charset"])[0].split("\r"))
    if args.json:
        emit({**entry.shown(), "raw": raw, "tree": [_branch(b) for b in tree], "fhir": found, "draft": drafted})
        return 0
    if args.part is None:
        print(summary(entry) + "\n")
    if args.part in (None, "raw"):
        print(raw)
    if args.part in (None, "tree"):
        print("\n".join(_tree_lines(tree)) + "\n")
    for resource in (*found, *drafted):
        print(json.dumps(json.loads(gate.write(resource)), ensure_ascii=False, indent=2))
    return 0


async def _resources(session: Session, entry: Entry) -> list[Any]:
    async def work(asking: Asking) -> list[Any]:
        found = [await asking.resource(reference) for reference in entry.body.get("resources", ())]
        return [resource for resource in found if resource is not None]

    found: list[Any] = await session.core.ask(session.tenant, work)
    return found


def _branch(branch: detail.Branch) -> dict[str, Any]:
    return {
        "segment": branch.name,
        "path": branch.path,
        "mark": branch.mark,
        "fields": [_leaf(x) for x in branch.leaves],
    }


def _leaf(leaf: detail.Leaf) -> dict[str, Any]:
    made: dict[str, Any] = {"path": leaf.path, "name": leaf.name}
    if leaf.mark:
        made["mark"] = leaf.mark
    return {**made, "parts": [_leaf(part) for part in leaf.parts]} if leaf.parts else {**made, "value": leaf.text}


def _tree_lines(tree: list[detail.Branch]) -> list[str]:
    made: list[str] = []

    def add(leaf: detail.Leaf, depth: int) -> None:
        mark = {detail.BAD: " <-- FAULT", detail.NOTED: f" <-- {leaf.note}", detail.UNUSED: " (unused)"}.get(
            leaf.mark, ""
        )
        made.append(f"{'  ' * depth}{leaf.path:<12} {leaf.name}: {leaf.text}{mark}")
        for part in leaf.parts:
            add(part, depth + 1)

    for branch in tree:
        mark = {detail.BAD: " <-- FAULT", detail.UNUSED: " (unused)"}.get(branch.mark, "")
        made.append(f"{branch.path}{mark}")
        for leaf in branch.leaves:
            add(leaf, 1)
    return made


# --- coverage and maps ---------------------------------------------------------------------------------------
async def run_coverage(session: Session, args: argparse.Namespace) -> int:
    """Print accounts by sender and type."""
    since, until = search.moment(args.since), search.moment(args.until)
    await coverage.catch_up(session.core, session.tenant, session.zone)
    found = await coverage.report(session.core, session.tenant, sender=args.sender, since=since, until=until)
    for (who, type), account in found.items():
        entry = coverage.shown(who, type, account, top=args.top)
        emit(entry) if args.json else print("\n".join(_coverage_lines(entry)))
    return 0


def _coverage_lines(entry: dict[str, Any]) -> list[str]:
    used, unused = len(entry["used"]), len(entry["unused"])
    lines = [
        f"{entry['sender']}  {entry['type']}  {counted(entry['messages'], 'message')}, "
        f"{counted(entry['seen'], 'field')} seen: {used} used, {unused} unused; "
        f"{counted(len(entry['unmapped']), 'code')} without a map"
    ]
    if entry["unused"]:
        lines.append("  unused: " + ", ".join(f"{name} ({count})" for name, count in entry["unused"].items()))
    lines += [f"  no map: {row['field']} {row['system']} {row['code']} ({row['count']})" for row in entry["unmapped"]]
    return lines


async def run_maps(session: Session, args: argparse.Namespace) -> int:
    """Print one table as a ConceptMap, or the list of tables and what the senders' own maps cannot be used for."""
    if args.name:
        print(json.dumps(shipped.concept_map(args.name), ensure_ascii=False, indent=2))
        return 0
    local = (await channels(session.core, session.tenant, session.settings))("mllp").local
    own = {mapped.map for rows in local.codes.rows.values() for _, mapped in rows}
    if args.json:
        unused = [{"map": name, "why": why} for name, why in local.codes.unused]
        emit({"source": tables.source(), "tables": shipped.index(), "own": sorted(own), "unused": unused})
        return 0
    print(tables.source())
    for row in shipped.index():
        print(
            f"{row['table']}  {row['name']}  {row['rows']} rows, {row['decisions']} of them ours, "
            f"{row['without_target']} codes without a target"
        )
    for name in sorted(own):
        print(f"own   {name}")
    for name, why in local.codes.unused:
        print(f"      {name}: not used: {why}")
    return 0
