"""Composition of the HL7 v2 room."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from adapters.hl7.room import open
from adapters.hl7.tls import Certificates
from fhir_server.app import opened
from fhir_server.errors import Unavailable
from fhir_server.interface import Core
from fhir_server.settings import Settings
from tests.running import free_port


def test_without_certificate_there_is_no_tls() -> None:
    assert Certificates().context() is None


@pytest.mark.parametrize(
    "content", [pytest.param(None, id="a file that is not there"), pytest.param("x", id="no certificate")]
)
def test_a_certificate_that_cannot_be_used_fails_the_start(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(Unavailable):
        Certificates(str(file)).context()


async def test_the_listener_is_bound_by_start_and_gone_after_stop() -> None:
    settings = Settings(store="memory:", rooms=(), mllp=f"127.0.0.1:{free_port()}")
    async with opened(settings) as composed:
        room = open(cast(Core, composed.hub), settings)
        for _ in range(2):
            for start in room.starts:
                await start()
            for stop in room.stops:
                await stop()
        assert room.metrics is not None
        assert room.metrics()["predmp_mllp_connections"] == 0.0


async def test_a_room_that_was_never_started_can_be_stopped() -> None:
    settings = Settings(store="memory:", rooms=())
    async with opened(settings) as composed:
        for stop in open(cast(Core, composed.hub), settings).stops:
            await stop()
