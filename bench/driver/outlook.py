"""What a comparison's families cost at their default settings and how long they take, before anything is run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from .. import protocol, registry
from ..budget.counting import count_setting
from ..budget.kinds import budget_of, too_little
from ..budget.pace import Pace, machine_pace, measure_pace
from ..budget.setting_cost import SettingCosts
from ..data import DataSet
from ..errors import UsageError
from ..evaluators import EvaluatorPace, paces_of
from ..files import default_cache
from ..registry import ResolvedFamily
from ..runs.study_file import StudyFile
from ..training.one_thread import one_thread

_DOUBT = 1.5


@dataclass(frozen=True)
class Outlook:
    """Of each family of a comparison: what settings cost, and how long the default one takes here; and how long the
    evaluators take.

    machine: how much slower this machine is than that on which first guesses were measured. seconds: that it took to
    find all this out.
    """

    costs: Mapping[str, SettingCosts]
    paces: Mapping[str, Pace]
    evaluators: tuple[EvaluatorPace, ...] = ()
    machine: float = 1.0
    seconds: float = 0.0


def look_ahead(config: StudyFile, data: DataSet, *, refuse: bool = False) -> Outlook:
    """Counts and measures the default settings, on one thread as workers train them.

    refuse: whether a budget into which one does not fit raises UsageError.
    """
    began = time.perf_counter()
    with one_thread():
        costs = costs_of_families(config, data)
        if refuse:  # at once, where prices are known
            refuse_too_little(config, Outlook(costs, {}))
            refuse_expensive_start(config, data, Outlook(costs, {}))
        device = _device(config.devices)
        families = _families(config, data)
        paces = {}
        for name, family in families.items():
            cost = costs[name]
            hangs = Pace(unmeasured=cost.uncountable) if cost.hangs else None
            paces[name] = hangs or measure_pace(family, data, cost.setting, device=device)
        if refuse:
            refuse_too_little(config, Outlook(costs, paces))
        machine = machine_pace()
    evaluators = paces_of(data, config.evaluators, cache=default_cache())
    return Outlook(costs, paces, evaluators, machine, time.perf_counter() - began)


def costs_of_families(config: StudyFile, data: DataSet) -> dict[str, SettingCosts]:
    """The costs of each family of a comparison in its budget, the default settings counted."""
    budget, samples = budget_of(*config.budget), min(protocol.SAMPLES, len(data.splits["validation"]))
    return {
        name: SettingCosts(partial(count_setting, family, data), family.card.space.default(), samples, budget)
        for name, family in _families(config, data).items()
    }


def _families(config: StudyFile, data: DataSet) -> dict[str, ResolvedFamily]:
    """The families with what the study changes in them."""
    cards = registry.cards_of(config.families, data.spec, config.space, config.size)
    return {name: registry.family(name).resolved(config.plugins, changed.card) for name, changed in cards.items()}


def _device(devices: Sequence[str]) -> str:
    """The first device that workers are placed on."""
    if list(devices) == ["auto"]:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    return devices[0]


def least_amounts(config: StudyFile, outlook: Outlook) -> dict[str, float]:
    """The smallest budgets in which the default settings fit, of the families whose default the study's does not pay
    for.

    A price that is only known afterwards is predicted from the measured pace; what that misses by less than a factor
    of `_DOUBT` is tried.
    """
    budget = budget_of(*config.budget)
    least = {}
    for name, cost in outlook.costs.items():
        default, price = cost.of(cost.setting), cost.first_trial(stopping=config.stopping != "none")
        if default is not None and price is not None:
            wanted = budget.least(price, default)
            if not budget.allows(wanted, budget.amount):
                least[name] = wanted
        elif (pace := outlook.paces.get(name)) and pace.training is not None and pace.sample is not None:
            seconds = pace.training + pace.sample * cost.samples
            if seconds > _DOUBT * budget.amount:
                least[name] = seconds
    return least


def refuse_expensive_start(config: StudyFile, data: DataSet, outlook: Outlook) -> None:
    """Raises UsageError for a first setting to start with that the budget does not pay for after the default."""
    budget = budget_of(*config.budget)
    cards = registry.cards_of(config.families, data.spec, config.space, config.size)
    for name, (setting, *_) in registry.starts_of(cards, config.start).items():
        cost = outlook.costs[name]
        default, price = cost.of(cost.setting), cost.of(setting)
        if default is not None and price is not None and not budget.allows(default + price, budget.amount):
            raise UsageError(
                f"start.{name}: the default setting takes {default:.3g} and this one {price:.3g} {config.budget[0]}; "
                f"wanted a budget of at least {default + price:.3g}, got {budget.amount:.3g}"
            )


def paid_starts(cost: SettingCosts, settings: Sequence[Mapping[str, Any]], amount: tuple[str, float]) -> int:
    """How many settings to start with a budget pays for after the default, in their order; all where prices are not
    known beforehand.

    amount: the budget's kind, and how much.
    """
    budget, spent = budget_of(*amount), cost.of(cost.setting) or 0.0
    for index, setting in enumerate(settings):
        spent += cost.of(setting) or 0.0
        if not budget.allows(spent, budget.amount):
            return index
    return len(settings)


def refuse_too_little(config: StudyFile, outlook: Outlook) -> None:
    """Raises UsageError where the default setting of a family does not fit into the budget."""
    least = least_amounts(config, outlook)
    if least:
        kind, amount = config.budget
        most = max(least, key=lambda name: least[name])
        raise UsageError(too_little(", ".join(sorted(least)), kind, amount, least[most], stopping=config.stopping))
