"""Tornado: WebSocket, HTTP, health, debug and query pages. It knows actors as what it is handed."""
