"""PriorBand of neural-pipeline-search, asked and told through a pipe, in an environment of its own.

Reads one JSON object a line and answers each with one. The first says what to optimise:

    {"space": [{"name", "kind", "low", "high", "log", "choices", "centre"}], "rungs", "seed", "first"}

with centres where good values are expected, `rungs` units of a full training, and `first`, the setting that the caller
tries first. Then {"ask": true} is answered by {"id", "setting", "units", "parent"}, where `parent` is the identifier of
the trial whose training is to go on, or null, and {"tell": id, "value": number or null} by {}.

The package needs pandas below 3 and a botorch of its own (`make rivals`).
"""

from __future__ import annotations

import math
from typing import Any

from serving import serve

FIDELITY = "(units)"  # no family's parameter can have this name
CONFIDENCE = "medium"
ETA = 2


class PriorBandServer:
    """One study."""

    def __init__(self, described: dict[str, Any]) -> None:
        import numpy as np
        import torch
        from neps import AskAndTell, algorithms
        from neps.space import SearchSpace
        from neps.space.parameters import HPOInteger

        torch.set_num_threads(1)
        # The package draws from the global generators.
        np.random.seed(described["seed"] % 2**32)  # noqa: NPY002
        torch.manual_seed(described["seed"])
        self._choices = {p["name"]: p["choices"] for p in described["space"] if p["kind"] == "categorical"}
        space = {p["name"]: _parameter(p) for p in described["space"]}
        space[FIDELITY] = HPOInteger(1, described["rungs"], is_fidelity=True)
        self._optimiser = AskAndTell(algorithms.priorband(SearchSpace(space), eta=ETA))
        self._first = described["first"]
        self._rungs = described["rungs"]

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        if "tell" in message:
            value = math.inf if message["value"] is None else message["value"]
            if message["tell"] == "first":
                self._tell_first(value)
            else:
                self._optimiser.tell(message["tell"], value)
            return {}
        trial = self._optimiser.ask()
        setting = dict(trial.config)
        units = setting.pop(FIDELITY)
        for name, choices in self._choices.items():
            setting[name] = choices[int(setting[name])]
        previous = trial.metadata.previous_trial_id
        return {"id": trial.metadata.id, "setting": setting, "units": int(units), "parent": previous}

    def _tell_first(self, value: float) -> None:
        config = dict(self._first)
        for name, choices in self._choices.items():
            config[name] = str(choices.index(config[name]))
        config[FIDELITY] = self._rungs
        top = round(math.log(self._rungs, ETA))
        self._optimiser.tell_custom(config_id=f"0_rung_{top}", config=config, result={"objective_to_minimize": value})


def _parameter(described: dict[str, Any]) -> Any:
    """Choices are sent by their index: the package takes numbers and text alone."""
    from neps.space.parameters import HPOCategorical, HPOFloat, HPOInteger

    centre = described["centre"]
    prior = {"prior_confidence": CONFIDENCE}
    if described["kind"] == "categorical":
        choices = described["choices"]
        return HPOCategorical([str(i) for i in range(len(choices))], prior=str(choices.index(centre)), **prior)
    kind = HPOInteger if described["kind"] == "int" else HPOFloat
    return kind(described["low"], described["high"], log=described["log"], prior=centre, **prior)


if __name__ == "__main__":
    serve(PriorBandServer)
