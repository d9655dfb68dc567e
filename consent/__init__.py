"""Consent: provisions to decisions, decisions to what a query may see."""
