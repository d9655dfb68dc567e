"""What all HTML pages share: layout, signing in, language, forms, headers."""

from fhir_server.pages.pages import Pages
from fhir_server.pages.session import SignInNeeded

__all__ = ["Pages", "SignInNeeded"]
