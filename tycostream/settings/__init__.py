"""Settings: the environment and the schema file, checked, with all mistakes reported together."""

from tycostream.settings.environment import (
    VARIABLES,
    DatabaseSettings,
    Limits,
    ServiceSettings,
    Settings,
    SourceSettings,
    load_settings,
    read_settings,
)
from tycostream.settings.problems import Problem, SettingsError

__all__ = [
    "VARIABLES",
    "DatabaseSettings",
    "Limits",
    "Problem",
    "ServiceSettings",
    "Settings",
    "SettingsError",
    "SourceSettings",
    "load_settings",
    "read_settings",
]
