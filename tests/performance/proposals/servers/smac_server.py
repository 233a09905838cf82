"""SMAC3's facade for hyperparameters (a random forest), asked and told through a pipe, in an environment of its own.

The first line says what to optimise, as `served_method` describes it. Every value is taken as exact: SMAC would
otherwise spend trials on repetitions of its best settings. A failed trial has the worst value so far, as SMAC's own
forest cannot learn from infinite ones.
"""

from __future__ import annotations

import tempfile
from typing import Any

from serving import serve


class SmacServer:
    """One study."""

    def __init__(self, described: dict[str, Any]) -> None:
        from ConfigSpace import ConfigurationSpace
        from smac import HyperparameterOptimizationFacade, Scenario

        space = ConfigurationSpace(seed=described["seed"])
        parameters = {p["name"]: _parameter(p) for p in described["space"]}
        space.add(*parameters.values())
        space.add(*(_condition(p, parameters) for p in described["space"] if p["when"]))
        self._folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            space,
            deterministic=True,
            n_trials=described["trials"],
            seed=described["seed"],
            output_directory=self._folder.name,
        )
        self._optimiser = HyperparameterOptimizationFacade(
            scenario, lambda config, seed=0: 0.0, overwrite=True, logging_level=40
        )
        self._asked: list[Any] = []
        self._worst: float | None = None

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        from smac.runhistory.dataclasses import TrialValue
        from smac.runhistory.enumerations import StatusType

        if "tell" not in message:
            self._asked.append(self._optimiser.ask())
            setting = {name: _plain(value) for name, value in dict(self._asked[-1].config).items()}
            return {"id": len(self._asked) - 1, "setting": setting}
        value = message["value"]
        if value is not None and (self._worst is None or value > self._worst):
            self._worst = value
        cost = value if value is not None else self._worst if self._worst is not None else 0.0
        state = StatusType.SUCCESS if value is not None else StatusType.CRASHED
        self._optimiser.tell(self._asked[message["tell"]], TrialValue(cost=cost, time=0.1, status=state))
        return {}


def _parameter(described: dict[str, Any]) -> Any:
    from ConfigSpace import Categorical, Float, Integer

    name = described["name"]
    if described["kind"] == "categorical":
        return Categorical(name, [str(i) for i in range(described["choices"])])
    kind = Integer if described["kind"] == "int" else Float
    return kind(name, (described["low"], described["high"]), log=described["log"])


def _condition(described: dict[str, Any], parameters: dict[str, Any]) -> Any:
    from ConfigSpace import AndConjunction, InCondition

    child = parameters[described["name"]]
    clauses = [InCondition(child, parameters[parent], values) for parent, values in described["when"].items()]
    return clauses[0] if len(clauses) == 1 else AndConjunction(*clauses)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


if __name__ == "__main__":
    serve(SmacServer)
