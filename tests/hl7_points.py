"""What the acceptance points of HL7 v2 share: a hub with channels, numbers of their own, messages."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.blackbox.test_mllp import Line, person, resources
from tests.hl7_messages import header, message, pv1
from tests.running import RunningHub, free_port


@pytest.fixture
def one() -> str:
    """A number that no other test uses."""
    return uuid.uuid4().hex[:10].upper()


CHANNELS: Mapping[str, Mapping[str, object]] = {
    "latin": {"senders": ["LATIN"], "charset": "iso8859-15"},
    "small": {"senders": ["SMALL"], "max_message": 600},
    "applied": {"senders": ["APPLIED"], "ack_when": "applied"},
    "plain": {"senders": ["PLAIN|CHU TEST"], "enhanced": False},
}


def channel(name: str, keys: Mapping[str, object]) -> str:
    """Return a channel as the TOML file has it; TOML writes these values as JSON does."""
    lines = (f"{key} = {json.dumps(value)}\n" for key, value in {"name": name, **keys}.items())
    return f"[[channel]]\n{''.join(lines)}"


class Configured:
    """A hub with channels, a folder, and little patience."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder / "in", free_port()
        self.folder.mkdir()
        file = folder / "channels.toml"
        own: dict[str, object] = {"bind": f"127.0.0.1:{self.port}", "sequence": True, "batch": "batch", "test": True}
        file.write_text("".join(channel(name, keys) for name, keys in {"numbered": own, **CHANNELS}.items()))
        flags = ("--hl7-channels", str(file), "--hl7-folder", str(self.folder), "--mllp-stall", "1")
        self.hub = RunningHub(*flags)


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Configured]:
    """A running hub with channels, a folder, and little patience."""
    made = Configured(tmp_path_factory.mktemp("configured"))
    with made.hub:
        yield made


class OtherLine(Line):
    """A connection to the channel with a port of its own."""

    def __init__(self, configured: Configured) -> None:
        port, configured.hub.mllp_port = configured.hub.mllp_port, configured.port
        try:
            super().__init__(configured.hub)
        finally:
            configured.hub.mllp_port = port


def family(hub: RunningHub, number: str) -> str:
    """Return the family name of the patient of this number."""
    (found,) = resources(hub.search(f"Patient?identifier={number}"))
    return str(found["name"][0]["family"])


def admitted(number: str, name: str = "DUPOND", control: str = "", **more: str) -> str:
    """Return an admission; `more` are fields of its header."""
    first = header(control=control or number, **more)
    return message(first, "EVN||20261120083000", person(number, name=f"{name}^Amélie"), pv1(f"V{number}"))


def batch(messages: list[str], said: int | None = None, files: str = "1") -> str:
    """Return a file of one batch; `said` is its BTS-1, where that is not how many messages it has."""
    count = len(messages) if said is None else said
    return (
        "FHS|^~\\&|DPI|CHU TEST|HUB|REGION|20261120||||F1\rBHS|^~\\&|DPI|CHU TEST|HUB|REGION|20261120||||B1\r"
        f"{''.join(messages)}BTS|{count}\rFTS|{files}\r"
    )
