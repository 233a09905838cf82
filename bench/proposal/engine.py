"""The proposal engine: a pure function of what has been seen, with no state, clock or global randomness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...search_spaces.space import SearchSpace, Setting
from .candidates import Admission, candidates, sobol
from .encoding import Encoding, Floats
from .outputs import scalarise, standardise
from .records import Costs, Key, Observation, Origin, Proposal

START = 5  # trials before the surrogate is asked, the default setting among them
_START_REACH = 256  # points of the start's sequence that are looked at for one that is affordable


def propose(
    space: SearchSpace,
    observations: Sequence[Observation],
    pending: Sequence[Setting] = (),
    reusable: Sequence[object] = (),
    costs: Costs | None = None,
    key: Key | None = None,
    *,
    start: int | None = None,
    default_first: bool = True,
) -> Proposal | None:
    """What to try next, or None where nothing affordable is left.

    Trial 0 is the default setting; trials below `start` (5 unless told) are points of a scrambled Sobol sequence, as
    are all while no trial has succeeded; the others maximise log expected improvement under a Gaussian process.
    Several objectives are scalarised anew for each trial (`outputs.scalarise`). Settings observed or pending are
    proposed again only when the space holds no other.

    observations: finished trials, in any order; failed ones teach where failures lie and have no score.
    pending: settings under trial now.
    reusable: kept trainings that a proposal might start from; not used.
    costs: settings predicted dearer than `costs.remaining` are not proposed.
    key: the study's seed and the trial's number; everything random follows from it.

    Raises ValueError when observations differ in their number of objectives.
    """
    costs, key = costs or Costs(), key or Key(0, 0)
    encoding = Encoding(space)
    admission = Admission(encoding, [o.setting for o in observations], pending, costs)
    rng = np.random.default_rng([key.seed % 2**64, key.number % 2**64])
    successes = [o for o in observations if not o.failed]

    if not len(encoding):
        return _proposal(encoding, admission.first_left(), "default")
    if default_first and key.number == 0 and len(admission.filter(encoding.positions([space.default()]))):
        return Proposal(space.default(), origin="default")
    if key.number < (START if start is None else start) or not successes:
        index = max(key.number - 1 if default_first else key.number, 0)
        # Where the point whose turn it is may not be proposed, the next one that may is.
        row = admission.filter(encoding.snap(sobol(_START_REACH, len(encoding), key.seed % 2**32, skip=index)))
        if len(row):
            return _proposal(encoding, row, "sobol")
        anywhere = candidates(encoding, np.zeros((0, len(encoding))), admission.costs, rng)
        rows = rng.permutation(admission.filter(anywhere))
        origin: Origin = "random"
    else:
        rows = _by_surrogate(encoding, admission, observations, pending, rng)
        origin = "surrogate"
    if not len(rows):
        rows, origin = admission.first_left(), "random"
    return _proposal(encoding, rows, origin)


def incumbents(space: SearchSpace, observations: Sequence[Observation], *, at_most: int = 3) -> list[int]:
    """Indices of the best observations by posterior mean, which one lucky measurement does not sway.

    One objective: the single best. Several: at most `at_most` points of the Pareto front of posterior means, chosen
    one after another for the largest hypervolume together. Empty when every trial failed. Of equal settings the
    first is named.
    """
    from .surrogate import fit

    tried = [i for i, o in enumerate(observations) if not o.failed]
    if not tried:
        return []
    encoding = Encoding(space)
    columns = encoding.columns(encoding.positions([observations[i].setting for i in tried]))
    objectives = _objectives([observations[i] for i in tried])
    means = np.stack(
        [fit(columns, encoding.groups, standardise(y)).predict(columns)[0] for y in objectives.T], axis=1
    )  # (n, m)
    if means.shape[1] == 1:
        return [tried[int(np.argmin(np.round(means[:, 0], 9)))]]
    return [tried[i] for i in _spread_front(np.round(means, 9), at_most)]


def probability_of_better(
    space: SearchSpace, observations: Sequence[Observation], challenger: int, baseline: int
) -> float:
    """Posterior probability that one observation's setting has a lower objective than another's, noise apart.

    challenger, baseline: indices of observations that succeeded. One objective.
    """
    from .surrogate import probability_of_lower

    tried = [i for i, o in enumerate(observations) if not o.failed]
    encoding = Encoding(space)
    columns = encoding.columns(encoding.positions([observations[i].setting for i in tried]))
    y = standardise(_objectives([observations[i] for i in tried])[:, 0])
    return probability_of_lower(columns, encoding.groups, y, tried.index(challenger), tried.index(baseline))


def _by_surrogate(
    encoding: Encoding,
    admission: Admission,
    observations: Sequence[Observation],
    pending: Sequence[Setting],
    rng: np.random.Generator,
) -> Floats:
    """The best position by the acquisition function (1, p), or none (0, p) where no candidate is admissible."""
    from .acquisition import Acquisition, maximise
    from .feasibility import Feasibility
    from .surrogate import fit

    positions = encoding.positions([o.setting for o in observations])
    columns = encoding.columns(positions)
    failed = np.array([o.failed for o in observations])
    objectives = _objectives([o for o in observations if not o.failed])
    y = standardise(objectives[:, 0] if objectives.shape[1] == 1 else scalarise(objectives, rng))

    surrogate = fit(columns[~failed], encoding.groups, y)
    mean, _ = surrogate.predict(columns[~failed])
    best = positions[~failed][np.argsort(mean, kind="stable")[:5]]
    points = admission.filter(candidates(encoding, best, admission.costs, rng))
    if not len(points):
        return points
    if len(pending):
        surrogate = surrogate.believe(encoding.columns(encoding.positions(pending)))
    feasibility = Feasibility(columns, encoding.groups, failed) if failed.any() else None
    return maximise(Acquisition(surrogate, float(mean.min()), feasibility), encoding, points, admission)


def _proposal(encoding: Encoding, rows: Floats, origin: Origin) -> Proposal | None:
    """The first of positions (n, p) as a proposal, if there is one."""
    return Proposal(encoding.decode(rows[0]), origin=origin) if len(rows) else None


def _objectives(successes: Sequence[Observation]) -> Floats:
    """Objectives (n, m) of trials that succeeded."""
    values = [o.values for o in successes if o.values is not None]
    counts = sorted({len(v) for v in values})
    if len(counts) != 1 or counts[0] == 0:
        raise ValueError(f"observations have {counts} objectives; wanted the same number, at least 1, in all")
    return np.array(values, dtype=float)


def _spread_front(means: Floats, at_most: int) -> list[int]:
    """Indices of at most `at_most` Pareto-optimal rows of means (n, m), greedily of the largest hypervolume."""
    import torch
    from botorch.utils.multi_objective.hypervolume import Hypervolume

    unique = sorted(set(np.unique(means, axis=0, return_index=True)[1].tolist()))
    front = [i for i in unique if not any((means[j] <= means[i]).all() and (means[j] < means[i]).any() for j in unique)]
    span = np.ptp(means[front], axis=0)
    reference = means[front].max(axis=0) + 0.1 * np.where(span > 0, span, 1.0)
    volume = Hypervolume(torch.from_numpy(-reference))
    chosen: list[int] = []
    while front and len(chosen) < at_most:
        gains = [volume.compute(torch.from_numpy(-means[[*chosen, i]])) for i in front]
        chosen.append(front.pop(int(np.argmax(gains))))
    return sorted(chosen)
