"""From records to standings: what each family reached on the test split, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..bench.metrics.base import MetricValue, UndefinedError
from ..bench.metrics.catalogue import METRICS
from ..bench.metrics.stability import failure_rate, setting_sensitivity
from ..bench.runs.records import Record
from .candidate import Claims, claims
from .finals import Finals, card, lower_is_better, name_candidate, repetitions
from .inference import Comparison, Estimate, Rank, ranks, spread_estimate
from .scores import Scores, alone, reasons
from .tuning_value import Defaults, Ratio

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
class Standing:
    """One family's row, or a further point of its Pareto front (incumbent > 0, not ranked).

    rank: among all pairs; None with fewer than two finals, and where there is nothing to rank.
    candidate: whether it is the family that the others are tested against; better_than, not_excluded: then, what the
        tests say of the others. leading: metrics in which no family is significantly better; for the first objective
        the candidate and the families that it does not exclude.
    against_default: "better", "worse" or "not separable" on the first objective, or "the default" where
        the default setting won the tuning; None without both. tuned_against_default: the ratio of the two; None where
        the default won.
    finals, failed_finals: re-trainings that gave scores, and that failed. cost: of all its trials.
    """

    family: str
    incumbent: int
    rank: Rank | None
    not_separable_from: tuple[str, ...]
    candidate: bool
    better_than: tuple[str, ...]
    not_excluded: tuple[str, ...]
    primary: Scores
    second: Scores
    default: Scores
    leading: frozenset[str]
    against_default: str | None
    tuned_against_default: Ratio | None
    finals: int
    failed_finals: int
    trials: int
    failed_trials: int
    cost: float


@dataclass(frozen=True)
class Standings:
    """All rows, best mean first; references by name, and the samples that each was scored on.

    claims: the candidate against every other family on the first objective; None where none can be named or tested.
    comparisons, second_comparisons: tests of all pairs, for each metric. barred: families that cannot be the candidate.
    tuned_against_default: the mean ratio over the families that left their default setting.
    """

    rows: tuple[Standing, ...]
    references: Mapping[str, tuple[Scores, Scores]]
    reference_samples: Mapping[str, int]
    claims: Claims | None
    tuned_against_default: Ratio | None
    comparisons: Mapping[str, Comparison]
    second_comparisons: Mapping[str, Comparison]
    barred: frozenset[str] = frozenset()


def metric_order(names: Iterable[str], objective: Sequence[str]) -> list[str]:
    """Objectives first, then by group and by the catalogue; the cost metrics come last."""
    catalogue = list(METRICS)

    def key(name: str) -> tuple[int, int, int, str]:
        group = card(name).group
        place = GROUPS.index(group) if group in GROUPS else GROUPS.index("other")
        mine = objective.index(name) if name in objective and group != "cost" else len(objective)
        return mine, place, catalogue.index(name) if name in catalogue else len(catalogue), name

    return sorted(set(names), key=key)


def compute_standings(
    records: Sequence[Record],
    families: Sequence[str],
    objective: Sequence[str],
    repeats: int,
    *,
    look: int = 1,
    barred: Collection[str] = (),
) -> Standings:
    """Standings on the first objective; families with several objectives are ranked by their incumbent 0.

    look: how many times finals have been looked at, this time included. barred: families that cannot be the candidate.
    """
    finals = Finals.of(records, families, by_repeat=repeats > 1)
    first = objective[0]
    board, front = (
        _Board(finals.tests(keys, False), finals.tests(keys, True), finals.testable(keys, first))
        for keys in (finals.keys(first=True), finals.keys(first=False))
    )
    found = _claims(records, finals, first, look, barred)
    defaults = Defaults.of(records, finals, first)
    built = [
        _standing(key, records, finals, board if incumbent == 0 else front, defaults, found, first)
        for key, (_, incumbent) in finals.names.items()
    ]
    references: dict[str, list[Record]] = {}
    for record in records:
        if record.role == "reference" and record.split == "test":
            references.setdefault(record.family, []).append(record)
    return Standings(
        rows=tuple(sorted(built, key=lambda row: _order(row, first))),
        references={name: (alone(mine, second=False), alone(mine, second=True)) for name, mine in references.items()},
        reference_samples={name: mine[0].samples for name, mine in references.items()},
        claims=found,
        tuned_against_default=defaults.pooled,
        comparisons={m: _renamed(c, finals.names) for m, c in board.primary.items()},
        second_comparisons={m: _renamed(c, finals.names) for m, c in board.second.items()},
        barred=frozenset(barred),
    )


@dataclass(frozen=True)
class _Board:
    """Tests of some rows against one another, by metric, through both evaluators; ranked: those with two finals."""

    primary: Mapping[str, Comparison]
    second: Mapping[str, Comparison]
    ranked: Sequence[str]


def _claims(
    records: Sequence[Record], finals: Finals, metric: str, look: int, barred: Collection[str]
) -> Claims | None:
    candidate = name_candidate(records, finals, metric, barred)
    if candidate is None:
        return None
    ranked = finals.testable(finals.keys(first=True), metric)
    return claims(
        {finals.names[key][0]: finals.values(key, metric) for key in ranked},
        candidate,
        lower_is_better=lower_is_better(metric),
        log_scale=card(metric).log_scale,
        look=look,
    )


def _standing(
    key: str,
    records: Sequence[Record],
    finals: Finals,
    board: _Board,
    defaults: Defaults,
    found: Claims | None,
    objective: str,
) -> Standing:
    """The row `key`; board: of the rows that it is compared with."""
    family, incumbent = finals.names[key]
    mine = finals.records[key]
    trials = [r for r in records if r.role == "trial" and r.family == family]
    scores, second = _estimates(board.primary, key), _estimates(board.second, key)
    default = (
        Scores(dict(scores), {})
        if family in defaults.won
        else alone(defaults.records[family], second=False, board=defaults.board)
    )
    scores.update(_stability(trials, mine, objective))
    first = board.primary.get(objective) if incumbent == 0 and key in board.ranked else None
    places = ranks({k: first.better[k] for k in board.ranked}) if first else {}
    level = [k for k in board.ranked if k != key and first and not first.separable(k, key)]
    named = found if found and incumbent == 0 and found.candidate == family else None
    return Standing(
        family=family,
        incumbent=incumbent,
        rank=places.get(key),
        not_separable_from=tuple(finals.names[k][0] for k in level),
        candidate=named is not None,
        better_than=named.better_than if named else (),
        not_excluded=named.not_excluded if named else (),
        primary=Scores(scores, reasons(mine, scores, second=False)),
        second=Scores(second, reasons(mine, second, second=True)),
        default=default,
        leading=frozenset(_leading(key, family, board, found, objective)) if incumbent == 0 else frozenset(),
        against_default=defaults.verdicts.get(family) if incumbent == 0 else None,
        tuned_against_default=defaults.ratios.get(family) if incumbent == 0 else None,
        finals=sum(r.state == "complete" for r in mine),
        failed_finals=sum(r.state == "failed" for r in mine),
        trials=len(trials),
        failed_trials=sum(r.state == "failed" for r in trials),
        cost=float(sum(r.cost for r in trials)),
    )


def _leading(key: str, family: str, board: _Board, found: Claims | None, objective: str) -> Iterable[str]:
    """Metrics in which the row is in the leading group, where there is one: not if the tests tell nobody apart."""
    for metric, comparison in board.primary.items():
        tested = {name for pair in comparison.p_values for name in pair}
        leaders = comparison.leaders() & tested
        if metric == objective and found:
            if family in (found.candidate, *found.not_excluded) and found.better_than:
                yield metric
        elif key in leaders and len(leaders) < len(tested):
            yield metric


def _order(row: Standing, objective: str) -> tuple[bool, float, str, int]:
    """First incumbents before further points of a front, the best mean first, those without values last."""
    found = row.primary.metrics.get(objective)
    value = math.inf if found is None else found.value if lower_is_better(objective) else -found.value
    return row.incumbent > 0, value, row.family, row.incumbent


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


def _stability(trials: Sequence[Record], finals: Sequence[Record], objective: str) -> dict[str, Estimate]:
    """Failures of all trials, the spread over seeds within repeats, and over the settings that were tried."""
    found = {}
    states = [r.state for r in trials]
    if set(states) & {"complete", "failed"}:
        found["failure_rate"] = _estimate(failure_rate(states), len(states))
    spread = spread_estimate(
        repetitions([r for r in finals if r.repeat == repeat], objective, by_repeat=False)
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
