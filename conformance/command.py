"""`predmp conformance run`: the suites against any FHIR R4 base."""

from __future__ import annotations

import argparse
from pathlib import Path

import httpx

from conformance import examples


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("action", choices=["run"], help="run: store and read back every example of a file")
    parser.add_argument("--base", default="http://127.0.0.1:8080/fhir", metavar="URL", help="FHIR base to test")
    parser.add_argument("--token", default="", help="bearer token")
    parser.add_argument(
        "--examples", type=Path, required=True, metavar="FILE", help="one resource a line, or packed by xz"
    )


def run(args: argparse.Namespace) -> int:
    """Run the suite; 0 when every example came back equal."""
    headers = {"Authorization": f"Bearer {args.token}"} if args.token else {}
    with httpx.Client(base_url=args.base.rstrip("/") + "/", headers=headers, timeout=60, trust_env=False) as client:
        report = examples.run(client, examples.read_lines(args.examples))
    for kind, found in (("refused", report.refused), ("different", report.different)):
        for name, why in sorted(found.items()):
            print(f"{kind}: {name}: {why}")
    total = report.equal + len(report.refused) + len(report.different)
    print(f"{report.equal} of {total} examples came back equal")
    return 0 if report.equal == total else 1
