"""Materialize: every source is one SUBSCRIBE, read through a cursor."""

from __future__ import annotations

from tycostream.databases.materialize.catalog import examine
from tycostream.databases.materialize.subscribe import MaterializeDriver, session_options

__all__ = ["MaterializeDriver", "examine", "session_options"]
