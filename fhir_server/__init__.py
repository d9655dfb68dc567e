"""The FHIR R4 server: the core that knows no other room by name."""

from fhir_server import native

native.install()  # before any module that may be compiled is imported
