"""Writes docs/configuration.md from the table of variables in the code: `python docs/generate.py`. A test holds the two
together."""

from __future__ import annotations

from pathlib import Path

from tycostream.settings import VARIABLES

PAGE = Path(__file__).with_name("configuration.md")
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


def render() -> str:
    """The page."""
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


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
