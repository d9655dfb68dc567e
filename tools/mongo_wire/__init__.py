"""A server that speaks MongoDB's wire protocol, for tests; see README.md."""

from tools.mongo_wire.server import CannotStart, WireServer

__all__ = ["CannotStart", "WireServer"]
