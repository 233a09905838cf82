"""The engine without pieces of it: `gentune:without=additive` next to `gentune` shows what that piece is worth, and
`gentune:without=additive+level` what both are."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

# What stands for the piece in which module, and what it is replaced by.
PIECES: dict[str, tuple[tuple[str, str, Any], ...]] = {
    # The kernel's sum of functions of one parameter each.
    "additive": (("learning", "_ODDS", (-40.0, -40.0)),),
    # Among settings that are level, the one farthest from all tried.
    "level": (("acquisition", "_LEVEL", 0.0),),
    # A setting's own character: all that neighbours do not share counts as noise.
    "character": (("learning", "_SHARE_OF_NOISE", 1.0),),
    # Trials spent on settings tried before.
    "repeats": (("repeats", "_SHARE", 0.0),),
    # The power on the chance of success.
    "caution": (("feasibility", "_CAUTION", 0.0),),
    # The output transform: plain standardisation instead.
    "transform": (
        ("engine", "standardise", lambda v: _plain(v)),
        ("fitted_trials", "standardise", lambda v: _plain(v)),
    ),
}


@contextmanager
def without(pieces: str | None) -> Iterator[None]:
    """Runs with pieces replaced, their names joined by plus signs. Raises ValueError for a piece that is none."""
    names = pieces.split("+") if pieces else []
    for name in names:
        if name not in PIECES:
            raise ValueError(f"no piece {name!r} of the engine; known: {', '.join(PIECES)}")
    kept: list[tuple[Any, str, Any]] = []
    try:
        for module, name, value in (change for piece in names for change in PIECES[piece]):
            home = importlib.import_module(f"gentune.bench.proposal.{module}")
            kept.append((home, name, getattr(home, name)))
            setattr(home, name, value)
        yield
    finally:
        for home, name, value in kept:
            setattr(home, name, value)


def _plain(values: np.ndarray) -> np.ndarray:
    finite = np.isfinite(values)
    values = np.clip(values, values[finite].min(), values[finite].max())
    deviation = float(values.std())
    return (values - values.mean()) / deviation if deviation else np.zeros(len(values))
