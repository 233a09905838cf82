"""What a comparison's families cost at their default settings, before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from .. import protocol, registry
from ..budget.counting import count_setting
from ..budget.kinds import budget_of, too_little
from ..budget.setting_cost import SettingCosts
from ..data import DataSet
from ..errors import UsageError
from ..runs.study_file import StudyFile


def costs_of_families(config: StudyFile, data: DataSet) -> dict[str, SettingCosts]:
    """The costs of each family of a comparison in its budget, the default settings counted."""
    budget, samples = budget_of(*config.budget), min(protocol.SAMPLES, len(data.splits["validation"]))
    found = {}
    for name, changed in registry.cards_of(config.families, config.space).items():
        family = registry.family(name).resolved(config.plugins, changed.card)
        found[name] = SettingCosts(partial(count_setting, family, data), family.card.space.default(), samples, budget)
    return found


def least_amounts(config: StudyFile, costs: Mapping[str, SettingCosts]) -> dict[str, float]:
    """The smallest budgets in which the default settings fit, of the families whose default the study's does not pay
    for; families whose price is only known afterwards are left out."""
    budget = budget_of(*config.budget)
    least = {}
    for name, cost in costs.items():
        default, price = cost.of(cost.setting), cost.first_trial(stopping=config.stopping != "none")
        if default is not None and price is not None:
            wanted = budget.least(price, default)
            if not budget.allows(wanted, budget.amount):
                least[name] = wanted
    return least


def refuse_too_little(config: StudyFile, costs: Mapping[str, SettingCosts]) -> None:
    """Raises UsageError where the default setting of a family does not fit into the budget."""
    least = least_amounts(config, costs)
    if least:
        kind, amount = config.budget
        most = max(least, key=lambda name: least[name])
        raise UsageError(too_little(", ".join(sorted(least)), kind, amount, least[most], stopping=config.stopping))
