"""Triage: scores, alerts, CDS Hooks services, worklist."""
