"""What a benchmark task is: a space, what a trial on it measures, and what is true of a setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gentune.search_spaces.space import SearchSpace, Setting

Kind = Literal["continuous", "mixed", "noisy", "failing", "conditional"]


class FailedTrial(Exception):  # noqa: N818 (what it is, not what went wrong)
    """The setting lies where a training would have diverged."""


@dataclass(frozen=True)
class Task:
    """One objective to be minimised.

    measure: what one trial at a setting observes, noise drawn from the generator; raises FailedTrial where it fails.
    truth: the mean of what `measure` observes; raises FailedTrial where it fails.
    curve: what a trial observes after a share of its training, in (0, 1]; at 1 the truth. None: there are no parts.
    """

    name: str
    kind: Kind
    space: SearchSpace
    measure: Callable[[Setting, np.random.Generator], float]
    truth: Callable[[Setting], float]
    curve: Callable[[Setting, float], float] | None = None
