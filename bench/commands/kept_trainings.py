"""What `gentune cache` shows: the kept trainings, all of them or those of one run, as plain values and as tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import GIB, UsageError
from ..training.cache import TrainingCache, cache_limit
from ..training.cache_upkeep import StateEntry, about, damaged, entries, pins, trim

if TYPE_CHECKING:
    from rich.table import Table


def overview(cache: Path, *, trim_gib: float | None = None, trim_data_gib: float | None = None) -> dict[str, Any]:
    """Counts, bytes and times of use of all kept states, by family; what is pinned and damaged; decoded data.

    trim_gib, trim_data_gib: removes the least recently used states, or data, down to this size first. Raises
        UsageError for a negative one.
    """
    for flag, size in (("--trim", trim_gib), ("--trim-data", trim_data_gib)):
        if size is not None and not 0.0 <= size < float("inf"):
            raise UsageError(f"{flag} is {size:g}; wanted a number of GiB, at least 0")
    kept = TrainingCache(cache)
    trimmed = None if trim_gib is None else trim(kept, round(trim_gib * GIB))
    states, pinned, aside = entries(kept), pins(kept), damaged(kept)
    names = frozenset[str]().union(*pinned.values())
    by_family: dict[str, list[StateEntry]] = {}
    for entry in states:
        by_family.setdefault(about(kept, entry)["family"], []).append(entry)
    return {
        "folder": str(kept.root),
        "limit_gib": cache_limit() / GIB,
        **_sums(states),
        "families": [{"family": family, **_sums(found)} for family, found in sorted(by_family.items())],
        "pinned": {
            "states": sum(entry.name in names for entry in states),
            "bytes": sum(entry.size for entry in states if entry.name in names),
            "runs": {run: len(found) for run, found in pinned.items()},
        },
        "damaged": {"states": len(aside), "bytes": sum(size for _, size in aside)},
        "trimmed": None if trimmed is None else {"states": trimmed.states, "bytes": trimmed.removed},
        "data": _decoded_data(trim_data_gib),
    }


def _decoded_data(trim_gib: float | None) -> dict[str, Any]:
    """The sets of data that are kept decoded, the most recently used first."""
    from ..data import kept_levels

    trimmed = None if trim_gib is None else kept_levels.trim(round(trim_gib * GIB))
    found = kept_levels.entries()
    return {
        "folder": str(kept_levels.root()),
        "limit_gib": kept_levels.data_cache_limit() / GIB,
        "bytes": sum(entry.size for entry in found),
        "sets": [
            {"name": entry.name, "bytes": entry.size, "last_use": _moment(entry.used)} for entry in reversed(found)
        ],
        "trimmed": None if trimmed is None else {"sets": trimmed[0], "bytes": trimmed[1]},
    }


def pinned_by(cache: Path, run_folder: Path) -> dict[str, Any]:
    """The states that a run has pinned; plain values. missing: those that are no longer there."""
    kept = TrainingCache(cache)
    names = pins(kept).get(str(run_folder.resolve()), frozenset())
    found = [entry for entry in entries(kept) if entry.name in names]
    rows = [
        {"name": e.name, **about(kept, e), "step": e.step, "bytes": e.size, "last_use": _moment(e.used)} for e in found
    ]
    return {
        "folder": str(kept.root),
        "run": str(run_folder),
        "states": rows,
        "missing": sorted(names - {entry.name for entry in found}),
    }


def overview_table(content: Mapping[str, Any]) -> Table:
    """`overview` for people."""
    limit = f"at most {content['limit_gib']:g} GiB" if content["limit_gib"] else "keeping is off"
    notes = []
    if content["trimmed"] is not None:
        notes.append(f"removed states: {content['trimmed']['states']}, {_size(content['trimmed']['bytes'])}")
    pinned, aside = content["pinned"], content["damaged"]
    notes.append(f"pinned states: {pinned['states']}, {_size(pinned['bytes'])}; runs that pin: {len(pinned['runs'])}")
    if aside["states"]:
        notes.append(f"damaged states, set aside: {aside['states']}, {_size(aside['bytes'])}")
    data = content["data"]
    if data["trimmed"] is not None:
        notes.append(f"removed decoded data: {data['trimmed']['sets']}, {_size(data['trimmed']['bytes'])}")
    notes.append(f"decoded data: {len(data['sets'])}, {_size(data['bytes'])}; at most {data['limit_gib']:g} GiB")
    notes += [f"  {row['name']}: {_size(row['bytes'])}, used {_ago(row['last_use'])}" for row in data["sets"]]
    table = _table(f"{content['folder']}, states: {content['states']}, {_size(content['bytes'])}; {limit}", notes)
    table.add_column("family", no_wrap=True)
    for name in ("states", "size", "last used", "longest unused"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in content["families"]:
        table.add_row(
            row["family"],
            str(row["states"]),
            _size(row["bytes"]),
            _ago(row["last_use"]),
            _ago(row["least_recent_use"]),
        )
    return table


def pinned_table(content: Mapping[str, Any]) -> Table:
    """`pinned_by` for people."""
    notes = [f"no longer there: {', '.join(content['missing'])}"] if content["missing"] else []
    table = _table(f"{content['folder']}, pinned by {content['run']}", notes)
    for name in ("family", "data"):
        table.add_column(name, no_wrap=True)
    for name in ("step", "size", "last used"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", overflow="fold")
    for row in content["states"]:
        size, used = _size(row["bytes"]), _ago(row["last_use"])
        table.add_row(row["family"], row["data"], str(row["step"]), size, used, row["name"])
    return table


def _table(title: str, notes: list[str]) -> Table:
    from rich.table import Table

    return Table(title=title, caption="\n".join(notes), title_justify="left", caption_justify="left")


def _sums(states: Sequence[StateEntry]) -> dict[str, Any]:
    used = [entry.used for entry in states]
    return {
        "states": len(states),
        "bytes": sum(entry.size for entry in states),
        "last_use": _moment(max(used)) if used else None,
        "least_recent_use": _moment(min(used)) if used else None,
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _ago(moment: str) -> str:
    seconds = max(0.0, time.time() - datetime.fromisoformat(moment).timestamp())
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name} ago"
    return f"{seconds:.0f} s ago"


def _size(count: int) -> str:
    for unit, name in ((GIB, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} B"
