"""Writes docs/configuration.md from the table of variables in the code, and docs/cli.md from the command line's parser:
`python docs/generate.py`. A test holds them together."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from tycostream.cli import make_parser
from tycostream.settings import VARIABLES

FOLDER = Path(__file__).parent
CONFIGURATION = """# Configuration

Every environment variable. They are also read from a file `.env` in the folder where tycostream is started; the
environment goes before it, and an empty variable counts as not set. All mistakes are reported together, and the process
then ends with code 2.

The file that names the sources is described in the [guide](guide.md).
"""
TITLES = {
    "database": "Database",
    "service": "Service",
    "sources": "Sources",
    "limits": "Limits",
    "webhooks": "Webhooks",
}

COMMANDS = """# Command line

Every command. `tycostream` is short for `python -m tycostream`. What is set in the environment or in `.env` stands in
[configuration.md](configuration.md).

| exit code | means |
| --- | --- |
| 0 | Done, or ended by Ctrl-C or SIGTERM. |
| 1 | It failed: the database or service can't be reached, or what was asked about does not fit, or breaks clients. |
| 2 | The command line, the settings or a schema file must be mended; standard error has a line for each mistake. |
"""


def configuration() -> str:
    """The page of variables."""
    parts = [CONFIGURATION]
    group = None
    for variable in VARIABLES:
        if variable.group != group:
            group = variable.group
            parts.append(f"\n## {TITLES[group]}\n\n| variable | default | meaning |\n| --- | --- | --- |\n")
        default = f"`{variable.default}`" if variable.default else "empty"
        others = ", ".join(f"{kind}: {f'`{value}`' if value else 'empty'}" for kind, value in variable.defaults.items())
        parts.append(f"| `{variable.name}` | {default}{f' ({others})' if others else ''} | {variable.help} |\n")
    return "".join(parts)


def commands() -> str:
    """The page of commands."""
    return COMMANDS + "".join(_command(make_parser()))


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A command's section, then those of the commands below it. argparse has no public list of a parser's arguments."""
    arguments = [one for one in parser._actions if not isinstance(one, argparse._HelpAction)]  # noqa: SLF001
    below = [one for one in arguments if isinstance(one, argparse._SubParsersAction)]  # noqa: SLF001
    own = [one for one in arguments if one not in below]
    if own or not below:
        yield f"\n## {parser.prog}\n\n{parser.description}\n"
        yield from _table(own)
    for group in below:
        for command in group.choices.values():
            yield from _command(command)


def _table(arguments: list[argparse.Action]) -> Iterator[str]:
    if not arguments:
        return
    yield "\n| argument | meaning |\n| --- | --- |\n"
    for argument in arguments:
        values = argument.metavar or (argument.dest.upper() if argument.nargs != 0 else "")
        value = " ".join(values) if isinstance(values, tuple) else values
        spelled = [f"`{option} {value}`" if value else f"`{option}`" for option in argument.option_strings]
        text = argument.help or ""
        yield f"| {', '.join(spelled) or f'`{value}`'} | {text[0].upper()}{text[1:]}. |\n"


PAGES = {"configuration.md": configuration, "cli.md": commands}

if __name__ == "__main__":
    for name, render in PAGES.items():
        (FOLDER / name).write_text(render(), encoding="utf-8")
