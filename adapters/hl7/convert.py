"""A message to what it wants stored: patients, stays, reports and results, before anything is looked up.

Which types of message are taken, and what each says, is `routes.ROUTES`. Nothing here waits or writes.
"""

from __future__ import annotations

from typing import Final

from adapters.hl7 import grammar
from adapters.hl7.context import Context
from adapters.hl7.draft import Draft, Kind
from adapters.hl7.event import recorded
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.group import Tree, group
from adapters.hl7.maps.tables import structures
from adapters.hl7.routes import ROUTES, TYPES
from adapters.hl7.tokens import Message, part

MSH_USED: Final = frozenset({*range(1, 13), 15, 16, 17, 18, 21})
EVN_USED: Final = frozenset({1, 2, 6})


def kind(message: Message) -> Kind:
    """Read MSH-9 and MSH-12.

    Raises:
        Refused: 200 for a type that is not taken, 201 for an event, 203 for a version.
    """
    header = message.header
    parts = header.first(9)
    type, trigger, given = part(parts, 1), part(parts, 2), part(parts, 3)
    if not type:
        raise Refused(Fault("101", header.place(9), "The message type is missing."))
    if not trigger and (events := [s for s in message.segments if s.name == "EVN"]):
        trigger = events[0].text(1)
    if type not in TYPES:
        raise Refused(Fault("200", header.place(9)))
    if (type, trigger) not in ROUTES:
        raise Refused(Fault("201", header.place(9)))
    version = header.text(12)
    if grammar.known_version(version) is None:
        raise Refused(Fault("203", header.place(12)))
    return Kind(type, trigger, structures().get(f"{type}^{trigger}", given), version)


def read_tree(message: Message, what: Kind) -> Tree:
    """Sort a message's segments into its structure; where its version has none, that of 2.5 serves."""
    version = grammar.known_version(what.version) or "2.5"
    found = (
        grammar.structure(what.structure, version)
        or grammar.structure(f"{what.type}_{what.trigger}", version)
        or grammar.structure(what.structure, "2.5")
    )
    if found is None:
        raise Refused(Fault("200", message.header.place(9)))
    return group(message.segments, found)


def convert(message: Message, context: Context) -> Draft:
    """Read what a message wants stored.

    Args:
        message: One message; its header passed `kind`.
        context: Its zone and sender; problems and used fields are noted in it.

    Raises:
        Refused: Something that it must have is missing.
    """
    what = kind(message)
    if [segment.name for segment in message.segments].count("MSH") > 1:
        raise Refused(Fault("100", Place("MSH", 2), "There are two messages in one frame."))
    tree = read_tree(message, what)
    for segment in tree.strays:
        if not segment.name.startswith("Z"):
            context.note(segment, 0, "segment-out-of-place")
    context.take(message.header, MSH_USED)
    event = next((s for s in message.segments if s.name == "EVN"), None)
    if event:
        context.take(event, EVN_USED)
    when = recorded(context, message.segments, note=True)
    people = ROUTES[what.type, what.trigger](context, tree.root, what, message.header.text(10))
    for segment in tree.strays:  # the French ones are read
        if segment.name.startswith("Z") and id(segment) not in context.taken:
            context.note(segment, 0, "segment-local")
    return Draft(people, when.at, context, when.doubt)
