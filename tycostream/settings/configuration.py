"""The whole configuration at once: the environment and the schema file that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tycostream.model import Catalog
from tycostream.settings.environment import Settings, read_settings
from tycostream.settings.problems import SettingsError
from tycostream.settings.schema_file import load_schema


def load_configuration(environ: Mapping[str, str], folder: Path) -> tuple[Settings, Catalog]:
    """The settings and the catalog. Raises SettingsError with the problems of both, the environment's first."""
    settings, problems = read_settings(environ, folder)
    try:
        catalog = load_schema(settings.service.schema_path)
    except SettingsError as error:
        raise SettingsError([*problems, *error.problems]) from None
    if problems:
        raise SettingsError(problems)
    return settings, catalog
