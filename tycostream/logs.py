"""How the service logs: one line an event, to standard error."""

from __future__ import annotations

import logging
import sys

_LEVELS = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "verbose": logging.DEBUG,
}


def configure_logging(level: str) -> None:
    """Log at this LOG_LEVEL. Libraries are heard from `info` on only where it says `verbose`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tycostream").setLevel(_LEVELS[level])
    if level == "verbose":
        logging.getLogger().setLevel(logging.DEBUG)
    # A refused request is the client's affair; tornado would log each with a warning
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
