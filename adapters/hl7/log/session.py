"""What the commands of the message log share: one command on an open store, its options, its output."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from adapters.hl7.log import search
from adapters.hl7.log.entry import Entry
from adapters.hl7.log.search import Wanted
from adapters.hl7.record import STATES
from fhir_server import gate
from fhir_server.errors import BadRequest, NotFound
from fhir_server.interface import Core

AUDIT: Final = "hl7-message"
"""The interaction that audit shows for a look at a message, or a replay of it."""

AUDIT_MANY: Final = "hl7-message-replay"
"""The one that it shows for a replay of many."""


class Session:
    """One command on an open store."""

    def __init__(self, core: Core, settings: Any) -> None:
        self.core, self.settings = core, settings
        self.tenant = core.tenants()[0]

    @property
    def zone(self) -> ZoneInfo:
        """The hub's."""
        return ZoneInfo(self.settings.zone)

    async def find(self, name: str) -> Entry:
        """Return the message of a key or a control id; raise NotFound, or BadRequest where several have it."""
        if found := await search.by_key(self.core, self.tenant, name):
            return found
        several = await search.newest(self.core, self.tenant, Wanted(control_id=name), 2)
        if not several:
            raise NotFound("There is no such message.")
        if len(several) > 1:
            raise BadRequest("Several messages have this control id; give the key that `log --json` shows.")
        return several[0]

    def saw(self, entry: Entry, action: str = "R") -> None:
        """Keep in the audit chain that a message's content was looked at, or that it was applied again."""
        self._audit(action, AUDIT, entry.patients, f"message={entry.seq}")

    def began_many(self, *, is_dry: bool) -> None:
        """Keep in the audit chain that many messages are applied again, or that it is looked at what that would do."""
        self._audit("R" if is_dry else "U", AUDIT_MANY, (), "many")

    def _audit(self, action: str, interaction: str, patients: tuple[str, ...], query: str) -> None:
        actor = self.core.internal(self.tenant, "predmp hl7")
        self.core.audit(actor, action, interaction, "", patients, 0, "", query)


def known_state(text: str) -> str:
    """Return a state, "" for none; raise BadRequest for a word that is none."""
    if text and text not in STATES:
        raise BadRequest("There is no such state; known are " + ", ".join(STATES) + ".")
    return text


def count(text: str) -> int:
    """Read an option that says how many (`argparse`)."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError
    return int(text)


def content(file: Path) -> bytes:
    """Return what a file holds; raise BadRequest where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadRequest(f"{file}: {error.strerror}") from None


def add_action(actions: Any, name: str, help: str, run: Callable[[Session, Any], Coroutine[Any, Any, int]]) -> Any:
    """Add an action with the options that all of them have."""
    made = actions.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    made.add_argument("--json", action="store_true", help="one JSON object a line")
    made.add_argument("--store", metavar="VALUE", help="sqlite:///PATH (PREDMP_STORE)")
    made.add_argument("--tenant", metavar="VALUE", help="tenant of the messages (PREDMP_TENANT)")
    made.add_argument("--config", type=Path, metavar="FILE", help="TOML file with the settings")
    made.set_defaults(work=run)
    return made


def emit(value: Any) -> None:
    """Print a value as one line of JSON."""
    print(gate.write(value).decode(), flush=True)
