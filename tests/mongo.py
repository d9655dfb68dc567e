"""The MongoDB that tests run on: the one of PREDMP_TEST_MONGO, else a wire server of the session's own."""

from __future__ import annotations

import gc
import os
import uuid
import warnings
from functools import lru_cache

import pytest
from pymongo import MongoClient

from tools.mongo_wire import CannotStart, WireServer

GIVEN = "PREDMP_TEST_MONGO"


@lru_cache(maxsize=1)
def server() -> WireServer | str:
    """Return the session's server, started at first use; a text that says why there is none."""
    try:
        return WireServer().start()
    except CannotStart as error:
        return str(error)


def base_url() -> str:
    """Return the URL of the server, without a database; skip where there is none."""
    given = os.environ.get(GIVEN)
    if given:
        return given.rstrip("/")
    found = server()
    if isinstance(found, str):
        pytest.skip(f"NO MONGODB TO TEST ON: {found}; {GIVEN} names another server")
    return found.url("").rstrip("/")


def missing() -> str:
    """Return why tests were skipped for want of a server; "" where none was."""
    if os.environ.get(GIVEN) or not server.cache_info().currsize:
        return ""
    found = server()
    return f"There was no server to test it on: {found}. {GIVEN} names another." if isinstance(found, str) else ""


def new_url() -> str:
    """Return the URL of a database that nobody uses."""
    host, question, options = base_url().partition("?")
    return f"{host.rstrip('/')}/t{uuid.uuid4().hex[:16]}{question}{options}"


def drop(url: str) -> None:
    """Remove a database."""
    client: MongoClient[dict[str, object]] = MongoClient(url)
    try:
        client.drop_database(client.get_default_database().name)
    finally:
        client.close()


def forget_sockets() -> None:
    """Collect the sockets that the driver leaves open where it gives up a connection; they are no later test's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def stop() -> None:
    """End the session's server, where one was started."""
    if server.cache_info().currsize and isinstance(found := server(), WireServer):
        found.stop()
    server.cache_clear()
