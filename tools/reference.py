"""Write docs/reference/settings.md and commands.md from the code: `python -m tools.reference`.

A test fails when the files differ from what this writes.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from fhir_server.cli import build_parser
from fhir_server.settings import PREFIX, Settings

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"


def settings_page() -> str:
    """Return the page of settings."""
    lines = [
        "# Settings",
        "",
        "Each has a flag of `predmp serve`, a variable and a key in the TOML file of `--config`; the flag wins over",
        "the variable, the variable over the file.",
        "",
        "| flag | variable | default | what |",
        "|---|---|---|---|",
    ]
    for item in fields(Settings):
        default = " ".join(item.default) if isinstance(item.default, tuple) else str(item.default)
        flag, variable = item.name.replace("_", "-"), PREFIX + item.name.upper()
        shown = f"`{default}`" if default else "-"
        lines.append(f"| `--{flag}` | `{variable}` | {shown} | {item.metadata['help']} |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Return the page of commands, with their own help texts."""
    lines = ["# Commands", "", "Exit codes: 0 done, 1 problems found, 2 bad usage or settings."]
    for name, parser in _commands(build_parser()):
        usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
        lines += ["", f"## {name}", "", parser.description or "", "", "```", usage, "```", ""]
        lines += [
            f"- `{', '.join(action.option_strings) or action.metavar or action.dest}`: {action.help % vars(action)}"
            for action in parser._actions
            if action.help and action.dest not in ("help",) and action.help != argparse.SUPPRESS
        ]
    return "\n".join(lines) + "\n"


def _commands(parser: argparse.ArgumentParser, above: str = "predmp") -> list[tuple[str, argparse.ArgumentParser]]:
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                nested = _commands(sub, f"{above} {name}")
                found += nested or [(f"{above} {name}", sub)]
    return found


def main() -> None:
    """Write both pages."""
    (REFERENCE / "settings.md").write_text(settings_page(), "utf-8")
    (REFERENCE / "commands.md").write_text(commands_page(), "utf-8")


if __name__ == "__main__":
    main()
