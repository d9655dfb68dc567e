"""`predmp hl7 replay`: one message again, or all that fit, with what they would change or did."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from adapters.hl7 import replay
from adapters.hl7.log import detail
from adapters.hl7.log.channel import channels
from adapters.hl7.log.search import moment
from adapters.hl7.log.session import Session, add_action, content, emit, known_state
from adapters.hl7.record import QUARANTINED, STATES
from adapters.hl7.replay import Difference, Mode, Report, Selection, Summary
from fhir_server import gate
from fhir_server.errors import BadRequest

SELECTING: Final = ("fault", "path", "rule", "code", "sender", "state", "type", "since", "until")
"""Options that say which messages."""


def configure(actions: Any) -> None:
    """Add the action and its options."""
    again = add_action(actions, "replay", "apply stored messages again, with today's maps", run_replay)
    again.add_argument("id", nargs="?", default="", metavar="ID", help="MSH-10, or the key that `log --json` shows")
    again.add_argument("--dry-run", action="store_true", help="only say what would change")
    again.add_argument("--as-of", action="store_true", help="leave what something later than the message changed")
    again.add_argument("--edited", type=Path, metavar="FILE", help="replay this copy in place of the message")
    again.add_argument("--all", action="store_true", help="all messages that fit the options below")
    again.add_argument("--fault", default="", metavar="CODE", help="those with this fault of table 0357")
    again.add_argument("--path", default="", metavar="PATH", help="those with the fault at this place, e.g. 'PID[1]-3'")
    again.add_argument("--rule", default="", metavar="RULE", help="those with a problem of this rule")
    again.add_argument("--code", default="", metavar="CODE", help="those with this code without a map, e.g. 'OBX-3 FC'")
    again.add_argument("--sender", default="", metavar="NAME", help="those of this sender, 'MSH-3|MSH-4'")
    again.add_argument("--state", default="", help="those in this state: " + ", ".join(STATES))
    again.add_argument("--type", default="", metavar="TYPE", help="those of this type, e.g. ADT^A08")
    again.add_argument("--since", default="", metavar="TIME", help="those received at or after (ISO 8601, UTC)")
    again.add_argument("--until", default="", metavar="TIME", help="those received before")


async def run_replay(session: Session, args: argparse.Namespace) -> int:
    """Apply one message again, or many; 1 where one of them is in quarantine afterwards."""
    mode = Mode.DRY_RUN if args.dry_run else Mode.AS_OF if args.as_of else Mode.APPLY
    selects = bool(
        args.code
        or args.sender
        or args.fault
        or args.path
        or args.rule
        or args.state
        or args.type
        or args.since
        or args.until
    )
    if bool(args.id) == bool(args.all or selects) or (args.edited and not args.id):
        raise BadRequest("Give one message, or --all with what selects them; --edited goes with one message.")
    known = await channels(session.core, session.tenant, session.settings)
    if args.id:
        return await _replay_one(session, args, mode, known)
    if not args.all:
        raise BadRequest("Say --all to replay every message that fits.")
    selection = Selection(
        state=known_state(args.state) or (QUARANTINED if args.fault or args.path else ""),
        fault=args.fault,
        path=args.path,
        type=args.type,
        since=moment(args.since),
        until=moment(args.until),
        rule=args.rule,
        sender=args.sender,
        code=args.code,
    )
    session.began_many(is_dry=mode is Mode.DRY_RUN)
    total = await _count(session, selection)
    made = await _with_progress(
        replay.many(session.core, selection, channels=known, tenant=session.tenant, mode=mode), total, args.json
    )
    emit(summary_json(made)) if args.json else print("\n".join(summary_lines(made, mode)))
    return 1 if made.faults else 0


async def _replay_one(session: Session, args: argparse.Namespace, mode: Mode, known: Any) -> int:
    entry = await session.find(args.id)
    core, tenant = session.core, session.tenant
    session.saw(entry, "R" if mode is Mode.DRY_RUN else "U")
    if args.edited:
        raw = _as_declared(args.edited)
        by = "predmp hl7 replay"
        report = await replay.edited(core, entry.key, raw, channels=known, tenant=tenant, mode=mode, by=by)
    elif mode is Mode.DRY_RUN:
        report = await replay.dry_run(core, entry.key, channels=known, tenant=tenant)
    else:
        report = await replay.apply(core, entry.key, channels=known, tenant=tenant, as_of=mode is Mode.AS_OF)
    if args.json:
        emit(report_json(report))
    else:
        answer = report.fault.answer if report.fault else "AA"
        print(f"{args.id}  {answer}  {report.state}{'  (dry run)' if mode is Mode.DRY_RUN else ''}")
        print("\n".join(report_lines(report)))
    return 1 if report.state == QUARANTINED else 0


def _as_declared(file: Path) -> bytes:
    """Return an edited copy in the set that its MSH-18 declares: what `show` prints, and editors save, is UTF-8."""
    raw = content(file)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw  # in a set of its own
    if text.startswith("\ufeff") or "\x00" in text or "\x1b" in text:
        return raw  # so is one with a mark, one of two bytes a character, and one of ISO 2022
    try:
        return detail.bytes_of(text)
    except UnicodeEncodeError:
        raise BadRequest(f"{file}: a character is not in the character set that the copy declares.") from None


async def _count(session: Session, selection: Selection) -> int:
    return sum([1 async for _ in replay.selected(session.core, selection, tenant=session.tenant)])


async def _with_progress(reports: AsyncIterator[Report], total: int, as_json: bool) -> Summary:
    """Count reports, with a progress bar; with --json one line for each."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    made = Summary()
    with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("replay", total=total)
        async for report in reports:
            made.add(report)
            bar.advance(task)
            if as_json:
                emit(report_json(report, values=False))
    return made


def report_json(report: Report, *, values: bool = True) -> dict[str, Any]:
    """Return what a replay did, as JSON.

    Args:
        report: Of one message.
        values: Whether with the values that differ: they are the patient's data.
    """
    touched: list[dict[str, Any]] = []
    for one in report.touched:
        row: dict[str, Any] = {"reference": one.reference, "action": one.action}
        if one.differences:
            row["differences"] = [
                {"path": d.path, **({"before": d.before, "after": d.after} if values else {})} for d in one.differences
            ]
        touched.append(row)
    made: dict[str, Any] = {"key": report.key, "mode": report.mode.value, "before": report.before}
    made["state"] = report.state
    if fault := report.fault:
        made["error"] = {"code": fault.code, "path": fault.place.path, "detail": fault.detail, **report.reason}
    return {**made, "touched": touched, "problems": list(report.rules)}


def report_lines(report: Report) -> list[str]:
    """Return what a replay did, as lines."""
    made = []
    for one in report.touched:
        made.append(f"  {one.action:<9} {one.reference}")
        made += [f"    {d.path}: {_change(d, one.action)}" for d in one.differences]
    if report.fault:
        made.append(f"  {report.fault.code} at {report.fault.place.path}: {report.fault.detail}")
    return made


def _change(difference: Difference, action: str) -> str:
    before, after = (
        gate.write(value).decode() if isinstance(value, dict | list) else str(value)
        for value in (difference.before, difference.after)
    )
    return after if action == "created" else f"{before} -> {after}"


def summary_json(made: Summary) -> dict[str, Any]:
    """Return a summary as JSON."""
    return {
        "messages": made.messages,
        "states": [{"before": a, "after": b, "count": n} for (a, b), n in made.states.most_common()],
        "actions": [{"type": a, "action": b, "count": n} for (a, b), n in made.actions.most_common()],
        "paths": [{"type": a, "path": b, "count": n} for (a, b), n in made.paths.most_common(100)],
        "faults": [{"code": a, "path": b, "count": n} for (a, b), n in made.faults.most_common(100)],
    }


def summary_lines(made: Summary, mode: Mode) -> list[str]:
    """Return a summary as lines."""
    lines = [f"{made.messages} messages{', nothing written (dry run)' if mode is Mode.DRY_RUN else ''}"]
    lines += [f"  {before or '-'} -> {after}: {n}" for (before, after), n in made.states.most_common()]
    lines += [f"  {type} {action}: {n}" for (type, action), n in made.actions.most_common()]
    lines += [f"    {type}.{path}: {n}" for (type, path), n in made.paths.most_common(40)]
    lines += [f"  fault {code} at {path}: {n}" for (code, path), n in made.faults.most_common(40)]
    return lines
