"""HEBO, asked and told through a pipe, in an environment of its own.

The first line says what to optimise, as `served_method` describes it. HEBO knows no conditions: it proposes values for
all parameters, and those that are not active are passed over. It passes over values that are not finite, which are
those of failed trials. Its start is a Sobol sequence that is the same for every seed.
"""

from __future__ import annotations

import math
from typing import Any

from serving import serve


class HeboServer:
    """One study."""

    def __init__(self, described: dict[str, Any]) -> None:
        import numpy as np
        import torch

        _restore_old_names()
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        torch.set_num_threads(1)
        # The package draws from the global generators.
        np.random.seed(described["seed"] % 2**32)  # noqa: NPY002
        torch.manual_seed(described["seed"])
        space = DesignSpace().parse([_parameter(p) for p in described["space"]])
        self._optimiser = HEBO(space)
        self._asked: list[Any] = []

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        if "tell" not in message:
            self._asked.append(self._optimiser.suggest(n_suggestions=1))
            row = self._asked[-1].iloc[0].to_dict()
            setting = {name: value.item() if hasattr(value, "item") else value for name, value in row.items()}
            return {"id": len(self._asked) - 1, "setting": setting}
        value = math.nan if message["value"] is None else message["value"]
        self._optimiser.observe(self._asked[message["tell"]], np.array([[value]]))
        return {}


def _restore_old_names() -> None:
    """HEBO 0.3.2 and pymoo 0.5 use names that numpy and pandas have dropped since."""
    import numpy as np
    import pandas as pd

    for name, kind in (("float", float), ("int", int), ("object", object)):
        setattr(np, name, kind)

    def append(self: Any, other: Any, ignore_index: bool = False) -> Any:
        return pd.concat([self, other], ignore_index=ignore_index)

    pd.DataFrame.append = append  # type: ignore[attr-defined]


def _parameter(described: dict[str, Any]) -> dict[str, Any]:
    name = described["name"]
    if described["kind"] == "categorical":
        return {"name": name, "type": "cat", "categories": [str(i) for i in range(described["choices"])]}
    scaled = {"int": ("int", "pow_int"), "float": ("num", "pow")}[described["kind"]][described["log"]]
    return {"name": name, "type": scaled, "lb": described["low"], "ub": described["high"]}


if __name__ == "__main__":
    serve(HeboServer)
