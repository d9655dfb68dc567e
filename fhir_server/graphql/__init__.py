"""GraphQL over FHIR resources."""

from fhir_server.graphql.failures import QueryError
from fhir_server.graphql.parser import read

__all__ = ["QueryError", "read"]
