"""What tuning was worth: test values of tuned settings, divided by those of the default ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..bench.runs.records import Record
from .finals import Finals, card, lower_is_better, repetitions, worst_value
from .inference import LEVEL, compare


@dataclass(frozen=True)
class Ratio:
    """A ratio of geometric means with its interval at `LEVEL`; None for both ends where a side has a single value."""

    ratio: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Defaults:
    """How the default settings did on the first objective.

    records: re-trainings of each family's default setting. verdicts: tuned against default, for each family.
    won: families whose default setting won the tuning in every repeat, so that its figures are the family's.
    ratios: tuned over default of the families that left their default; pooled: over all of them.
    board: all re-trainings behind these, among whose values a failed one has the worst.
    """

    records: Mapping[str, list[Record]]
    verdicts: Mapping[str, str]
    won: frozenset[str]
    ratios: Mapping[str, Ratio]
    pooled: Ratio | None
    board: Sequence[Record]

    @classmethod
    def of(cls, records: Sequence[Record], finals: Finals, metric: str) -> Defaults:
        """From the records of a run, the finals among them, and the metric."""
        keys = {finals.names[key][0]: key for key in finals.keys(first=True)}
        of = {f: [r for r in records if r.role == "default" and r.family == f] for f in keys}
        board = [r for f, key in keys.items() for r in (*finals.records[key], *of[f])]
        worst = worst_value(board, metric)
        tuned = {f: finals.values(key, metric) for f, key in keys.items()}
        default = {f: repetitions(of[f], metric, by_repeat=False, failed=worst) for f in keys}
        verdicts = _verdicts(tuned, default, metric, finals.by_repeat)
        won = frozenset(
            f for f, key in keys.items() if not of[f] and finals.records[key] and _is_default(finals.records[key])
        )
        verdicts |= dict.fromkeys(won, "the default")
        left = {f: (tuned[f], default[f]) for f in keys if of[f] and not _is_default(finals.records[keys[f]])}
        ratios = {f: one for f, sides in left.items() if (one := tuned_ratio(*sides)) is not None}
        # Where the default won some repeat of the tuning, its re-trainings are the default's too.
        for family, found in of.items():
            found += [r for r in finals.records[keys[family]] if not found and r.trial == 0 and r.repeat == 0]
        return cls(of, verdicts, won, ratios, pooled_ratio(left.values()), board)


def _is_default(finals: Sequence[Record]) -> bool:
    """Whether every repeat of the tuning ended with the default setting, which is a study's first trial."""
    return all(r.trial == 0 for r in finals)


def _verdicts(
    tuned: Mapping[str, Sequence[float]], default: Mapping[str, Sequence[float]], metric: str, by_repeat: bool
) -> dict[str, str]:
    """Tuned against default for each family with both; Holm over the families."""
    groups = {f"tuned/{f}": v for f, v in tuned.items()} | {f"default/{f}": v for f, v in default.items()}
    result = compare(
        groups,
        lower_is_better=lower_is_better(metric),
        log_scale=card(metric).log_scale,
        pool=not by_repeat,  # the variance over repeats of the tuning is another one than that over seeds
        pairs=[(f"tuned/{f}", f"default/{f}") for f in tuned],
    )
    verdicts = {}
    for family in tuned:
        mine, theirs = f"tuned/{family}", f"default/{family}"
        if mine in result.estimates and theirs in result.estimates:
            worse = mine in result.better[theirs]
            verdicts[family] = "better" if worse else "worse" if theirs in result.better[mine] else "not separable"
    return verdicts


def tuned_ratio(tuned: Sequence[float], default: Sequence[float]) -> Ratio | None:
    """Tuned over default by Welch's interval of the difference of mean logarithms; None unless all are positive."""
    found = _log_ratio(tuned, default)
    return None if found is None else _ratio(*found)


def pooled_ratio(families: Iterable[tuple[Sequence[float], Sequence[float]]]) -> Ratio | None:
    """The geometric mean of (tuned, default) ratios over families, with an interval that speaks of these families.

    Its error is that of the families' mean values, not the spread of their ratios. Families with values that are not
    positive are left out; None without any.
    """
    found = [one for tuned, default in families if (one := _log_ratio(tuned, default)) is not None]
    if not found:
        return None
    parts = [part for _, parts in found for part in parts]
    return _ratio(float(np.mean([log for log, _ in found])), [(v / len(found) ** 2, f) for v, f in parts])


_Part = tuple[float, float]  # squared standard error of a mean, and its degrees of freedom (0: one value)


def _log_ratio(tuned: Sequence[float], default: Sequence[float]) -> tuple[float, list[_Part]] | None:
    if not tuned or not default or min(*tuned, *default) <= 0:
        return None
    sides = [np.log(np.asarray(side, dtype=np.float64)) for side in (tuned, default)]
    parts = [(float(np.var(s, ddof=1)) / len(s) if len(s) > 1 else math.nan, len(s) - 1.0) for s in sides]
    return float(sides[0].mean() - sides[1].mean()), parts


def _ratio(log: float, parts: Sequence[_Part]) -> Ratio:
    """Back from logarithms; Satterthwaite's degrees of freedom for the sum of the parts."""
    if any(freedom == 0 for _, freedom in parts):
        return Ratio(math.exp(log), None, None)
    total = sum(square for square, _ in parts)
    if total == 0:
        return Ratio(math.exp(log), math.exp(log), math.exp(log))
    freedom = total**2 / sum(square**2 / f for square, f in parts)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, freedom)) * math.sqrt(total)
    return Ratio(math.exp(log), math.exp(log - half), math.exp(log + half))
