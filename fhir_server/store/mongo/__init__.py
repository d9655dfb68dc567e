"""The store in a MongoDB database, shared by many hub processes; see README.md."""

from fhir_server.store.mongo.store import MongoStore

__all__ = ["MongoStore"]
