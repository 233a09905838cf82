"""Transfer from earlier studies of the same parameters, on other data or for other objectives: their predictions in the
space of a new study, and the settings that it should begin with. `ensemble` weighs them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.stats

from ...search_spaces.space import Value
from .encoding import Bools, Encoding, Floats, Ints
from .learning import fit
from .outputs import scalarise, standardise
from .records import Observation
from .surrogate import Surrogate


@dataclass(frozen=True)
class EarlierStudy:
    """What is left of an earlier study in the present space: positions (n, p) of the trials that succeeded, their
    objectives (n, m), whether they kept their constraints (n,), and which columns (c,) the study knows."""

    positions: Floats
    objectives: Floats
    valid: Bools
    known: Bools


def recall(
    encoding: Encoding, earlier: Sequence[Sequence[Observation]], objectives: int | None = None
) -> list[EarlierStudy]:
    """Earlier studies as the present space has them; those from which nothing can be learned are left out.

    Parameters are matched by name. Parameters that the space lacks are passed over, as are trials with a value that
    it lacks; what an earlier study does not know of the present parameters stays open.

    objectives: how many the present study has, where that is known. Raises ValueError where an earlier one has
    another number.
    """
    studies = []
    for number, study in enumerate(earlier):
        kept = [(setting, o) for o in study if not o.failed and (setting := _within(encoding, o)) is not None]
        counts = {len(o.values) for _, o in kept if o.values is not None}
        objectives = min(counts, default=None) if objectives is None else objectives
        if counts - {objectives}:
            raise ValueError(
                f"earlier study {number} has {sorted(counts)} objectives; wanted {objectives}, as the others have"
            )
        positions = encoding.positions([setting for setting, _ in kept])
        values = np.array([o.values for _, o in kept], dtype=float).reshape(len(kept), max(counts, default=0))
        known = np.array([bool((~np.isnan(column)).any()) for column in positions.T], dtype=bool)
        if known.any() and any(standardise(column).any() for column in values.T):
            valid = np.array([not o.violates for _, o in kept])
            studies.append(EarlierStudy(positions, values, valid, known[encoding.groups]))
    return studies


def _within(encoding: Encoding, observation: Observation) -> dict[str, Value] | None:
    """The part of a setting that the present space has; None where a value is not of its ranges."""
    space = encoding.space
    shared = {name: value for name, value in observation.setting.items() if name in space}
    if not all(space[name].contains(value) for name, value in shared.items()):
        return None
    return {name: shared[name] for name in space.activate(shared) if name in shared}


class Outlook:
    """The posterior mean of one earlier study, on the columns that it knows."""

    def __init__(self, encoding: Encoding, study: EarlierStudy, values: Floats) -> None:
        self._known = study.known
        columns = encoding.columns(study.positions)[:, self._known]
        groups: Ints = np.unique(encoding.groups[self._known], return_inverse=True)[1]
        self._surrogate = _remembered_fit(columns.tobytes(), groups.tobytes(), standardise(values).tobytes())

    def mean(self, columns: Floats) -> Floats:
        """(b,) at columns (b, c)."""
        return self._surrogate.predict(columns[:, self._known])[0]

    def slope(self, columns: Floats) -> tuple[Floats, Floats]:
        """The mean (b,) at columns (b, c), and its gradient (b, c)."""
        mean, _, slope, _ = self._surrogate.slopes(columns[:, self._known])
        gradient = np.zeros_like(columns)
        gradient[:, self._known] = slope
        return mean, gradient


@lru_cache(maxsize=64)
def _remembered_fit(columns: bytes, groups: bytes, y: bytes) -> Surrogate:
    """`fit`, which the trials of one study ask for again and again."""
    values = np.frombuffer(y)
    return fit(np.frombuffer(columns).reshape(len(values), -1).copy(), np.frombuffer(groups, np.int64), values.copy())


def outlooks(encoding: Encoding, studies: Sequence[EarlierStudy], rng: np.random.Generator) -> list[Outlook]:
    """The outlook of each earlier study on its objective, or on several as `scalarise` makes them one by the weights
    that it would draw next from `rng`, which is left as it was."""
    values = [
        study.objectives[:, 0] if study.objectives.shape[1] == 1 else scalarise(study.objectives, copy.deepcopy(rng))
        for study in studies
    ]
    return [Outlook(encoding, study, v) for study, v in zip(studies, values, strict=True)]


def agreement(encoding: Encoding, studies: Sequence[EarlierStudy], positions: Floats, objectives: Floats) -> float:
    """How far earlier studies expect the order in which trials at positions (n, p) came out by objectives (n, m): the
    mean of Kendall's tau-a over studies and objectives; 0 for fewer than two trials."""
    pairs = np.triu_indices(len(positions), k=1)
    if not len(pairs[0]):
        return 0.0
    columns = encoding.columns(positions)
    found = []
    for study in studies:
        for earlier, values in zip(study.objectives.T, objectives.T, strict=True):
            expected = Outlook(encoding, study, earlier).mean(columns)
            signs = [np.sign(v[pairs[0]] - v[pairs[1]]) for v in (expected, values)]
            found.append(float(np.mean(signs[0] * signs[1])))
    return float(np.mean(found))


def portfolio(encoding: Encoding, studies: Sequence[EarlierStudy], n: int = 12) -> Floats:
    """At most n positions (k, p) that were tried before, for a new study to begin with.

    Greedy: each makes the mean, over studies and objectives, of the log rank of the best one so far the lowest, ranks
    being those of posterior means among all settings tried: logarithms prefer what is best in one study to what is
    mediocre in all. What a study does not know stands in the middle.
    """
    tried = np.concatenate([study.positions[study.valid] for study in studies])
    tried = encoding.snap(np.where(np.isnan(tried), 0.5, tried))
    tried = tried[np.sort(np.unique(encoding.keys(tried), return_index=True)[1])]
    columns = encoding.columns(tried)
    views = [Outlook(encoding, study, values) for study in studies for values in study.objectives.T]
    ranks = np.log(np.stack([scipy.stats.rankdata(view.mean(columns)) for view in views], axis=1))  # (N, views)
    best, chosen = np.full(len(views), np.inf), np.zeros(0, dtype=int)
    for _ in range(min(n, len(tried))):
        # Of those that are equal in what they add the best by itself.
        score = np.minimum(ranks, best).mean(axis=1) + 1e-6 * ranks.mean(axis=1)
        score[chosen] = np.inf
        chosen = np.append(chosen, int(np.argmin(score)))
        best = np.minimum(best, ranks[chosen[-1]])
    return tried[chosen]
