"""`python -m tools.mongo_wire [--port N] [--file FILE]`: a server to try the MongoDB store on, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tools.mongo_wire import CannotStart, WireServer


def main() -> int:
    """Start a server, print a URL, and wait."""
    parser = argparse.ArgumentParser(prog="tools.mongo_wire", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    parser.add_argument("--file", type=Path, help="file of H2 that keeps what is written; else it is in memory")
    args = parser.parse_args()
    try:
        with WireServer(args.file, args.port) as server:
            print(server.url("predmp"), flush=True)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except CannotStart as error:
        print(f"tools.mongo_wire: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
