"""The demonstration: a small market in an embedded database, whose prices move."""
