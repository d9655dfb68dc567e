"""The command `predmp`: serve, demo, load, export, token, check, doctor, audit, and the rooms' own commands.

Exit codes: 0 done, 1 problems found, 2 bad usage or settings, 141 where what reads the output has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import importlib
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from fhir_server import collector
from fhir_server.errors import FhirError
from fhir_server.settings import PREFIX, ROOMS, Settings, SettingsError

CORE_COMMANDS = frozenset(
    {"serve", "demo", "token", "load", "export", "move", "backup", "check", "audit", "doctor", "reindex", "jobs"}
)
"""Commands that need no room to be imported before they are known."""

PIPE_CLOSED: Final = 141
"""Exit code where nobody reads on what is printed (`| head`): 128 and the number of SIGPIPE, as shells have it."""

OF_FILES: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENOSPC, errno.EDQUOT}
)
"""What a file or a disk refuses: told in one line, as it is nothing that a traceback explains."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    collector.begin()
    given = list(sys.argv[1:] if argv is None else argv)
    args = build_parser(rooms=not given or given[0] not in CORE_COMMANDS).parse_args(given)
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    try:
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _print_nowhere()
        return PIPE_CLOSED
    except OSError as error:
        if error.errno not in OF_FILES:
            raise
        _print_nowhere()
        where = f"{error.filename}: " if error.filename else ""
        print(f"predmp: {where}{error.strerror}", file=sys.stderr)
        return 2
    except SettingsError as error:
        print(f"predmp: {error}", file=sys.stderr)
        return 2
    except FhirError as error:
        print(f"predmp: {error.text}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _print_nowhere() -> None:
    """Let what is left to print at exit go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build_parser(*, rooms: bool = True) -> argparse.ArgumentParser:
    """Return the parser of the command; without `rooms` none of them is imported, so that it starts at once."""
    parser = argparse.ArgumentParser(
        prog="predmp", description="The hub between hospitals, devices, telemedicine vendors, patients and the DMP."
    )
    parser.add_argument("--version", action="version", version=f"predmp {version('predmp')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    _add(commands, "serve", "start the hub", run_serve, every_setting=True)
    demo = _add(commands, "demo", "start the hub and play a synthetic French day on it", run_demo, every_setting=True)
    demo.add_argument("--exit", action="store_true", help="stop when the day is over, in place of serving on")
    _add_token(commands)
    _add_load(commands)
    _add_export(commands)
    _add_move(commands)
    backup = _add(
        commands, "backup", "copy a SQLite store into a file while hubs run on it", run_backup, settings=("store",)
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="where to; a new file")
    _add_jobs(commands)
    check = _add(commands, "check", "validate resource files against FHIR R4", run_check)
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    audit = _add(commands, "audit", "the audit chain", run_audit, settings=("store",))
    audit.add_argument("action", choices=["verify"], help="verify: say whether a row was changed or removed")
    _add(
        commands,
        "doctor",
        "say whether this machine and this store are fit",
        run_doctor,
        settings=("store", "http", "mllp", "tenant", "zone"),
    )
    _add_reindex(commands)
    if not rooms:
        return parser
    for name in ROOMS:
        for command in getattr(importlib.import_module(name), "COMMANDS", ()):
            sub = commands.add_parser(command.name, help=command.help, description=command.help)
            command.configure(sub)
            sub.set_defaults(run=command.run)
    _add_conformance(commands)
    return parser


def _add_conformance(commands: Any) -> None:
    suite = importlib.import_module("conformance.command")
    help = "run the conformance suites against any FHIR R4 base"
    sub = commands.add_parser("conformance", help=help, description=help)
    suite.configure(sub)
    sub.set_defaults(run=suite.run)


def _add(
    commands: Any,
    name: str,
    help: str,
    run: Callable[[argparse.Namespace], int],
    *,
    settings: Sequence[str] = (),
    every_setting: bool = False,
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    made.set_defaults(run=run)
    for item in fields(Settings):
        if every_setting or item.name in settings:
            flag, text = item.name.replace("_", "-"), item.metadata["help"]
            made.add_argument(
                f"--{flag}", metavar="VALUE", help=f"{text} ({PREFIX}{item.name.upper()})".replace("%", "%%")
            )
    if every_setting or settings:
        made.add_argument("--config", type=Path, metavar="FILE", help="TOML file with the same names")
    return made


def read_settings(args: argparse.Namespace) -> Settings:
    """Return the settings that flags, variables and the file give."""
    flags = {item.name: getattr(args, item.name, None) for item in fields(Settings)}
    return Settings.read(os.environ, flags, getattr(args, "config", None))


def run_async(work: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine on the fast event loop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def run_serve(args: argparse.Namespace) -> int:
    """Start the hub."""
    from fhir_server.serve import serve

    return run_async(serve(read_settings(args)))


def run_demo(args: argparse.Namespace) -> int:
    """Start the hub and play a day on it."""
    from fhir_server.demonstration.demo import demo

    return run_async(demo(read_settings(args), stop=args.exit, given=args.store is not None))


def _add_token(commands: Any) -> None:
    token = _add(commands, "token", "print a bearer token and nothing else", run_token, settings=("store", "tenant"))
    token.add_argument("--scope", required=True, help="SMART v2 scopes, e.g. 'system/*.cruds'")
    token.add_argument("--sub", default="operator", metavar="NAME", help="who the token is for, as audit names them")
    token.add_argument(
        "--actor", default="", metavar="TYPE/ID", help="Practitioner/ID or Organization/ID that consent names"
    )
    token.add_argument("--patient", default="", metavar="ID", help="the Patient whose own token this is")
    token.add_argument("--purpose", default="TREAT", help="v3-PurposeOfUse, e.g. TREAT")
    token.add_argument("--ttl", type=int, default=3600, metavar="SECONDS", help="how long it holds")


def run_token(args: argparse.Namespace) -> int:
    """Print one bearer token."""
    from fhir_server.operator import make_token
    from fhir_server.security.tokens import actor_of

    if args.ttl <= 0:
        raise SettingsError("--ttl is a number of seconds above zero")
    settings = read_settings(args)
    actor = actor_of(
        {
            "sub": args.sub,
            "scope": args.scope,
            "actor": args.actor,
            "patient": args.patient,
            "purpose": args.purpose,
            "tenant": settings.tenant,
        }
    )
    print(run_sync(make_token(settings, actor, args.ttl)))
    return 0


def run_sync(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine and return what it returns."""
    return asyncio.run(work)


def _add_load(commands: Any) -> None:
    load = _add(
        commands, "load", "load files and folders of FHIR resources", run_load, settings=("store", "tenant", "zone")
    )
    load.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="Bundle, resource, NDJSON, package .tgz; .gz and .bz2 as they are",
    )
    load.add_argument("--triage", action="store_true", help="let triage look at what is loaded; else it is history")
    load.add_argument(
        "--everything", action="store_true", help="load FHIR packages whole, with their examples; else definitions only"
    )
    load.add_argument("--json", action="store_true", help="print the counts as JSON")


def run_load(args: argparse.Namespace) -> int:
    """Load files and folders."""
    return run_async(_load(args, read_settings(args)))


async def _load(args: argparse.Namespace, settings: Settings) -> int:
    """Start worker processes where there is much to load, then import the hub, while they import their part of it."""
    from fhir_server.bulk.crew import Crew, are_many, worker_count
    from fhir_server.sources import find_files

    crew = Crew()
    try:
        if are_many(find_files(args.paths)):
            await crew.start(worker_count())
        from fhir_server.load import load

        flags = {"triage": args.triage, "as_json": args.json, "everything": args.everything}
        return await load(settings, args.paths, **flags, crew=crew)
    finally:
        await crew.stop()


def _add_export(commands: Any) -> None:
    help = "write every current resource as NDJSON, one file a type"
    export = _add(commands, "export", help, run_export, settings=("store", "tenant", "zone"))
    export.add_argument("folder", type=Path, metavar="FOLDER", help="where to; new or empty")


def _add_move(commands: Any) -> None:
    help = "copy a store of any kind into another, empty one, and compare them"
    move = _add(commands, "move", help, run_move, settings=("tenant", "zone", "base_url"))
    move.add_argument("source", metavar="FROM", help="sqlite:///PATH or mongodb://HOST/DATABASE; it is not changed")
    move.add_argument("target", metavar="TO", help="the same; it must hold nothing but what this move left before")
    move.add_argument("--json", action="store_true", help="print counts and hashes as JSON")


def run_move(args: argparse.Namespace) -> int:
    """Copy a store into another."""
    from fhir_server.move import move

    return run_async(move(read_settings(args), args.source, args.target, as_json=args.json))


def run_backup(args: argparse.Namespace) -> int:
    """Copy a SQLite store into a file."""
    from fhir_server.backup import backup

    return run_async(backup(read_settings(args), args.file))


def run_export(args: argparse.Namespace) -> int:
    """Write every current resource."""
    from fhir_server.export import export

    return run_async(export(read_settings(args), args.folder))


def _add_reindex(commands: Any) -> None:
    help = "index resources anew: after a new release, or for new search parameters; a server may run on the store"
    reindex = _add(commands, "reindex", help, run_reindex, settings=("store", "tenant", "zone", "http", "base_url"))
    reindex.add_argument("types", nargs="*", metavar="TYPE", help="resource types; every type where none is named")
    reindex.add_argument("--json", action="store_true", help="print the counts as JSON")


def run_reindex(args: argparse.Namespace) -> int:
    """Index resources anew."""
    from fhir_server.reindex import reindex

    return run_async(reindex(read_settings(args), args.types, as_json=args.json))


def run_check(args: argparse.Namespace) -> int:
    """Print one line per problem; a valid file prints nothing."""
    from fhir_server.cli_check import check_files

    return check_files(args.files)


def _add_jobs(commands: Any) -> None:
    jobs = _add(commands, "jobs", "list long-running jobs, or cancel one", run_jobs, settings=("store", "tenant"))
    jobs.add_argument("action", choices=["list", "cancel"])
    jobs.add_argument("id", nargs="?", default="", help="of the job to cancel")
    jobs.add_argument("--json", action="store_true", help="print the list as JSON")


def run_jobs(args: argparse.Namespace) -> int:
    """List or cancel jobs."""
    from fhir_server.jobs.command import cancel_job, list_jobs
    from fhir_server.operator import with_store

    if (args.action == "cancel") != bool(args.id):
        raise SettingsError("predmp jobs list, or predmp jobs cancel ID")
    settings = read_settings(args)
    if args.action == "list":
        return run_async(with_store(settings, lambda store: list_jobs(store, settings.tenant, as_json=args.json)))
    return run_async(with_store(settings, lambda store: cancel_job(store, settings.tenant, args.id)))


def run_audit(args: argparse.Namespace) -> int:
    """Verify the audit chain."""
    from fhir_server.operator import verify_audit
    from fhir_server.store.choice import check_there

    settings = read_settings(args)
    check_there(settings)
    bad = run_sync(verify_audit(settings))
    print("the audit chain is whole" if bad is None else f"the audit chain is broken at row {bad}")
    return 0 if bad is None else 1


def run_doctor(args: argparse.Namespace) -> int:
    """Say what is fit and what is not."""
    from fhir_server.doctor import examine

    return run_async(examine(read_settings(args)))
