"""PriorBand on tasks with learning curves: it trains in parts, and its budget is counted in full trainings."""

from __future__ import annotations

import math
import time
from typing import Any

from methods import Named, Trace, true_value
from priorband_method import Asked, PriorBand
from task import FailedTrial, Task


def run_in_parts(task: Task, seed: int, trials: int, rival: PriorBand | None = None) -> Trace:
    """Runs until as much is trained as in `trials` full trainings; the default, trained whole, comes first.

    A trial costs the share of a training that it adds to its parent's. What is named after each full training's worth
    is, of the settings that were trained the longest, the one with the lowest value. settings, values and ask_seconds
    are those of every part. Raises ValueError for a task without learning curves.
    """
    if task.curve is None:
        raise ValueError(f"task {task.name!r} has no learning curves, which priorband needs")
    rival = rival or PriorBand(task.space, seed)
    trace = Trace([], [], [], None, [], [])
    reached: dict[Any, float] = {}  # share by identifier
    shares: list[float] = []
    spent = 0.0
    try:
        while len(trace.named) < trials:
            began = time.perf_counter()
            asked = rival.ask()
            trace.ask_seconds.append(time.perf_counter() - began)
            # A trial that was trained longer at once than its parent's next part costs nothing more.
            spent += max(asked.fidelity - reached.get(asked.parent, 0.0), 0.0)
            reached[asked.identifier] = asked.fidelity
            value = _value(task, asked)
            rival.tell(asked, value)
            trace.settings.append(asked.setting)
            trace.values.append(value)
            shares.append(asked.fidelity)
            while len(trace.named) < min(math.floor(spent + 1e-9), trials):
                trace.named.append(_named(task, trace, shares))
    finally:
        rival.close()
    trace.recommend_seconds.extend([0.0] * trials)
    return trace


def _value(task: Task, asked: Asked) -> float | None:
    assert task.curve is not None
    try:
        return task.curve(asked.setting, asked.fidelity)
    except FailedTrial:
        return None


def _named(task: Task, trace: Trace, shares: list[float]) -> Named:
    found = [(-s, v, i) for i, (s, v) in enumerate(zip(shares, trace.values, strict=True)) if v is not None]
    if not found:
        return None
    chosen = min(found)[2]
    return chosen, true_value(task, trace.settings[chosen])
