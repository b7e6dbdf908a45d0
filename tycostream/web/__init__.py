"""Tornado: WebSocket protocol and transport, HTTP, health, debug and query pages. It knows actors as what it is handed."""
