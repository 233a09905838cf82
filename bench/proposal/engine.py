"""The proposal engine: a pure function of the observations, with no state, clock or global randomness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...search_spaces.space import SearchSpace, Setting
from .acquisition import Acquisition, LogImprovement, Term, maximise
from .beliefs import Belief, Beliefs, Likely
from .candidates import Admission, candidates, sobol
from .encoding import Bools, Encoding, Floats, Ints
from .ensemble import Ensemble, MeanImprovement
from .feasibility import of_constraint, of_success
from .fitted_trials import FittedTrials
from .hypervolume import MOST_OBJECTIVES, HypervolumeImprovement, pareto, reference_point
from .moves import Moves, at_fidelity, at_full, observed, with_fidelity, without_fidelity
from .outputs import scalarise, standardise
from .records import Costs, Kept, Key, Observation, Origin, Proposal
from .repeats import may_repeat, worth_repeating
from .surrogate import Surrogate
from .transfer import EarlierStudy, agreement, outlooks, portfolio, recall

_START = (5, 10)  # the fewest and the most trials before the surrogate is asked; between, one for each parameter
_START_REACH = 256  # points of the start's sequence that are looked at for one that is affordable
_RECALLED = (3, 2)  # of the start: the first trial that may be taken from earlier studies, and steps to the next
_AROUND = 5  # of the best settings, candidates are drawn near


def propose(
    space: SearchSpace,
    observations: Sequence[Observation],
    pending: Sequence[Setting] = (),
    reusable: Sequence[Kept] = (),
    costs: Costs | None = None,
    key: Key | None = None,
    *,
    fidelities: Sequence[float] = (1.0,),
    start: int | None = None,
    default_first: bool = True,
    beliefs: Mapping[str, Belief | Likely] | None = None,
    earlier: Sequence[Sequence[Observation]] = (),
    usual_noise: Sequence[float] = (),
    fixed: Setting | None = None,
    closed: Sequence[Setting] = (),
) -> Proposal | None:
    """What to try next, or None where nothing affordable is left.

    Trial 0 is the default setting; trials below `start` (unless told, one for each parameter, but 5 to 10) are points
    of a scrambled Sobol sequence, as are all while no trial has succeeded; the others maximise log expected improvement
    under a Gaussian process, times the chance that the trial works and keeps its constraints, by the predicted cost.
    Of several objectives it is the expected improvement of the hypervolume (`hypervolume`), or, where they are too
    many, of a scalarisation drawn for each trial (`outputs.scalarise`). Settings pending are not proposed again;
    one observed is where noise makes a second look worth more than anything new (`repeats`), or when the space holds
    no other.

    observations: finished trials, by number; failed ones teach where failures lie and have no score.
    pending: settings under trial now.
    reusable: kept trainings that a proposal may sample again or train further (`moves`), where `costs.parts` says what
    trainings and samples cost.
    costs: settings predicted to cost more than `costs.remaining` are not proposed.
    fidelities: the shares of a full training that a new one may have, rising to 1. Where there are several, the start's
    trials have the lowest, but for the default setting.
    key: the study's seed and the trial's number; everything random follows from it.
    beliefs: where good values are expected, by parameter (`beliefs`).
    earlier: finished trials of other studies, each study's by itself: from trial 3 on every other one of the start is a
    setting that did well there, as long as the trials so far come out in the order that the studies expect; what they
    say counts as far as this study's own trials confirm it (`transfer`, `ensemble`).
    usual_noise: for each objective the standard deviation of its logarithm between trainings of one setting, as far as
    other studies know it (0: unknown).
    fixed: values that the proposal has to have where they count; the others are chosen given these.
    closed: settings, or parts of settings: what agrees with one in all its values is not proposed while anything else
    is left. The last two are not for moves.

    Raises ValueError when observations differ in their number of objectives, or a belief is about nothing.
    """
    costs, key = costs or Costs(), key or Key(0, 0)
    options = _Options(start, default_first, beliefs or {}, earlier, usual_noise, fixed or {}, closed)
    if reusable or len(fidelities) > 1:
        assert not (fixed or closed), "moves are proposed without conditions"
        return _propose_move(space, observations, pending, reusable, costs, key, fidelities, options)
    proposal = _propose(space, observations, pending, costs, key, options)
    if proposal is None and closed:  # the space is infinite, but what is not closed of it is not
        proposal = _propose(space, observations, pending, costs, key, replace(options, closed=()))
    return proposal


def _propose_move(
    space: SearchSpace,
    observations: Sequence[Observation],
    pending: Sequence[Setting],
    reusable: Sequence[Kept],
    costs: Costs,
    key: Key,
    fidelities: Sequence[float],
    options: _Options,
) -> Proposal | None:
    """`propose` where trainings may be kept or cut short."""
    space = with_fidelity(space)
    # A setting is affordable where the least of its trainings is; `Moves` looks at the others.
    least = tuple((setting, fidelities[0] * train + sample) for setting, train, sample in costs.parts)
    costs = replace(costs, counted=tuple((at_fidelity(setting), cost) for setting, cost in least or costs.counted))
    proposal = _propose(
        space,
        [observed(o) for o in observations],
        [at_fidelity(setting) for setting in pending],
        costs,
        key,
        replace(options, earlier=[[observed(o) for o in study] for study in options.earlier]),
        Moves(Encoding(space), reusable, fidelities, costs),
    )
    return None if proposal is None else replace(proposal, setting=without_fidelity(proposal.setting))


@dataclass(frozen=True)
class _Options:
    """How a study starts and what is known before it; see `propose`."""

    start: int | None
    default_first: bool
    beliefs: Mapping[str, Belief | Likely]
    earlier: Sequence[Sequence[Observation]]
    usual_noise: Sequence[float]
    fixed: Setting
    closed: Sequence[Setting]

    def start_for(self, dimensions: int) -> int:
        """How many trials precede the surrogate."""
        fewest, most = _START
        return min(max(dimensions, fewest), most) if self.start is None else self.start


def _propose(
    space: SearchSpace,
    observations: Sequence[Observation],
    pending: Sequence[Setting],
    costs: Costs,
    key: Key,
    options: _Options,
    moves: Moves | None = None,
) -> Proposal | None:
    """`propose`; with moves, in the space with `FIDELITY`."""
    encoding = Encoding(space, options.fixed)
    rng = np.random.default_rng([key.seed % 2**64, key.number % 2**64])
    fitted = FittedTrials(encoding, observations, options.usual_noise)
    observed_at = _at_full(moves, fitted.positions)  # a setting trained in part is known: what is left of it is a move
    admission = Admission(encoding, observed_at, pending, costs, options.closed)
    studies = recall(encoding, options.earlier, fitted.objectives.shape[1] if len(fitted.objectives) else None)

    if not len(encoding):
        return _proposal(encoding, admission.first_left(), "default")
    default = space.activate({**space.default(), **options.fixed})
    if options.default_first and key.number == 0 and len(admission.filter(encoding.positions([default]))):
        return Proposal(default, origin="default")
    rows: Floats
    origin: Origin
    dimensions = len(encoding) - (moves is not None)
    if key.number < options.start_for(dimensions) or all(o.failed for o in observations):
        index = max(key.number - 1 if options.default_first else key.number, 0)
        if studies:
            known = portfolio(encoding, studies)
            past, step = key.number - _RECALLED[0], _RECALLED[1]
            if past >= 0 and past % step == 0 and _agrees(fitted, studies):
                row = admission.filter(known)
                if len(row):
                    return _proposal(encoding, row, "earlier")
            # What is recalled delays the sequence; it does not take a point's place.
            tried = set(encoding.keys(np.concatenate([observed_at, encoding.positions(pending)])))
            index = max(index - sum(k in tried for k in encoding.keys(known)), 0)
        points = sobol(_START_REACH, dimensions, key.seed % 2**32, skip=index)
        if moves is not None:
            points = np.column_stack([points, np.ones(len(points))])
        # Where the point whose turn it is may not be proposed, the next one that may is.
        row = admission.filter(encoding.snap(Beliefs(encoding, options.beliefs, 0).shape(points)))
        if len(row):
            fidelity = 1.0 if moves is None else moves.lowest
            return Proposal(encoding.decode(row[0]), fidelity=fidelity, origin="sobol")
        if moves is not None and len(fitted.worked):  # a kept training may still be sampled
            return _by_surrogate(fitted, admission, pending, options.beliefs, studies, moves, rng)
        anywhere = candidates(encoding, np.zeros((0, len(encoding))), admission.costs, rng)
        rows, origin = rng.permutation(admission.filter(_at_full(moves, anywhere))), "random"
    else:
        proposal = _by_surrogate(fitted, admission, pending, options.beliefs, studies, moves, rng)
        if proposal is not None or moves is not None:
            return proposal
        rows, origin = admission.first_left(), "random"
    if not len(rows):
        rows, origin = admission.first_left(), "random"
    return _proposal(encoding, rows, origin)


def propose_batch(
    space: SearchSpace,
    observations: Sequence[Observation],
    size: int,
    pending: Sequence[Setting] = (),
    costs: Costs | None = None,
    key: Key | None = None,
    **options: Any,
) -> list[Proposal]:
    """Up to `size` proposals to be tried at the same time, each knowing of those before it; fewer where nothing more is
    affordable. The first has the number `key.number`, and the others those after it; `options` as in `propose`."""
    key, chosen = key or Key(0, 0), list[Proposal]()
    for i in range(size):
        under_trial = [*pending, *(p.setting for p in chosen)]
        proposal = propose(space, observations, under_trial, (), costs, Key(key.seed, key.number + i), **options)
        if proposal is None:
            break
        chosen.append(proposal)
    return chosen


def _by_surrogate(
    fitted: FittedTrials,
    admission: Admission,
    pending: Sequence[Setting],
    beliefs: Mapping[str, Belief | Likely],
    studies: Sequence[EarlierStudy],
    moves: Moves | None,
    rng: np.random.Generator,
) -> Proposal | None:
    """The best setting, or move, by the acquisition function; None where nothing is admissible."""
    encoding = fitted.encoding
    under_trial = encoding.columns(encoding.positions(pending))
    several = 1 < fitted.objectives.shape[1] <= MOST_OBJECTIVES
    surrogates: Sequence[Surrogate | Ensemble]
    if several:
        each = [fitted.surrogate(raw, standardise(raw, logs=False), j) for j, raw in enumerate(fitted.objectives.T)]
        improvement, order = _of_several(fitted, each, under_trial, rng)
        surrogates = each
        tried, valid = fitted.positions[fitted.worked], fitted.valid
    else:
        single = fitted.objectives.shape[1] == 1
        views = outlooks(encoding, studies, rng)
        raw = fitted.objectives[:, 0] if single else scalarise(fitted.objectives, rng)
        y, objective = standardise(raw), 0 if single else None
        surrogate = fitted.with_earlier(raw, y, objective, views) if views else fitted.surrogate(raw, y, objective)
        tried, valid = fitted.positions[fitted.worked[surrogate.kept]], fitted.valid[surrogate.kept]
        at = surrogate.columns if moves is None else encoding.columns(at_full(tried))
        surrogate, improvement, order = _of_one(surrogate, at, valid, under_trial)
        surrogates = [surrogate]
    around = tried[order[:_AROUND]]
    if isinstance(surrogates[0], Ensemble):
        around = np.concatenate([around, portfolio(encoding, studies, _AROUND)])
    points = admission.filter(_at_full(moves, candidates(encoding, around, admission.costs, rng)))
    if not len(points) and moves is None:
        return None

    terms: list[Term] = [] if improvement is None else [improvement]
    terms += [of_constraint(columns, encoding.groups, figures) for columns, figures in fitted.constraints()]
    if beliefs:
        terms.append(Beliefs(encoding, beliefs, len(fitted.observations)))
    success: list[Term] = []
    if fitted.failed.any():
        success.append(of_success(fitted.columns, encoding.groups, fitted.failed))
    cheapness = admission.costs.cheapness(sum(o.cost for o in fitted.observations))
    taken = np.concatenate([fitted.columns, under_trial])
    new = points
    if len(points):
        every = [*terms, *success, *([] if cheapness is None else [cheapness])]
        new = maximise(Acquisition(every), encoding, points, admission, taken)

    one = fitted.objectives.shape[1] == 1 and improvement is not None
    if one and len(new) and may_repeat(encoding.keys(fitted.positions[fitted.worked]), fitted.objectives[:, 0]):
        again = admission.repeatable(tried[valid] if moves is None else tried[valid & (tried[:, -1] == 1.0)])
        columns = encoding.columns(again)
        row = worth_repeating(surrogates[0], columns, encoding.columns(new)) if len(again) else None
        if row is not None:
            return _proposal(encoding, again[[row]], "surrogate")
    if moves is None:
        return _proposal(encoding, new, "surrogate")
    return moves.best(new, terms, success, surrogates, fitted, rng)


def _of_one(
    surrogate: Surrogate | Ensemble, columns: Floats, valid: Bools, under_trial: Floats
) -> tuple[Surrogate | Ensemble, Term | None, Ints]:
    """One objective: the surrogate after what is under trial (k, c), the improvement's term, and the rows of the
    surrogate from the best on, each judged at columns (n, c); no term where none of them is valid (n,)."""
    mean = surrogate.standing(columns)
    # Settings that break a constraint come last, however good they are.
    order = np.lexsort((mean, ~valid))
    best = float(mean[valid].min(initial=np.inf))
    if len(under_trial):
        # What is under trial turns out as expected: the next trial has to improve on that as well.
        best = min(best, float(surrogate.predict(under_trial)[0].min()))
        surrogate = surrogate.believe(under_trial)
    if not valid.any():
        return surrogate, None, order
    if isinstance(surrogate, Ensemble):
        return surrogate, MeanImprovement(surrogate, best), order
    return surrogate, LogImprovement(surrogate, best), order


def _of_several(
    fitted: FittedTrials, surrogates: Sequence[Surrogate], under_trial: Floats, rng: np.random.Generator
) -> tuple[Term | None, Ints]:
    """Several objectives: the improvement's term, given what is under trial (k, c), and the rows of those that worked
    from the best on, the Pareto front first; no term where none of them is valid."""
    columns = fitted.columns[fitted.worked]
    means = np.stack([s.standing(columns) for s in surrogates], axis=1)  # (w, m)
    front = np.zeros(len(means), dtype=bool)
    rows = np.flatnonzero(fitted.valid)
    front[rows[pareto(means[rows])]] = True
    order = np.lexsort((rng.random(len(means)), ~front, ~fitted.valid))
    if not len(rows):
        return None, order
    if len(under_trial):
        surrogates = [s.believe(under_trial) for s in surrogates]
    columns, counts = np.concatenate([columns, under_trial]), np.r_[fitted.valid, np.ones(len(under_trial), dtype=bool)]
    return HypervolumeImprovement(surrogates, columns, reference_point(means[rows], rng), rng, counts=counts), order


def _agrees(fitted: FittedTrials, studies: Sequence[EarlierStudy]) -> bool:
    """Whether trials so far came out in the order that earlier studies expect, rather than in the opposite one."""
    return agreement(fitted.encoding, studies, fitted.positions[fitted.worked], fitted.objectives) > 0


def _at_full(moves: Moves | None, positions: Floats) -> Floats:
    return positions if moves is None else at_full(positions)


def _proposal(encoding: Encoding, rows: Floats, origin: Origin) -> Proposal | None:
    """The first of positions (n, p) as a proposal, if there is one."""
    return Proposal(encoding.decode(rows[0]), origin=origin) if len(rows) else None
