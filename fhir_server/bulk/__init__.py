"""Bulk export and import."""
