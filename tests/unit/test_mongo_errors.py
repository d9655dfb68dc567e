"""What the driver of MongoDB raises, as what clients see; no text of the server's goes further."""

from __future__ import annotations

import pytest
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from fhir_server.errors import FhirError, TooCostly, Unavailable
from fhir_server.store.mongo.connection import translated

SECRET = "mongodb://user:hunter2@host"


@pytest.mark.parametrize(
    ("error", "kind", "word"),
    [
        pytest.param(ExecutionTimeout(SECRET), TooCostly, "narrow", id="a statement beyond its time"),
        pytest.param(OperationFailure(SECRET, 292), TooCostly, "narrow", id="a sort beyond its memory"),
        pytest.param(OperationFailure(SECRET, 18), Unavailable, "user", id="a wrong password"),
        pytest.param(OperationFailure(SECRET, 13), Unavailable, "user", id="a user who may not"),
        pytest.param(OperationFailure(SECRET, 59), Unavailable, "refused", id="a command that is not there"),
        pytest.param(ConfigurationError(SECRET), Unavailable, "4.4", id="a server that is too old"),
        pytest.param(ServerSelectionTimeoutError(SECRET), Unavailable, "reached", id="no server"),
        pytest.param(AutoReconnect(SECRET), Unavailable, "reached", id="a connection that broke"),
    ],
)
def test_an_error_of_the_driver_is_one_of_ours(error: PyMongoError, kind: type[FhirError], word: str) -> None:
    with pytest.raises(kind) as raised, translated():
        raise error
    assert word in raised.value.text and "hunter2" not in raised.value.text
