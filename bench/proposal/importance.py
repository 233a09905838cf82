"""PED-ANOVA importances, by Optuna's evaluator."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import create_trial

from ...search_spaces.space import SearchSpace
from .optuna_space import to_distribution
from .records import Observation

_TOP = 0.1  # share of trials that count as good, as in the paper
_FEWEST = 5  # of them, as Optuna advises; of few trials at most half


def ped_anova(space: SearchSpace, observations: Sequence[Observation], objective: int = 0) -> dict[str, float]:
    """How far the distribution of each parameter among the best tenth of trials is from that among all of them.

    Shares that sum to one; all zero where no trial stands out or fewer than two trials succeeded. Trials that failed
    are passed over. In conditional spaces a parameter is judged among the trials in which it was active.

    S. Watanabe, A. Bansal and F. Hutter (2023), "PED-ANOVA: efficiently quantifying hyperparameter importance in
    arbitrary subspaces", arXiv 2304.10255.
    """
    tried = [(o.setting, o.values[objective]) for o in observations if not o.failed and o.values is not None]
    nothing = dict.fromkeys(space.names, 0.0)
    if len(tried) < 2:
        return nothing
    study = _quiet_study()
    for setting, value in tried:
        params = {name: v for name, v in setting.items() if name in space and space[name].contains(v)}
        distributions = {name: to_distribution(space[name]) for name in params}
        study.add_trial(create_trial(params=params, distributions=distributions, value=value))
    top = max(_TOP, min(0.5, _FEWEST / len(tried)))
    with warnings.catch_warnings():
        # Both say that few trials tell little, which the page says of all importances.
        warnings.filterwarnings("ignore", message="Some regimes for parameter")
        warnings.filterwarnings("ignore", message="Target and region quantiles select the same")
        warnings.filterwarnings("ignore", message="The number of trials is too small")
        divergences = PedAnovaImportanceEvaluator(target_quantile=top).evaluate(study)
    total = sum(divergences.values())
    if total <= 0:
        return nothing
    return nothing | {name: divergences.get(name, 0.0) / total for name in space.names}


def _quiet_study() -> optuna.Study:
    """A study in memory, made without a line in the log."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study()
    finally:
        optuna.logging.set_verbosity(verbosity)
