"""Other packages' optimisers, asked and told about the trials of one study; the default is the first trial of each."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import methods
import numpy as np

from gentune.bench.proposal.encoding import Encoding
from gentune.search_spaces import Parameter, SearchSpace

UNITS = 4  # parts of a full training that PriorBand counts in
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Asked:
    """What a rival wants next. identifier: its own name of the trial. fidelity: the share of a full training to reach;
    parent: the identifier of the trial whose training goes on; None: a new one."""

    identifier: Any
    setting: dict[str, Any]
    fidelity: float = 1.0
    parent: Any = None


class Rival(Protocol):
    """One run of another package's optimiser."""

    def ask(self) -> Asked:
        """What to try next; the default setting at first."""

    def tell(self, asked: Asked, value: float | None) -> None:
        """The objective, to be minimised; None: the trial failed, or was not affordable."""

    def close(self) -> None:
        """Frees what it holds."""


class OptunaRival:
    """A sampler of Optuna, by its name in `methods`."""

    def __init__(self, name: str, space: SearchSpace, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._study = optuna.create_study(sampler=methods.sampler(name, {}, seed))
        self._study.enqueue_trial(dict(space.default()))

    def ask(self) -> Asked:
        trial = self._study.ask()
        return Asked(trial, methods.suggest(trial, self._space))

    def tell(self, asked: Asked, value: float | None) -> None:
        from optuna.trial import TrialState

        if value is None:
            self._study.tell(asked.identifier, state=TrialState.FAIL)
        else:
            self._study.tell(asked.identifier, value)

    def close(self) -> None:
        pass


class PriorBand:
    """PriorBand behind a pipe (`priorband_server`).

    python: the interpreter of its environment. Raises RuntimeError where the server ends before it answers.
    """

    def __init__(self, space: SearchSpace, seed: int, python: Path) -> None:
        self._space, self._first = space, True
        command = [str(python), str(HERE / "priorband_server.py")]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        default = {p.name: p.default for p in space}
        self._send({"space": describe(space), "rungs": UNITS, "seed": seed % 2**31, "first": default})

    def ask(self) -> Asked:
        if self._first:
            return Asked("first", dict(self._space.default()))
        answer = self._send({"ask": True})
        setting = self._space.activate(answer["setting"])
        return Asked(answer["id"], setting, answer["units"] / UNITS, answer["parent"])

    def tell(self, asked: Asked, value: float | None) -> None:
        self._first = False
        self._send({"tell": asked.identifier, "value": value})

    def close(self) -> None:
        for pipe in (self._server.stdin, self._server.stdout):
            if pipe is not None:
                pipe.close()
        self._server.wait(timeout=60)

    def _send(self, message: Mapping[str, Any]) -> dict[str, Any]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(message) + "\n")
        self._server.stdin.flush()
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError(f"PriorBand's server ended with code {self._server.wait()}; its errors are above")
        answer: dict[str, Any] = json.loads(line)
        return answer


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
