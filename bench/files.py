"""Where the cache is, and atomic writes: readers see the old content or the new, and a crash leaves one of the two."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes to a temporary file next to `path`, flushes it to the disk, and moves it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:  # unlike tempfile's, open to those whom the umask lets in
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def default_cache() -> Path:
    """$GENTUNE_CACHE, else gentune in $XDG_CACHE_HOME, else ~/.cache/gentune."""
    own = os.environ.get("GENTUNE_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "gentune"


def writable_cache(otherwise: Path, say: Callable[[str], None]) -> Path:
    """The cache folder (`default_cache`), made if need be; where it cannot be written, `otherwise`, which is said."""
    cache = default_cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return cache
    except OSError as error:
        say(f"the cache {cache} cannot be written ({error.strerror}); {otherwise} takes its place in this run")
        return otherwise
