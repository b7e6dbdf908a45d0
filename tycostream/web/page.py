"""HTML pages that load nothing and run nothing but what they carry, or what this service serves beside them."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass, field

_CARRIED = re.compile(r"<(style|script)\b[^>]*>(.*?)</\1>", re.DOTALL)
_RULES = (
    "default-src 'none'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)


@dataclass(frozen=True, slots=True)
class Page:
    """A page and the Content-Security-Policy that names its own style sheets and scripts by their hashes.

    With `served` it may also load those that come from the service itself; such a page builds what it shows from text
    alone: `require-trusted-types-for` forbids its scripts to hand text to anything that reads it as HTML or code.
    """

    html: str
    served: bool = False
    policy: str = field(init=False)

    def __post_init__(self) -> None:
        own = ["'self'"] if self.served else []
        sources: dict[str, list[str]] = {"style": [*own], "script": [*own], "img": ["data:", *own]}
        for kind, text in _CARRIED.findall(self.html):
            if text:
                sources[kind].append(f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
        allowed = [f"{kind}-src {' '.join(found)}" for kind, found in sources.items() if found]
        if self.served:
            allowed.append("require-trusted-types-for 'script'")
        object.__setattr__(self, "policy", "; ".join([*_RULES, *allowed]))
