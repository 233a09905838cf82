"""From records to standings: what each family reached on the test split, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ..bench.metrics.base import MetricCard, MetricValue, UndefinedError
from ..bench.metrics.catalogue import METRICS
from ..bench.metrics.stability import failure_rate, setting_sensitivity
from ..bench.runs.records import Record
from .inference import Comparison, Estimate, Rank, compare, ranks, spread_estimate

GROUPS = (
    "quality",
    "diversity",
    "likelihood",
    "alignment",
    "utility",
    "latent control",
    "memorisation",
    "fairness",
    "other",
    "stability",
    "cost",
)


@dataclass(frozen=True)
class Scores:
    """Estimates of every metric that has values, and the reason for every metric that is not defined."""

    metrics: Mapping[str, Estimate]
    undefined: Mapping[str, str]


@dataclass(frozen=True)
class Standing:
    """One family's row, or a further point of its Pareto front (incumbent > 0, not ranked).

    rank: None where there is nothing to rank. leading: metrics in which no family is significantly better.
    against_default: "better", "worse" or "not separable" on the first objective, or "the default" where
        the default setting won the tuning; None without both.
    finals, failed_finals: re-trainings that gave scores, and that failed. cost: of all its trials.
    """

    family: str
    incumbent: int
    rank: Rank | None
    not_separable_from: tuple[str, ...]
    primary: Scores
    second: Scores
    default: Scores
    leading: frozenset[str]
    against_default: str | None
    finals: int
    failed_finals: int
    trials: int
    failed_trials: int
    cost: float


@dataclass(frozen=True)
class Standings:
    """All rows, best first; references by name, and the samples that each was scored on.

    comparisons, second_comparisons: the tests, for each metric.
    """

    rows: tuple[Standing, ...]
    references: Mapping[str, tuple[Scores, Scores]]
    reference_samples: Mapping[str, int]
    comparisons: Mapping[str, Comparison]
    second_comparisons: Mapping[str, Comparison]


def card(name: str) -> MetricCard:
    """The metric's card; one without direction for a metric that no catalogue knows."""
    return METRICS.get(name) or MetricCard(name, "other", "none", "", (), "", "")


def lower_is_better(name: str) -> bool:
    """False for metrics that rise with quality; metrics without direction count as falling."""
    return card(name).direction != "higher"


def natural_range(name: str) -> tuple[float, float]:
    """What a metric can be at all: shares lie between 0 and 1."""
    return (0.0, 1.0) if card(name).unit.split()[:1] == ["share"] else (-math.inf, math.inf)


def metric_order(names: Iterable[str], objective: Sequence[str]) -> list[str]:
    """Objectives first, then by group and by the catalogue; the cost metrics come last."""
    catalogue = list(METRICS)

    def key(name: str) -> tuple[int, int, int, str]:
        group = card(name).group
        place = GROUPS.index(group) if group in GROUPS else GROUPS.index("other")
        mine = objective.index(name) if name in objective and group != "cost" else len(objective)
        return mine, place, catalogue.index(name) if name in catalogue else len(catalogue), name

    return sorted(set(names), key=key)


def repetitions(records: Iterable[Record], metric: str, *, second: bool, by_repeat: bool) -> list[float]:
    """The independent values of a metric: of each re-training, or the mean of each repeat of the whole tuning."""
    values: dict[int, list[float]] = {}
    for record in records:
        figure = (record.second_metrics if second else record.metrics).get(metric)
        if record.state == "complete" and figure is not None and figure["value"] is not None:
            values.setdefault(record.repeat, []).append(float(figure["value"]))
    if by_repeat:
        return [float(np.mean(v)) for _, v in sorted(values.items())]
    return [v for _, found in sorted(values.items()) for v in found]


def compute_standings(
    records: Sequence[Record], families: Sequence[str], objective: Sequence[str], repeats: int
) -> Standings:
    """Standings on the first objective; families with several objectives are ranked by their incumbent 0."""
    finals = _finals_of(records, families, by_repeat=repeats > 1)
    ranked = [key for key, (_, incumbent) in finals.names.items() if incumbent == 0]
    further = [key for key in finals.names if key not in ranked]  # of Pareto fronts
    tests, tests_of_further = (_Tests(finals.tests(k, False), finals.tests(k, True)) for k in (ranked, further))
    defaults = _defaults_of(records, finals, ranked, objective[0])
    built = [
        _standing(key, records, finals, tests if incumbent == 0 else tests_of_further, defaults, objective[0])
        for key, (_, incumbent) in finals.names.items()
    ]
    references: dict[str, list[Record]] = {}
    for record in records:
        if record.role == "reference" and record.split == "test":
            references.setdefault(record.family, []).append(record)
    return Standings(
        rows=tuple(sorted(built, key=lambda row: _order(row, objective[0]))),
        references={
            name: (_alone(found, second=False), _alone(found, second=True)) for name, found in references.items()
        },
        reference_samples={name: found[0].samples for name, found in references.items()},
        comparisons={m: _renamed(c, finals.names) for m, c in tests.primary.items()},
        second_comparisons={m: _renamed(c, finals.names) for m, c in tests.second.items()},
    )


@dataclass(frozen=True)
class _Finals:
    """The re-trainings behind each row of the table. Rows have keys "family/incumbent".

    names: family and incumbent of each row. records: its re-trainings.
    by_repeat: whether the repeats of the tuning, not the re-trainings, are the independent repetitions.
    """

    names: Mapping[str, tuple[str, int]]
    records: Mapping[str, list[Record]]
    by_repeat: bool

    def tests(self, keys: Sequence[str], second: bool) -> dict[str, Comparison]:
        """The tests of some rows against one another, for each metric that any of them has."""
        found = {m for key in keys for r in self.records[key] for m in (r.second_metrics if second else r.metrics)}
        return {
            m: compare(
                {k: repetitions(self.records[k], m, second=second, by_repeat=self.by_repeat) for k in keys},
                lower_is_better=lower_is_better(m),
                log_scale=card(m).log_scale,
                within=natural_range(m),
            )
            for m in sorted(found)
        }


@dataclass(frozen=True)
class _Tests:
    """The tests of some rows through the primary and through the second evaluator, for each metric."""

    primary: Mapping[str, Comparison]
    second: Mapping[str, Comparison]


@dataclass(frozen=True)
class _Defaults:
    """How the default settings did.

    records: re-trainings of each family's default setting. verdicts: tuned against default, for each family.
    won: families whose default setting won the tuning in every repeat, so that its figures are the family's.
    """

    records: Mapping[str, list[Record]]
    verdicts: Mapping[str, str]
    won: frozenset[str]


def _finals_of(records: Sequence[Record], families: Sequence[str], *, by_repeat: bool) -> _Finals:
    finals = [r for r in records if r.role == "final"]
    rows = list(dict.fromkeys([(f, 0) for f in families] + [(r.family, r.incumbent) for r in finals]))
    names = {f"{f}/{i}": (f, i) for f, i in rows}
    of = {key: [r for r in finals if (r.family, r.incumbent) == where] for key, where in names.items()}
    return _Finals(names, of, by_repeat)


def _defaults_of(records: Sequence[Record], finals: _Finals, ranked: Sequence[str], objective: str) -> _Defaults:
    of = {f: [r for r in records if r.role == "default" and r.family == f] for f, _ in finals.names.values()}
    tuned = {finals.names[key][0]: finals.records[key] for key in ranked}
    verdicts = _against_default(tuned, of, objective, finals.by_repeat)
    won = frozenset(f for f in of if not of[f] and tuned[f] and all(r.trial == 0 for r in tuned[f]))
    verdicts |= dict.fromkeys(won, "the default")
    # Where the default won some repeat of the tuning, its re-trainings are the default's too.
    for family, found in of.items():
        found += [r for r in tuned[family] if not found and r.trial == 0 and r.repeat == 0]
    return _Defaults(of, verdicts, won)


def _standing(
    key: str, records: Sequence[Record], finals: _Finals, tests: _Tests, defaults: _Defaults, objective: str
) -> Standing:
    """The row `key`; tests: of the rows that it is compared with."""
    family, incumbent = finals.names[key]
    mine = finals.records[key]
    trials = [r for r in records if r.role == "trial" and r.family == family]
    scores, second = _estimates(tests.primary, key), _estimates(tests.second, key)
    default = Scores(dict(scores), {}) if family in defaults.won else _alone(defaults.records[family], second=False)
    scores.update(_stability(trials, mine, objective))
    first = tests.primary.get(objective) if incumbent == 0 else None
    places = ranks(first.better) if first else {}
    level = [k for k in first.estimates if k != key and not first.separable(k, key)] if first and key in places else []
    return Standing(
        family=family,
        incumbent=incumbent,
        rank=places.get(key),
        not_separable_from=tuple(finals.names[k][0] for k in level),
        primary=Scores(scores, _reasons(mine, scores, second=False)),
        second=Scores(second, _reasons(mine, second, second=True)),
        default=default,
        leading=frozenset(m for m, c in tests.primary.items() if incumbent == 0 and _leads(c, key)),
        against_default=defaults.verdicts.get(family) if incumbent == 0 else None,
        finals=sum(r.state == "complete" for r in mine),
        failed_finals=sum(r.state == "failed" for r in mine),
        trials=len(trials),
        failed_trials=sum(r.state == "failed" for r in trials),
        cost=float(sum(r.cost for r in trials)),
    )


def _leads(comparison: Comparison, key: str) -> bool:
    """In the leading group, where there is one: not if the tests tell nobody apart."""
    leaders = comparison.leaders()
    return key in leaders and len(leaders) < len(comparison.estimates)


def _order(row: Standing, objective: str) -> tuple[float, float, str, int]:
    found = row.primary.metrics.get(objective)
    value = float("inf") if found is None else found.value if lower_is_better(objective) else -found.value
    return row.rank.rank if row.rank else float("inf"), value, row.family, row.incumbent


def _estimates(comparisons: Mapping[str, Comparison], key: str) -> dict[str, Estimate]:
    return {m: c.estimates[key] for m, c in comparisons.items() if key in c.estimates}


def _renamed(comparison: Comparison, names: Mapping[str, tuple[str, int]]) -> Comparison:
    """The same comparison under the families' own names."""
    return Comparison(
        {names[k][0]: e for k, e in comparison.estimates.items()},
        comparison.log_scale,
        comparison.pooled,
        {(names[a][0], names[b][0]): p for (a, b), p in comparison.p_values.items()},
        {names[k][0]: frozenset(names[o][0] for o in over) for k, over in comparison.better.items()},
    )


def _reasons(records: Iterable[Record], present: Iterable[str], *, second: bool) -> dict[str, str]:
    """Why metrics without any value are not defined."""
    there = set(present)
    reasons: dict[str, str] = {}
    for record in records:
        for metric, reason in (record.second_undefined if second else record.undefined).items():
            if metric not in there:
                reasons.setdefault(metric, reason)
    return reasons


def _alone(records: Sequence[Record], *, second: bool) -> Scores:
    """Scores of repetitions that are compared with nobody; a single one keeps its own interval."""
    metrics: dict[str, Estimate] = {}
    for metric in dict.fromkeys(m for r in records for m in (r.second_metrics if second else r.metrics)):
        values = repetitions(records, metric, second=second, by_repeat=False)
        if not values:
            continue
        alone = compare({"": values}, log_scale=card(metric).log_scale, within=natural_range(metric))
        metrics[metric] = alone.estimates[""]
        if len(values) == 1 and records[0].role == "reference":
            own = next(f[metric] for r in records if metric in (f := r.second_metrics if second else r.metrics))
            metrics[metric] = Estimate(values[0], own.get("low"), own.get("high"), 1)
    return Scores(metrics, _reasons(records, metrics, second=second))


def _stability(trials: Sequence[Record], finals: Sequence[Record], objective: str) -> dict[str, Estimate]:
    """Failures of all trials, the spread over seeds within repeats, and over the settings that were tried."""
    found = {}
    states = [r.state for r in trials]
    if set(states) & {"complete", "failed"}:
        found["failure_rate"] = _estimate(failure_rate(states), len(states))
    spread = spread_estimate(
        repetitions([r for r in finals if r.repeat == repeat], objective, second=False, by_repeat=False)
        for repeat in sorted({r.repeat for r in finals})
    )
    if spread:
        found["seed_spread"] = spread
    values = [float(v) for r in trials if (v := r.metrics.get(objective, {}).get("value")) is not None]
    with suppress(UndefinedError):  # fewer than four trials were scored
        found["setting_sensitivity"] = _estimate(setting_sensitivity(values), len(values))
    return found


def _estimate(value: MetricValue, n: int) -> Estimate:
    return Estimate(value.value, value.low, value.high, n)


def _against_default(
    finals: Mapping[str, Sequence[Record]],
    defaults: Mapping[str, Sequence[Record]],
    objective: str,
    by_repeat: bool,
) -> dict[str, str]:
    """Tuned against default for each family; Holm over the families."""
    groups = {f"tuned/{f}": repetitions(r, objective, second=False, by_repeat=by_repeat) for f, r in finals.items()}
    groups |= {f"default/{f}": repetitions(r, objective, second=False, by_repeat=False) for f, r in defaults.items()}
    result = compare(
        groups,
        lower_is_better=lower_is_better(objective),
        log_scale=card(objective).log_scale,
        pool=not by_repeat,  # the variance over repeats of the tuning is another one than that over seeds
        pairs=[(f"tuned/{f}", f"default/{f}") for f in finals],
    )
    verdicts = {}
    for family in finals:
        tuned, default = f"tuned/{family}", f"default/{family}"
        if tuned in result.estimates and default in result.estimates:
            worse = tuned in result.better[default]
            verdicts[family] = "better" if worse else "worse" if default in result.better[tuned] else "not separable"
    return verdicts
