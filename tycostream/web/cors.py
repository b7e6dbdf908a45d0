"""Which pages of other origins may read the answers (the Fetch standard's CORS protocol)."""

from __future__ import annotations

import re
from collections.abc import Mapping

PREFLIGHT_SECONDS = 600

_NAMES = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z, \t]+")


def cors_headers(asked: Mapping[str, str], methods: str, origins: frozenset[str], *, ui: bool) -> dict[str, str]:
    """The headers of an answer to a request with the headers `asked`.

    Origins that the operator names may read, and no others, whether the UI is on or not. Where none is named, `origins`
    is empty and any may read while the UI is on.
    """
    headers = {}
    if origins:
        headers["Vary"] = "Origin"
        origin = asked.get("Origin", "")
        if origin.lower() not in origins:
            return headers
        headers["Access-Control-Allow-Origin"] = origin
    elif ui:
        headers["Access-Control-Allow-Origin"] = "*"
    else:
        return headers
    if "Access-Control-Request-Method" in asked:
        wanted = asked.get("Access-Control-Request-Headers", "")
        headers["Access-Control-Allow-Methods"] = methods
        # Named one by one, since "*" does not stand for Authorization
        headers["Access-Control-Allow-Headers"] = wanted if _NAMES.fullmatch(wanted) else "*"
        headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    return headers
