"""Tornado: WebSocket, HTTP, health, debug pages and the console. It knows actors as what it is handed."""
