"""Settings: the environment and the schema file, checked, with all mistakes reported together."""

from tycostream.settings.configuration import load_configuration
from tycostream.settings.environment import (
    VARIABLES,
    DatabaseSettings,
    Limits,
    ServiceSettings,
    Settings,
    SourceSettings,
    WebhookSettings,
    load_settings,
    read_settings,
)
from tycostream.settings.problems import Problem, SettingsError
from tycostream.settings.schema_file import load_schema

__all__ = [
    "VARIABLES",
    "DatabaseSettings",
    "Limits",
    "Problem",
    "ServiceSettings",
    "Settings",
    "SettingsError",
    "SourceSettings",
    "WebhookSettings",
    "load_configuration",
    "load_schema",
    "load_settings",
    "read_settings",
]
