"""What runs are worth, and how two methods differ: areas, paired bootstrap intervals, wins, ties and losses.

The area of a run is the mean, over trials 10 to the last, of the normalised regret (0: best known, 1: the median random
setting), by its true mean, of one setting of each moment: that which the method names (`named`, the project's figure),
or the best observed one (`observed`, which leaves aside how well a method tells luck from worth). Lower is better.

Means go over seeds, then over the tasks of a group, then over groups, so that no group counts more for having more
tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from methods import FIRST_NAMED
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Scores = Mapping[str, Mapping[int, float]]  # task -> seed -> score
Groups = Mapping[str, Sequence[str]]  # group -> tasks
Scoring = Literal["named", "observed"]
SCORINGS: tuple[Scoring, ...] = ("named", "observed")

START = 5  # trials that no method chooses; failures are counted from here on
DRAWS = 10_000
LEVEL = 0.05


@dataclass(frozen=True)
class Interval:
    """A 95% percentile interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Our scores against a rival's on the same tasks and seeds.

    difference, ratio: of the means over groups, tasks and seeds, ours minus and ours over the rival's.
    difference_interval, ratio_interval: seeds resampled within tasks; what other seeds on these tasks would show.
    difference_elsewhere, ratio_elsewhere: tasks resampled within groups, then seeds; what other tasks of the kind
    would show.
    outcomes: per task 1 where ours is better by a two-sided paired t-test over seeds (5%), -1 where worse, else 0.
    """

    runs: int
    ours: float
    rival: float
    difference: float
    difference_interval: Interval
    difference_elsewhere: Interval
    ratio: float
    ratio_interval: Interval
    ratio_elsewhere: Interval
    outcomes: dict[str, int]

    @property
    def wins_ties_losses(self) -> tuple[int, int, int]:
        found = list(self.outcomes.values())
        return found.count(1), found.count(0), found.count(-1)


def area(regrets: Sequence[float | None]) -> float:
    """The mean of the normalised regrets after trials 10 to the last.

    regrets: after each trial that of the named setting; None, which counts 1, where no trial has succeeded or the
    named setting truly fails. Raises ValueError for fewer than 10 trials.
    """
    if len(regrets) < FIRST_NAMED:
        raise ValueError(f"got {len(regrets)} trials; wanted {FIRST_NAMED} at least")
    return float(np.mean([1.0 if r is None else r for r in regrets[FIRST_NAMED - 1 :]]))


def regrets(
    result: Mapping[str, Any], normalise: Callable[[float], float], scoring: Scoring = "named"
) -> list[float | None]:
    """Of one stored run, the normalised regret of the setting that counts after each trial."""
    counted = result["observed"] if scoring == "observed" and result["observed"] is not None else result["named"]
    return [None if one is None or one[1] is None else normalise(one[1]) for one in counted]


def failed_share(values: Sequence[float | None]) -> float:
    """The share of failed trials after the first five."""
    return float(np.mean([v is None for v in values[START:]]))


def mean_score(scores: Scores, groups: Groups | None = None) -> float:
    """The mean over groups, tasks and seeds; without groups all tasks are one."""
    means = {task: np.array([np.mean(list(seeds.values()))]) for task, seeds in scores.items() if seeds}
    return float(np.mean([np.mean(within) for within in arranged(means, groups)]))


def arranged(arrays: Mapping[str, Floats], groups: Groups | None) -> list[list[Floats]]:
    """What tasks have, group by group; groups without any are left out. Without groups all tasks are one."""
    if groups is None:
        return [list(arrays.values())]
    found = [[arrays[task] for task in tasks if task in arrays] for tasks in groups.values()]
    return [within for within in found if within]


def pair(ours: Scores, rival: Scores) -> dict[str, Floats]:
    """Per task the scores (seeds, 2) of the seeds that both have; tasks without any are left out."""
    pairs: dict[str, Floats] = {}
    for task in ours:
        seeds = sorted(set(ours[task]) & set(rival.get(task, {})))
        if seeds:
            pairs[task] = np.array([(ours[task][s], rival[task][s]) for s in seeds], dtype=float)
    return pairs


def compare(ours: Scores, rival: Scores, groups: Groups | None = None) -> Comparison | None:
    """Ours against a rival, by the tasks and seeds that both have; None where there are none.

    groups: means go over their tasks first; without them all tasks are one group.
    """
    counted = set(ours) if groups is None else {task for tasks in groups.values() for task in tasks}
    pairs = {task: found for task, found in pair(ours, rival).items() if task in counted}
    if not pairs:
        return None
    within = arranged(pairs, groups)
    mine, theirs = mean_of_groups(within)
    here, elsewhere = (np.mean(bootstrap_groups(within, tasks=tasks), axis=0) for tasks in (False, True))
    return Comparison(
        runs=sum(len(p) for p in pairs.values()),
        ours=float(mine),
        rival=float(theirs),
        difference=float(mine - theirs),
        difference_interval=interval(here[:, 0] - here[:, 1]),
        difference_elsewhere=interval(elsewhere[:, 0] - elsewhere[:, 1]),
        ratio=ratio(mine, theirs),
        ratio_interval=interval(_ratios(here)),
        ratio_elsewhere=interval(_ratios(elsewhere)),
        outcomes={task: outcome(p) for task, p in pairs.items()},
    )


def bootstrap(pairs: Sequence[Floats], *, tasks: bool, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Resampled means (draws, methods) of paired scores, one array (seeds, methods) a task.

    Seeds are resampled in pairs within each task; with `tasks`, the tasks are resampled first.
    """
    rng = np.random.default_rng(seed)
    means = np.stack(
        [p[rng.integers(0, len(p), (draws, len(p)))].mean(axis=1) for p in pairs]
    )  # (tasks, draws, methods)
    if not tasks:
        return means.mean(axis=0)
    chosen = rng.integers(0, len(pairs), (len(pairs), draws))
    return means[chosen, np.arange(draws)].mean(axis=0)


def bootstrap_groups(groups: Sequence[Sequence[Floats]], *, tasks: bool, draws: int = DRAWS) -> NDArray[np.float64]:
    """Resampled means (groups, draws, methods) of scores (seeds, methods), each group apart."""
    return np.stack([bootstrap(pairs, tasks=tasks, draws=draws, seed=i) for i, pairs in enumerate(groups)])


def mean_of_groups(groups: Sequence[Sequence[Floats]]) -> Floats:
    """The mean (methods,) over groups of the means over tasks of the means over seeds."""
    return np.mean([np.mean([p.mean(axis=0) for p in pairs], axis=0) for pairs in groups], axis=0)


def outcome(pairs: Floats) -> int:
    """1 where the first of paired scores (seeds, 2) is lower by a paired t-test at 5%, -1 where higher, else 0."""
    differences = pairs[:, 0] - pairs[:, 1]
    if len(differences) < 2 or not differences.any():
        return 0
    if np.ptp(differences) == 0:
        return -int(np.sign(differences[0]))
    return -int(np.sign(differences.mean())) if stats.ttest_1samp(differences, 0.0).pvalue < LEVEL else 0


def best_rival(comparisons: Mapping[str, Comparison]) -> str | None:
    """The rival with the lowest score, measured by ours on the same runs, as not all have run on the same seeds."""
    return max(comparisons, key=lambda name: comparisons[name].ratio, default=None)


def _ratios(means: Floats) -> Floats:
    return np.array([ratio(a, b) for a, b in means])


def ratio(a: float, b: float) -> float:
    """a / b, with 1 for equal ones."""
    return 1.0 if a == b else float("inf") if b == 0 else float(a / b)


def interval(draws: Floats) -> Interval:
    """The 95% percentile interval of bootstrap draws (n,)."""
    low, high = np.quantile(draws, [0.025, 0.975], method="nearest")
    return Interval(float(low), float(high))
