"""Webhooks: their addresses, what may be said to them, and the requests."""
