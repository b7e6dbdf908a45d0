"""What tests that run over every kind of database are handed."""

from __future__ import annotations

from tests.support.materialize.database import MaterializeDatabase
from tests.support.postgres import Database

AnyDatabase = Database | MaterializeDatabase
"""Both understand PostgreSQL's SQL; `environ` says to the service what it is."""
