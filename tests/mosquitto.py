"""A real MQTT broker for tests: Mosquitto on a port of its own, with persistence; and a gateway that publishes there."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.running import PATIENCE_S, free_port

PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
_asked: list[bool] = []


def missing() -> str:
    """Return why tests were skipped for want of a broker; "" where none was."""
    return "There is no mosquitto on this machine: nothing of MQTT was tested." if _asked and not PROGRAM else ""


class Mosquitto:
    """One broker; a context manager.

    Args:
        lines: More of its configuration, e.g. of TLS.
    """

    def __init__(self, *lines: str) -> None:
        _asked.append(True)
        if PROGRAM is None:
            pytest.skip("NO MQTT BROKER TO TEST ON: there is no mosquitto on this machine")
        self.folder = Path(tempfile.mkdtemp(prefix="mosquitto-"))
        self.port = free_port()
        self._lines = lines or ("allow_anonymous true",)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> Mosquitto:
        """Start it, on what it kept before, and wait until it listens."""
        (self.folder / "mosquitto.conf").write_text(
            "\n".join(
                [
                    *(f"user {getpass.getuser()}", f"listener {self.port} 127.0.0.1"),
                    *("persistence true", f"persistence_location {self.folder}/", "max_queued_messages 0"),
                    *self._lines,
                ]
            )
            + "\n"
        )
        with (self.folder / "log").open("ab") as out:
            self._process = subprocess.Popen(
                [str(PROGRAM), "-c", str(self.folder / "mosquitto.conf")], stdout=out, stderr=out
            )
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        raise AssertionError("mosquitto does not listen")

    def stop(self) -> None:
        """Stop it; it writes down what it keeps."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE_S)

    def __enter__(self) -> Mosquitto:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Gateway:
    """A gateway connected to a broker; a context manager.

    Args:
        broker: Where.
        name: Its client identifier.
        will: Topic and payload of its last will, retained.
        setup: What else the client needs before it connects.
    """

    def __init__(
        self, broker: Mosquitto, name: str = "gw-1", *, will: tuple[str, bytes] | None = None, setup: Any = None
    ) -> None:
        self._broker = broker
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
        if will is not None:
            self.client.will_set(*will, qos=1, retain=True)
        if setup is not None:
            setup(self.client)
        self._connected = threading.Event()
        self.client.on_connect = lambda *_: self._connected.set()

    def __enter__(self) -> Gateway:
        self.client.connect("localhost", self._broker.port)
        self.client.loop_start()
        assert self._connected.wait(PATIENCE_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self._close()

    def die(self) -> None:
        """Lose the connection without saying goodbye, so that the last will is told."""
        sock = self.client.socket()
        assert isinstance(sock, socket.socket)
        sock.shutdown(socket.SHUT_RDWR)

    def publish(self, topic: str, payload: bytes, media_type: str = "", *, qos: int = 1, retain: bool = False) -> None:
        """Publish, and wait until the broker has it."""
        properties = None
        if media_type:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ContentType = media_type
        self.client.publish(topic, payload, qos=qos, retain=retain, properties=properties).wait_for_publish(PATIENCE_S)

    def _close(self) -> None:
        """Close the sockets that the library leaves to the collector."""
        for name in ("_sockpairR", "_sockpairW"):
            if (sock := getattr(self.client, name)) is not None:
                sock.close()
                setattr(self.client, name, None)
