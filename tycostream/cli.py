"""The command line: serve (without a command), `check`, `schema`, `subscribe`, `demo`. A table of contents: what the
commands do is written elsewhere."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from tycostream import __version__
from tycostream.model import Catalog
from tycostream.settings import Problem, Settings, SettingsError, load_configuration, load_schema, load_settings

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIGURATION = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit code: 0 fine, 1 failed, 2 the configuration has to be mended."""
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    for option in ("reload", "workers", "profile"):
        if getattr(parsed, option) not in (False, None) and parsed.run is not _serve:
            parser.error(f"--{option} is for serving: it stands without a command")
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()
    except SettingsError as error:
        return _refuse(error.problems)
    except KeyboardInterrupt:
        return EXIT_OK
    except BrokenPipeError:  # whoever read the output has enough of it, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    return code


class _InOrder(argparse.Action):
    """Keeps options of different names together, in the order in which they stand: `(first spelling, values)`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        given = [*(getattr(namespace, self.dest) or ()), (self.option_strings[0], values)]
        setattr(namespace, self.dest, given)


def make_parser() -> argparse.ArgumentParser:
    """All commands and their options; docs/cli.md is generated from it."""
    parser = argparse.ArgumentParser(
        prog="tycostream",
        allow_abbrev=False,
        description="Serves the tables and views that schema.yaml names as live GraphQL subscriptions. "
        "Settings come from environment variables and .env: see docs/configuration.md.",
    )
    parser.add_argument("--version", action="version", version=f"tycostream {__version__}", help="print the version")
    parser.add_argument(
        "--reload",
        action="store_true",
        help="serve a changed schema file without a restart, and start again when tycostream's own code has changed",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=_count_from_zero(64),
        help="serve clients from so many processes beside the one that follows the database (default: WORKERS or 0)",
    )
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FILE",
        help="sample what the loop does, and write a flame graph (SVG) at the end and whenever SIGUSR2 comes",
    )
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_check(commands)
    _add_schema(commands)
    _add_subscribe(commands)
    _add_demo(commands)
    return parser


def _add(commands: Any, name: str, help: str, run: Any, more: str = "") -> argparse.ArgumentParser:  # noqa: A002
    """A command with its one-line help, which `more` continues on its own page."""
    described = help[0].upper() + help[1:] + "." + (f" {more}" if more else "")
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=described, allow_abbrev=False)
    command.set_defaults(run=run)
    return command


def _add_check(commands: Any) -> None:
    check = _add(commands, "check", "validate the settings and the schema file against the database", _check)
    check.add_argument("--offline", action="store_true", help="do not connect to the database")


def _add_schema(commands: Any) -> None:
    schema = commands.add_parser(
        "schema", help="write, print and compare schema files", description="Write, print and compare schema files."
    )
    parts = schema.add_subparsers(title="commands", metavar="COMMAND", required=True)
    generate = _add(
        parts,
        "generate",
        "write a schema file from the database, to standard output",
        _schema_generate,
        "Without -s and --all, the relations that the database has are listed. Options count in their order: -p and -c "
        "belong to the -s before them. Exit codes: 1 where the database can't be asked, 2 where it has not what is "
        "asked for.",
    )
    options: tuple[tuple[str, str, Any, int | None, str], ...] = (
        ("-e", "--enum", ("NAME", "VALUES"), 2, "declare an enum: a name, and its values in rising order with commas"),
        ("-s", "--source", "RELATION", 1, "a table or view to write a source for, such as trades or risk.positions"),
        ("-p", "--primary-key", "COLUMN", 1, "the source's key, once for each column; the database's without it"),
        ("-c", "--column", "COLUMN:ENUM", 1, "a column of the source that is of a declared enum"),
    )  # fmt: skip
    for short, long, metavar, count, text in options:
        generate.add_argument(
            short, long, metavar=metavar, nargs=count, help=text, action=_InOrder, dest="given", default=()
        )
    generate.add_argument("--all", action="store_true", help="write a source for every relation of the database")
    _add(parts, "print", "print the GraphQL schema that the schema file makes", _schema_print)
    diff = _add(
        parts,
        "diff",
        "tell what changes for clients from one schema file to another",
        _schema_diff,
        "Exit codes: 0 where no client breaks, 1 where some do.",
    )
    diff.add_argument("old", type=Path, metavar="OLD", help="the schema file that clients know")
    diff.add_argument("new", type=Path, metavar="NEW", help="the schema file that is to be")
    diff.add_argument("--json", action="store_true", help="print JSON")


def _add_subscribe(commands: Any) -> None:
    subscribe = _add(
        commands,
        "subscribe",
        "show a source of a running service, live",
        _subscribe,
        "In a terminal a table is drawn again in place; elsewhere each update is a line. A lost connection is made "
        "again. Exit codes: 0 after Ctrl-C, 1 where the service can't be reached or does not accept the question.",
    )
    subscribe.add_argument("source", metavar="SOURCE", help="the source's name in the schema file")
    subscribe.add_argument("--where", metavar="FILTER", help="""a filter in GraphQL: '{symbol: {_eq: "AAPL"}}'""")
    subscribe.add_argument(
        "--columns", metavar="A,B", type=_names, default=[], help="the columns to show (default: all)"
    )
    subscribe.add_argument(
        "--url", type=_address, help="the service's address (default: ws://localhost:GRAPHQL_PORT/graphql)"
    )
    subscribe.add_argument("--json", action="store_true", help="print each update as a line of JSON")
    subscribe.add_argument("--limit-updates", metavar="N", type=_count, help="end after so many updates, rows included")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected names with commas between them")
    return names


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number from 1")
    return int(text)


def _count_to(most: int) -> Callable[[str], int]:
    """As `_count`, with an upper bound."""

    def count(text: str) -> int:
        if _count(text) > most:
            raise argparse.ArgumentTypeError(f"found {text!r}, expected {most} at most")
        return _count(text)

    return count


def _count_from_zero(most: int) -> Callable[[str], int]:
    """A number that may be none, with an upper bound."""

    def count(text: str) -> int:
        if not text.isdecimal() or int(text) > most:
            raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number from 0 to {most}")
        return int(text)

    return count


def _address(text: str) -> str:
    """The address of a WebSocket; one of HTTP is taken for it."""
    found = re.fullmatch(r"(?:http|ws)(s?)://([^\s/?#][^\s]*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected an address such as ws://localhost:4000/graphql")
    return f"ws{found[1]}://{found[2]}"


def _add_demo(commands: Any) -> None:
    demo = _add(
        commands,
        "demo",
        "serve a small market with live data from an embedded database",
        _demo,
        "A page at /demo shows it. The market is made anew at each start.",
    )
    demo.add_argument("--port", type=int, default=None, help="the port to listen on (default: GRAPHQL_PORT or 4000)")
    demo.add_argument("--instruments", metavar="N", type=_count_to(20_000), default=24, help="how many (default: 24)")
    demo.add_argument(
        "--rate", metavar="N", type=_count_to(100_000), default=40, help="price changes a second (default: 40)"
    )


def _serve(arguments: argparse.Namespace) -> int:
    from tycostream.profiling import profiled
    from tycostream.reload.restart import start_again
    from tycostream.serving import RESTART, serve

    settings, catalog = _configuration()
    if arguments.workers is not None:
        settings = replace(settings, service=replace(settings.service, workers=arguments.workers))
    with ExitStack() as stack:
        if arguments.profile is not None:
            try:
                stack.enter_context(profiled(arguments.profile))
            except OSError as error:
                return _refuse([Problem("--profile", f"{arguments.profile} can't be written: {error.strerror}")])
        code = asyncio.run(serve(settings, catalog, reload=arguments.reload))
    if code == RESTART:
        start_again()
    return code


def _check(arguments: argparse.Namespace) -> int:
    from tycostream.check import check_database

    settings, catalog = _configuration()
    names = ", ".join(catalog.sources)
    print(f"{settings.service.schema_path}: {len(catalog.sources)} sources ({names})")
    if arguments.offline:
        print("The schema file is valid. The database was not asked.")
        return EXIT_OK
    return asyncio.run(check_database(settings, catalog))


def _schema_generate(arguments: argparse.Namespace) -> int:
    from tycostream.schema.commands import run_generate

    return asyncio.run(run_generate(_settings(), arguments.given, all_relations=arguments.all))


def _schema_print(_arguments: argparse.Namespace) -> int:
    from tycostream.schema.commands import run_print

    return run_print(load_schema(_settings().service.schema_path))


def _schema_diff(arguments: argparse.Namespace) -> int:
    from tycostream.schema.commands import run_diff

    return run_diff(arguments.old, arguments.new, as_json=arguments.json)


def _subscribe(arguments: argparse.Namespace) -> int:
    from tycostream.terminal.follow import Wanted, run
    from tycostream.terminal.views import choose_view

    url = arguments.url or f"ws://localhost:{_settings().service.port}/graphql"
    wanted = Wanted(url, arguments.source, arguments.where, arguments.columns, arguments.limit_updates)
    return asyncio.run(run(wanted, choose_view(as_json=arguments.json)))


def _demo(arguments: argparse.Namespace) -> int:
    from tycostream.demo.run import Options, run

    return asyncio.run(run(Options(arguments.port, arguments.instruments, arguments.rate)))


def _settings() -> Settings:
    """The settings alone, or SettingsError."""
    settings = load_settings(os.environ, Path.cwd())
    _warn(settings)
    return settings


def _configuration() -> tuple[Settings, Catalog]:
    """Settings and catalog, or SettingsError with the problems of both."""
    settings, catalog = load_configuration(os.environ, Path.cwd())
    _warn(settings)
    return settings, catalog


def _warn(settings: Settings) -> None:
    for warning in settings.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _refuse(problems: Sequence[Problem]) -> int:
    print(f"tycostream can't start: {len(problems)} problem{'s' * (len(problems) > 1)}", file=sys.stderr)
    for problem in problems:
        print(f"  {problem.place}: {problem.message}", file=sys.stderr)
    return EXIT_CONFIGURATION
