"""A client for people at a terminal: `tycostream subscribe`."""
