"""`GET /metadata`: what the server can do, kept as bytes until its parts change.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#capabilities
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from fhir_server import gate
from fhir_server.errors import BadParameter
from fhir_server.http.message import Request, Response
from fhir_server.interactions.subset import subset
from fhir_server.model import Resource

FULL = "full"


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
        """Return the statement, a part of it, or 304; raise BadParameter for a mode that there is not."""
        asked = dict(request.pairs)
        mode = asked.get("mode", FULL)
        if mode not in self._modes:
            raise BadParameter(f"The parameter 'mode' takes one of {', '.join(self._modes)}.")
        body, etag = self._statement(mode)
        if request.headers.get("if-none-match", "").strip() in (etag, "*"):
            return Response(304, headers=(("etag", etag),))
        elements = tuple(name for name in asked.get("_elements", "").split(",") if name)
        if elements or asked.get("_summary", "false") != "false":
            body = gate.write(subset(gate.load(body), asked.get("_summary", "false"), elements))
        return Response(200, body, (("etag", etag),))

    def _statement(self, mode: str) -> tuple[bytes, str]:
        stamp = self._stamp()
        if mode not in self._made or self._made[mode][0] != stamp:
            body = gate.write(self._modes[mode]())
            self._made[mode] = (stamp, body, f'W/"{hashlib.sha256(body).hexdigest()[:16]}"')
        return self._made[mode][1:]
