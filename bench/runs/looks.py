"""Looks at a run's test scores: how many seeds its finals had each time that somebody could see them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ..errors import UsageError
from .run_folder import RunFolder

_LOOKS = "looks.json"  # among the artifacts


@dataclass(frozen=True)
class Look:
    """A number of seeds that a run's finals have, or are about to have, and when it was asked for (ISO 8601)."""

    seeds: int
    asked: str


def read_looks(folder: RunFolder) -> list[Look]:
    """The looks in their order, at least one: a run in which none is recorded has that of its study file."""
    written = folder.read_json(_LOOKS)
    return [Look(folder.study.seeds, "")] if written is None else [Look(**entry) for entry in written]


def seeds_of(folder: RunFolder) -> int:
    """The number of seeds that the latest look asks for."""
    return read_looks(folder)[-1].seeds


def finished(folder: RunFolder) -> bool:
    """Whether a run has come to its end, with as many seeds as are asked for now."""
    content = folder.read_json("comparison.json")
    if content is None or content["state"] != "finished":
        return False
    return bool(content.get("seeds", folder.study.seeds) == seeds_of(folder))


def look(folder: RunFolder, seeds: int, now: str, *, again: bool = False) -> None:
    """Records that finals with so many seeds are asked for.

    That is another look, and not the latest one changed, once there are scores on the test split, which may have been
    seen. now: the time, ISO 8601. again: whether other settings are about to have as many.
    Raises UsageError for fewer seeds than finals have been asked for.
    """
    before = read_looks(folder)
    tested = bool(folder.records("final", "default"))
    if tested and seeds < before[-1].seeds:
        raise UsageError(
            f"{folder.path} retrains its finalists with {before[-1].seeds} seeds, here seeds is {seeds}; "
            "seeds can be added, not taken back"
        )
    changed = seeds != before[-1].seeds or (again and tested)
    if changed or (not tested and folder.read_json(_LOOKS) is None):
        looks = [*(before if tested and changed else before[:-1]), Look(seeds, now)]
        folder.write_json(_LOOKS, [asdict(entry) for entry in looks])
