"""What tests share: running hubs, on each kind of store where a module asks for that."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import mongo, mosquitto
from tests.running import RunningHub

ENGINES = ("sqlite", "mongo", "memory")

# How long an example takes, or is made, says how busy the machine is, and nothing of what is tested.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks."""
    config.addinivalue_line("markers", "every_store: runs on SQLite, on MongoDB and in memory")
    config.addinivalue_line("markers", "durable_stores: runs on SQLite and on MongoDB, which other processes reach too")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked, and uses a hub, on several stores."""
    if "store_engine" not in metafunc.fixturenames:
        return
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    if "durable_stores" in marks:
        metafunc.parametrize("store_engine", ENGINES[:2], indirect=True, scope="session")
    elif "every_store" in marks:
        metafunc.parametrize("store_engine", ENGINES, indirect=True, scope="session")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was not tested: MongoDB, MQTT."""
    for what, reason in (("THE MONGODB STORE", mongo.missing()), ("MQTT", mosquitto.missing())):
        if reason:
            terminalreporter.section(f"SKIPPED: {what}", sep="#")
            terminalreporter.write_line(reason)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the server that MongoDB's tests run on."""
    mongo.stop()


@pytest.fixture(scope="session")
def store_engine(request: pytest.FixtureRequest) -> str:
    """The kind of store under a hub: sqlite or what PREDMP_TEST_STORE says, or one of those that a mark names."""
    return str(getattr(request, "param", os.environ.get("PREDMP_TEST_STORE", ENGINES[0])))


@pytest.fixture(scope="session")
def hubs_of_session() -> Iterator[dict[str, RunningHub]]:
    """The hubs that run to the end of the session, by the kind of their store."""
    made: dict[str, RunningHub] = {}
    yield made
    for running in made.values():
        running.__exit__(None, None, None)


@pytest.fixture(scope="session")
def hub(store_engine: str, hubs_of_session: dict[str, RunningHub]) -> RunningHub:
    """A running hub of the whole session; tests add their own patients and never count all of them."""
    if store_engine not in hubs_of_session:
        hubs_of_session[store_engine] = RunningHub(engine=store_engine).start()
    return hubs_of_session[store_engine]


@pytest.fixture
def own_hub(store_engine: str) -> Iterator[RunningHub]:
    """A running hub of this test alone, for tests that count, stop or kill it."""
    with RunningHub(engine=store_engine) as running:
        yield running
