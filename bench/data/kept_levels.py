"""What sources held, decoded once and kept: compact arrays in mapped files under the cache. Free of torch.

    CACHE/data/KEY/found.json      description, notes and hashes; its time of change is the last use
    CACHE/data/KEY/x.npy           levels (n, C, H, W), mapped into memory by all readers
    CACHE/data/KEY/NAME.npy        conditions, splits, groups and duplicates, where there are any

A folder appears whole or not at all. KEY is a hash of what was there, of the options, and of the code that decodes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ...models.data_spec import ConditionSpec, DataSpec, Pairing
from ..errors import UsageError, gib_limit
from ..files import default_cache
from .duplicates import Duplicates, find_duplicates
from .found import Chunks, Found

LIMIT_VARIABLE = "GENTUNE_DATA_CACHE_GIB"
_DEFAULT_GIB = 50.0
_DESCRIPTION = "found.json"
_PART = ".part-"
_ARRAYS = ("condition", "split", "groups")
_MANY = 10_000  # examples whose decoding takes so long that it is told
_CHUNK = 2**24  # bytes that are hashed at a time


@dataclass(frozen=True)
class KeptEntry:
    """A kept set on the disk. size: in bytes. used: when it was last read or written, in seconds since the epoch."""

    key: str
    name: str
    size: int
    used: float


def data_cache_limit() -> int:
    """The most bytes that kept sets may take: 50 GiB, or what the environment says.

    Raises UsageError for anything but a number of GiB.
    """
    return gib_limit(LIMIT_VARIABLE, _DEFAULT_GIB)


def kept(identity: str, make: Callable[[], Found]) -> Found:
    """What a source holds: from the cache, or found now and kept there; x and the rest are mapped files.

    identity: says all that the result depends on but for this package's code.
    Raises UsageError where it can be neither read nor kept.
    """
    limit = data_cache_limit()
    key = hashlib.sha256(f"{_code()} {identity}".encode()).hexdigest()[:32]
    place = root() / key
    found = _read(place)
    if found is not None:
        return found
    part = place.with_name(f"{_PART}{secrets.token_hex(8)}")
    made = make()
    if len(made) >= _MANY:
        print(f"gentune: note: decoding {len(made):,} examples, once", file=sys.stderr, flush=True)
    try:
        part.mkdir(parents=True)
        _write(part, made)
        try:
            part.rename(place)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another process was first
                raise
    except OSError as error:
        raise UsageError(
            f"{error.filename or part} cannot be written: {error.strerror}; GENTUNE_CACHE names another cache"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    trim(limit, spared=key)
    found = _read(place)
    if found is None:
        raise UsageError(f"{place} was removed while it was written; try again")
    return found


def root() -> Path:
    """The folder of all kept sets."""
    return default_cache() / "data"


def entries() -> list[KeptEntry]:
    """All kept sets, the least recently used first."""
    result = []
    for place in root().iterdir() if root().is_dir() else ():
        with suppress(OSError, ValueError, KeyError):  # removed just now, or not a kept set
            content = json.loads((place / _DESCRIPTION).read_text(encoding="utf-8"))
            size = sum(file.stat().st_size for file in place.iterdir())
            result.append(KeptEntry(place.name, content["spec"]["name"], size, (place / _DESCRIPTION).stat().st_mtime))
    return sorted(result, key=lambda entry: (entry.used, entry.key))


def trim(limit: int, spared: str = "") -> tuple[int, int]:
    """Removes the least recently used sets until at most `limit` bytes are left; how many, and their bytes.

    spared: the key of one that stays. Processes that read a set go on: a mapped file lasts as long as its readers.
    """
    known = entries()
    left = sum(entry.size for entry in known)
    count = removed = 0
    for entry in known:
        if left <= limit:
            break
        if entry.key == spared:
            continue
        place = root() / entry.key
        part = place.with_name(f"{_PART}{secrets.token_hex(8)}")
        with suppress(OSError):  # another process was first, or the cache may only be read
            place.rename(part)
            shutil.rmtree(part, ignore_errors=True)
            left, removed, count = left - entry.size, removed + entry.size, count + 1
    return count, removed


def _read(place: Path) -> Found | None:
    """A kept set, which counts as a use; None where it is not there, or cannot be read."""
    try:
        content = json.loads((place / _DESCRIPTION).read_text(encoding="utf-8"))
        arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in place.glob("*.npy")}
        spec = _tuples(content["spec"])
        pairing = None if spec["pairing"] is None else Pairing(**spec["pairing"])
        found = Found(
            spec=DataSpec(**{**spec, "condition": ConditionSpec(**_tuples(spec["condition"])), "pairing": pairing}),
            x=arrays["x"],
            **{name: None if arrays.get(name) is None else np.asarray(arrays[name]) for name in _ARRAYS},
            notes=tuple(content["notes"]),
            content=content["content"],
            duplicates=Duplicates(np.asarray(arrays["same"]), np.asarray(arrays["near"])),
            class_names=tuple(content["class_names"]),
            mirrored=content["mirrored"],
        )
    except (OSError, ValueError, KeyError, TypeError):  # a damaged one is made again
        shutil.rmtree(place, ignore_errors=True)
        return None
    with suppress(OSError):  # a cache that may only be read
        os.utime(place / _DESCRIPTION)
    return found


def _tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    """The lists of a JSON object as tuples again."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}


def _write(part: Path, found: Found) -> None:
    assert found.spec.table is None, "a description that JSON gives back"
    x = _stored(part / "x.npy", found.x)
    duplicates = find_duplicates(found.spec, x)
    arrays = {name: getattr(found, name) for name in _ARRAYS}
    arrays |= {"same": duplicates.same, "near": duplicates.near}
    for name, values in arrays.items():
        if values is not None:
            np.save(part / f"{name}.npy", values)
    content = {
        "spec": asdict(found.spec),
        "notes": found.notes,
        "content": _hash(found, x),
        "class_names": found.class_names,
        "mirrored": found.mirrored,
    }
    (part / _DESCRIPTION).write_text(json.dumps(content), encoding="utf-8")


def _stored(path: Path, x: np.ndarray | Chunks) -> np.ndarray:
    """The values in a file, written some at a time, and mapped."""
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=x.dtype, shape=x.shape)
    start = 0
    for chunk in x.chunks() if isinstance(x, Chunks) else (x,):
        stored[start : start + len(chunk)] = chunk
        start += len(chunk)
    assert start == len(x)
    stored.flush()
    return stored


def _hash(found: Found, x: np.ndarray) -> str:
    """Of all values, their types and their order."""
    digest = hashlib.sha256()
    for values in (x, *(getattr(found, name) for name in _ARRAYS)):
        if values is None:
            continue
        digest.update(f"{values.dtype} {values.shape}".encode())
        rows = max(1, _CHUNK // max(1, values[:1].nbytes))
        for start in range(0, len(values), rows):
            digest.update(np.ascontiguousarray(values[start : start + rows]).tobytes())
    return digest.hexdigest()


@cache
def _code() -> str:
    """A hash of what decodes: this package's code, Pillow's and numpy's versions."""
    digest = hashlib.sha256(f"{version('pillow')} {version('numpy')}".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
