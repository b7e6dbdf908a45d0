"""Writes docs/configuration.md from the table of variables in the code, and docs/errors.md from that of error codes:
`python docs/generate.py`. A test holds them together."""

from __future__ import annotations

from pathlib import Path

from tycostream.errors import GROUPS, Failure
from tycostream.settings import VARIABLES

PAGE = Path(__file__).with_name("configuration.md")
ERRORS = Path(__file__).with_name("errors.md")
HEAD = """# Configuration

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
ERRORS_HEAD = """# Error codes

Every way in which something can fail has a code that keeps its meaning. Errors of GraphQL have it in `extensions.code`,
over WebSockets and HTTP, and so have all other errors that are answered over HTTP. A message says what was wrong this
time and what would be valid; it may be worded differently tomorrow.

**Again?** says whether the same again can help: *no*, something has to be changed first; *later*, wait for longer each
time; *at once*, connect again after a short random wait and subscribe again.

HTTP statuses are those of answers that carry the code. With `Accept: application/json`, a request that can't be carried
out is answered with 200; with `application/graphql-response+json`, with 400. Log lines end with the code in brackets.
What operators do about each is in [operations.md](operations.md).
"""


def render() -> str:
    """The page of variables."""
    parts = [HEAD]
    group = None
    for variable in VARIABLES:
        if variable.group != group:
            group = variable.group
            parts.append(f"\n## {TITLES[group]}\n\n| variable | default | meaning |\n| --- | --- | --- |\n")
        default = f"`{variable.default}`" if variable.default else "empty"
        others = ", ".join(f"{kind}: {f'`{value}`' if value else 'empty'}" for kind, value in variable.defaults.items())
        parts.append(f"| `{variable.name}` | {default}{f' ({others})' if others else ''} | {variable.help} |\n")
    return "".join(parts)


def render_errors() -> str:
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


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    ERRORS.write_text(render_errors(), encoding="utf-8")
