"""What a message is answered."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from adapters.hl7.faults import Fault, Place
from adapters.hl7.record import INTERNAL

STORE_DOWN: Final = Fault(INTERNAL, Place("MSH"), "The store does not answer.", reject=True)
DISK_LOW: Final = Fault(INTERNAL, Place("MSH"), "There is no room for more messages.", reject=True)


class Answer(NamedTuple):
    """No, one or two acknowledgements, in the message's character set."""

    code: str  # AA, AE, AR; "" where it is not answered
    state: str  # of the message when it is answered; "" where it is not kept
    texts: tuple[str, ...] = ()
    codec: str = "utf-8"
    later: asyncio.Future[Answer] | None = None  # the application acknowledgement of enhanced mode, once it is known

    @property
    def frames(self) -> list[bytes]:
        """The acknowledgements as bytes, without framing."""
        return [text.encode(self.codec, "replace") for text in self.texts]
