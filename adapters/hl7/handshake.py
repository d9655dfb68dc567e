"""TLS handshakes of a listener: how many there may be at once, and why one failed.

The event loop hands a connection on once its handshake is over: until then it counts nowhere, and where it fails it
goes without a word. So the handshakes are counted here, and the reason is told: one of OpenSSL's own texts (an expired
certificate, an unknown issuer, none at all); nothing that a client sent is in it.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from itertools import count


class Handshakes:
    """Those under way on a listener.

    Args:
        lasts_s: Seconds after which the event loop ends one; then it counts no more.
        admits: Says whether another one may begin, beside this number.
        told: Called with the reason of each that failed.
        clock: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        lasts_s: float,
        admits: Callable[[int], bool] = lambda others: True,
        told: Callable[[str], None] = lambda reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lasts_s, self._admits, self._clock = lasts_s, admits, clock
        self._begun: dict[int, float] = {}  # in the order in which they began
        self._numbers = count(1)
        self.told = told

    def __len__(self) -> int:
        border = self._clock() - self._lasts_s
        while self._begun:
            oldest = next(iter(self._begun))
            if self._begun[oldest] > border:
                break
            del self._begun[oldest]
        return len(self._begun)

    def begin(self) -> int:
        """Count one more; return its number, 0 where there are too many."""
        if not self._admits(len(self)):
            return 0
        number = next(self._numbers)
        self._begun[number] = self._clock()
        return number

    def end(self, number: int) -> None:
        """Count one no more: it is over, or failed."""
        self._begun.pop(number, None)


class Handshake(ssl.SSLObject):
    """The server's side of a connection."""

    _number = 0  # of its handshake

    def do_handshake(self) -> None:
        """Go on with the handshake; a client that only went away is not told of."""
        context = self.context
        assert isinstance(context, ServerContext)
        handshakes = context.handshakes
        try:
            if not self._number:
                self._number = handshakes.begin()
                if not self._number:
                    raise ssl.SSLError("too many connections")
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            handshakes.end(self._number)
            raise
        except ssl.SSLError as error:
            handshakes.end(self._number)
            handshakes.told(_reason(error))
            raise
        handshakes.end(self._number)


class ServerContext(ssl.SSLContext):
    """TLS of a listener, which sets `handshakes` before it takes connections."""

    sslobject_class = Handshake
    handshakes: Handshakes


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    reason: str | None = getattr(error, "reason", None)  # only errors of OpenSSL itself have one
    return (reason or str(error)).replace("_", " ").lower()
