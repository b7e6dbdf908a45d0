"""Writes docs/configuration.md from the table of variables in the code, docs/errors.md from that of error codes,
docs/cli.md from the command line's parser, and the tables in docs/metrics.md from that of metrics:
`python docs/generate.py`. A test holds them together."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from tycostream.cli import make_parser
from tycostream.errors import GROUPS, Failure
from tycostream.metrics import families
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


ERRORS_HEAD = """# Error codes

Every way in which something can fail has a code that keeps its meaning. Errors of GraphQL have it in `extensions.code`,
over WebSockets and HTTP, and so have all other errors that are answered over HTTP. A message says what was wrong this
time and what would be valid; it may be worded differently tomorrow.

**Again?** says whether the same again can help: *no*, something has to be changed first; *later*, wait for longer each
time; *at once*, connect again after a short random wait and subscribe again.

HTTP statuses are those of answers that carry the code. With `Accept: application/json`, a request that can't be carried
out is answered with 200; with `application/graphql-response+json`, with 400. Log lines end with the code in brackets.
`/metrics` counts errors by code, and connections by the close code with which they ended: [metrics.md](metrics.md).
What operators do about each is in [operations.md](operations.md).
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


def errors() -> str:
    """The page of error codes."""
    parts = [ERRORS_HEAD]
    for title, failures in GROUPS.items():
        parts.append(f"\n## {title}\n\n| code | meaning | again? | where |\n| --- | --- | --- | --- |\n")
        parts += [f"| `{one.code}` | {one.meaning} | {one.retry.value} | {_places(one)} |\n" for one in failures]
    return "".join(parts)


def _places(failure: Failure) -> str:
    places = ["GraphQL"] if failure.graphql else []
    if failure.http:
        places.append(f"HTTP {', '.join(map(str, failure.http))}")
    if failure.close is not None:
        places.append(f"close code {failure.close}")
    if failure.log:
        places.append(f"log of `{failure.log}`")
    if failure.exit is not None:
        places.append(f"exit code {failure.exit}")
    return "; ".join(places)


def metrics() -> str:
    """The page of metrics: what stands there, with the tables anew."""
    before, begin, rest = (FOLDER / "metrics.md").read_text(encoding="utf-8").partition("<!-- metrics -->\n")
    _, end, after = rest.partition("<!-- /metrics -->\n")
    parts = [before, begin]
    for title, group in families.GROUPS.items():
        parts.append(f"\n### {title}\n\n| metric | type | labels | what it tells |\n| --- | --- | --- | --- |\n")
        for one in group:
            labels = ", ".join(f"`{label}`" for label in one.labels)
            parts.append(f"| `{one.name}` | {one.kind.value} | {labels} | {one.help} |\n")
    return "".join((*parts, "\n", end, after))


PAGES = {"configuration.md": configuration, "errors.md": errors, "cli.md": commands, "metrics.md": metrics}

if __name__ == "__main__":
    for name, render in PAGES.items():
        (FOLDER / name).write_text(render(), encoding="utf-8")
