"""`GET /metadata`: what the server can do, kept as bytes until its parts change.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#capabilities
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from fhir_server import gate
from fhir_server.errors import BadParameter, MethodNotAllowed, UnknownParameter
from fhir_server.http.message import Request, Response
from fhir_server.http.part import NAMES, read_part
from fhir_server.model import Resource
from fhir_server.search.clauses import shown

FULL = "full"
_KNOWN: Final = NAMES | {"", "mode", "_format", "_pretty"}
_TYPES: Final = ("CapabilityStatement", "TerminologyCapabilities")


class Metadata:
    """Answers `/metadata`.

    Args:
        modes: By `mode`: makes the statement. `full` is what is given without one.
        stamp: Changes when a statement made before no longer holds.
    """

    def __init__(self, modes: Mapping[str, Callable[[], Resource]], stamp: Callable[[], object]) -> None:
        self._modes, self._stamp = modes, stamp
        self._made: dict[str, tuple[object, bytes, str]] = {}

    def answer(self, request: Request) -> Response:
        """Return the statement, a part of it, or 304.

        Raises:
            MethodNotAllowed: It is to be changed.
            BadParameter, UnknownParameter: There is no such mode or parameter.
        """
        if request.method not in ("GET", "HEAD"):
            error = MethodNotAllowed("The metadata are read only.")
            error.headers["Allow"] = "GET"
            raise error
        for name, _ in request.pairs:
            if name not in _KNOWN and not request.is_lenient:
                raise UnknownParameter(f"The parameter '{shown(name)}' is not known here.")
        mode = dict(request.pairs).get("mode", FULL)
        if mode not in self._modes:
            raise BadParameter(f"The parameter 'mode' takes one of {', '.join(self._modes)}.")
        part = read_part(request, _TYPES)
        body, etag = self._statement(mode)
        if request.headers.get("if-none-match", "").strip() in (etag, "*"):
            return Response(304, headers=(("etag", etag),))
        return Response(200, part.of(body), (("etag", etag),))

    def _statement(self, mode: str) -> tuple[bytes, str]:
        stamp = self._stamp()
        if mode not in self._made or self._made[mode][0] != stamp:
            body = gate.write(self._modes[mode]())
            self._made[mode] = (stamp, body, f'W/"{hashlib.sha256(body).hexdigest()[:16]}"')
        return self._made[mode][1:]
