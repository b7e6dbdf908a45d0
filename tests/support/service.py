"""The whole service, in the test's own loop, on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tycostream.app import Service
from tycostream.settings import load_schema, load_settings


@asynccontextmanager
async def serving(folder: Path, schema: str, environ: Mapping[str, str]) -> AsyncIterator[Service]:
    """A running service for a schema file's text and environment variables; stopped at the end."""
    (folder / "schema.yaml").write_text(schema, encoding="utf-8")
    settings = load_settings({"GRAPHQL_PORT": "0", "GRAPHQL_HOST": "127.0.0.1", **environ}, folder)
    service = Service(settings, load_schema(settings.service.schema_path))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
