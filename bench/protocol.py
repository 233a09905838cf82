"""Constants of the measuring protocol that several rooms share."""

from __future__ import annotations

RUNGS = (0.125, 0.25, 0.5)  # shares of a full training at which scores are taken, besides its end
FEW = 64  # samples; a score on few is compared with other scores on as few alone
SIGNS = {"lower": 1.0, "higher": -1.0}  # of objectives, in the engine's eyes


def rungs_between(begun: float, goal: float) -> tuple[float, ...]:
    """The shares of a full training at which one that goes from `begun` to `goal` may be stopped."""
    return tuple(rung for rung in RUNGS if begun < rung < goal)
