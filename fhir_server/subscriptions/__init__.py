"""Subscriptions: matched at commit, delivered from the outbox."""
