"""Triggers: what they watch for (watches.py), and how webhooks are told of it."""
