"""HTML pages that load nothing and run nothing but what they carry."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass, field

_CARRIED = re.compile(r"<(style|script)\b[^>]*>(.*?)</\1>", re.DOTALL)
_RULES = (
    "default-src 'none'",
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)


@dataclass(frozen=True, slots=True)
class Page:
    """A page and the Content-Security-Policy that names its own style sheets and scripts by their hashes."""

    html: str
    policy: str = field(init=False)

    def __post_init__(self) -> None:
        hashes: dict[str, list[str]] = {"style": [], "script": []}
        for kind, text in _CARRIED.findall(self.html):
            hashes[kind].append(f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
        carried = [f"{kind}-src {' '.join(found)}" for kind, found in hashes.items() if found]
        object.__setattr__(self, "policy", "; ".join([*_RULES, *carried]))
