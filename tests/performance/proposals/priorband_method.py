"""PriorBand of neural-pipeline-search, which trains in parts: asked and told about a space with a good default."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pipe import SERVERS, Pipe, interpreter

from gentune.bench.proposal.encoding import Encoding
from gentune.search_spaces.space import Parameter, SearchSpace

UNITS = 4  # parts of a full training that PriorBand counts in


@dataclass(frozen=True)
class Asked:
    """What a rival wants next. identifier: its own name of the trial. fidelity: the share of a full training to reach;
    parent: the identifier of the trial whose training goes on; None: a new one."""

    identifier: Any
    setting: dict[str, Any]
    fidelity: float = 1.0
    parent: Any = None


class PriorBand:
    """PriorBand behind a pipe (`priorband_server`).

    python: the interpreter of its environment. Raises RuntimeError where the server ends before it answers.
    """

    def __init__(self, space: SearchSpace, seed: int, python: Path | None = None) -> None:
        self._space, self._first = space, True
        self._server = Pipe(python or interpreter("priorband"), SERVERS / "priorband_server.py")
        default = {p.name: p.default for p in space}
        self._server.send({"space": describe(space), "rungs": UNITS, "seed": seed % 2**31, "first": default})

    def ask(self) -> Asked:
        if self._first:
            return Asked("first", dict(self._space.default()))
        answer = self._server.send({"ask": True})
        setting = self._space.activate(answer["setting"])
        return Asked(answer["id"], setting, answer["units"] / UNITS, answer["parent"])

    def tell(self, asked: Asked, value: float | None) -> None:
        self._first = False
        self._server.send({"tell": asked.identifier, "value": value})

    def close(self) -> None:
        self._server.close()


def describe(space: SearchSpace) -> list[dict[str, Any]]:
    """A space as PriorBand's server takes it, with what is conditional always there: inactive values go later."""
    return [
        {
            **{key: getattr(p, key) for key in ("name", "kind", "low", "high", "log")},
            "choices": list(p.choices),
            "centre": centre(p),
        }
        for p in space
    ]


def centre(parameter: Parameter) -> Any:
    """Where good values of a parameter are expected: the middle of the likely ones, else the default."""
    likely = parameter.likely
    if not likely or (parameter.kind == "categorical" and parameter.default in likely):
        return parameter.default
    if parameter.kind == "categorical":
        return likely[0]
    alone = Encoding(SearchSpace((replace(parameter, when={}),)))
    ends = [alone.position(parameter.name, value) for value in likely]
    return alone.decode(np.array([sum(ends) / 2]))[parameter.name]
