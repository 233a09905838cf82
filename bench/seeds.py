"""Seeds derived per component and repetition, so that nothing shares luck by accident."""

from __future__ import annotations

import hashlib


def derive(seed: int, *parts: str | int) -> int:
    """A seed below 2^48 for a named part: the same arguments give the same seed on every machine."""
    text = "/".join([str(seed), *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")
