"""Rivals behind a pipe, on a Gentune search space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipe import SERVERS, Pipe, interpreter

from gentune.search_spaces.space import Parameter, SearchSpace, Setting, Value


class ServedMethod:
    """SMAC3 or HEBO as it comes, by the name of its server.

    python: the interpreter of its environment. trials: how many there will be, by which SMAC sizes its start.
    """

    def __init__(self, name: str, space: SearchSpace, seed: int, trials: int, python: Path | None = None) -> None:
        self._space, self._index = space, -1
        self._server = Pipe(python or interpreter(name), SERVERS / f"{name}_server.py")
        self._server.send({"space": [describe(space, p) for p in space], "seed": seed, "trials": trials})

    def ask(self) -> Setting:
        answer = self._server.send({"ask": True})
        self._index = answer["id"]
        raw = answer["setting"]
        return self._space.activate({p.name: _value(p, raw[p.name]) for p in self._space if p.name in raw})

    def tell(self, value: float | None) -> None:
        self._server.send({"tell": self._index, "value": value})

    def name(self) -> int | None:
        return None

    def close(self) -> None:
        self._server.close()


def describe(space: SearchSpace, p: Parameter) -> dict[str, Any]:
    """A parameter as servers take it: choices by their number, as packages take neither None nor values of several
    types, and conditions by parent. Raises ValueError for a parameter in steps."""
    if p.step is not None:
        raise ValueError(f"parameter {p.name!r} has a step, which rivals behind a pipe are not told of")
    when = {parent: [_label(space[parent], value) for value in values] for parent, values in p.when.items()}
    return {
        **{key: getattr(p, key) for key in ("name", "kind", "low", "high", "log")},
        "choices": len(p.choices),
        "when": when,
    }


def _label(p: Parameter, value: Value) -> Any:
    return str(p.choices.index(value)) if p.kind == "categorical" else value


def _value(p: Parameter, raw: Any) -> Value:
    if p.kind == "categorical":
        return p.choices[int(raw)]
    assert p.low is not None
    assert p.high is not None
    return round(raw) if p.kind == "int" else min(max(float(raw), p.low), p.high)
