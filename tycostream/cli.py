"""The command line: serve (without a command), `check`, `demo`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tycostream import __version__
from tycostream.model import Catalog
from tycostream.settings import Problem, Settings, SettingsError, load_configuration

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIGURATION = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit code: 0 fine, 1 failed, 2 the configuration has to be mended."""
    parsed = _parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except SettingsError as error:
        return _refuse(error.problems)
    except KeyboardInterrupt:
        return EXIT_OK
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tycostream",
        description="Serves the tables and views that schema.yaml names as live GraphQL subscriptions. "
        "Settings come from environment variables and .env: see docs/configuration.md.",
    )
    parser.add_argument("--version", action="version", version=f"tycostream {__version__}")
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(title="commands", metavar="")
    check = commands.add_parser("check", help="validate the settings and the schema file against the database")
    check.add_argument("--offline", action="store_true", help="do not connect to the database")
    check.set_defaults(run=_check)
    demo = commands.add_parser("demo", help="serve a small market with live data from an embedded database")
    demo.add_argument("--port", type=int, default=None, help="the port to listen on (default: GRAPHQL_PORT or 4000)")
    demo.add_argument("--instruments", type=int, default=24, help="how many there are (default: 24)")
    demo.add_argument("--rate", type=int, default=40, help="price changes a second, about (default: 40)")
    demo.set_defaults(run=_demo)
    return parser


def _serve(_arguments: argparse.Namespace) -> int:
    from tycostream.app import serve

    settings, catalog = _configuration()
    return asyncio.run(serve(settings, catalog))


def _check(arguments: argparse.Namespace) -> int:
    from tycostream.check import check_database

    settings, catalog = _configuration()
    names = ", ".join(catalog.sources)
    print(f"{settings.service.schema_path}: {len(catalog.sources)} sources ({names})")
    if arguments.offline:
        print("The schema file is valid. The database was not asked.")
        return EXIT_OK
    return asyncio.run(check_database(settings, catalog))


def _demo(arguments: argparse.Namespace) -> int:
    from tycostream.demo.run import Options, run

    return asyncio.run(run(Options(arguments.port, arguments.instruments, arguments.rate)))


def _configuration() -> tuple[Settings, Catalog]:
    """Settings and catalog, or SettingsError with the problems of both."""
    settings, catalog = load_configuration(os.environ, Path.cwd())
    for warning in settings.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return settings, catalog


def _refuse(problems: Sequence[Problem]) -> int:
    print(f"tycostream can't start: {len(problems)} problem{'s' * (len(problems) > 1)}", file=sys.stderr)
    for problem in problems:
        print(f"  {problem.place}: {problem.message}", file=sys.stderr)
    return EXIT_CONFIGURATION
