"""How long evaluators take on this machine: to train, where they are to be, and to look at an example."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import protocol
from ..data import DataSet
from ..registry import chosen
from ..training.one_thread import one_thread
from .evaluator import Evaluator
from .library import evaluators_for, load_evaluator, untrained

_LOOKED_AT = 8  # examples of the train split


@dataclass(frozen=True)
class EvaluatorPace:
    """What an evaluator has before it, and how long it takes.

    steps: that it will be trained; 0 where nothing is to be trained. training: seconds of these.
    example: seconds to look at an example. real: to look at the real examples that a run compares with, once.
    told: how good a kept one is, in words; "" where nothing is known of it.
    """

    name: str
    steps: int
    training: float
    example: float
    real: float = 0.0
    told: str = ""

    @property
    def preparing(self) -> float:
        """Seconds before samples can be compared."""
        return self.training + self.real

    def __str__(self) -> str:
        first = f" is trained first ({self.steps:,} steps, about {self.training:.0f} s)," if self.steps else ""
        told = f" ({self.told})" if self.told else ""
        return f"evaluator {self.name}{told}{first} looks at 1,000 examples in {1_000 * self.example:.2g} s"

    def as_json(self) -> dict[str, Any]:
        """The object that `gentune plan --json` prints."""
        return {
            "name": self.name,
            "steps": self.steps,
            "training_seconds": self.training,
            "example_seconds": self.example,
            "real_seconds": self.real,
            "quality": self.told or None,
        }


def paces_of(data: DataSet, named: Sequence[str] | None, *, cache: Path) -> tuple[EvaluatorPace, ...]:
    """The paces of a study's evaluators, in their order. Weights from elsewhere are loaded; nothing is kept.

    named: as for `evaluators_for`.
    """
    examples = data.splits["train"][:_LOOKED_AT].x
    held_out = (min(protocol.REAL_EXAMPLES, len(data.splits[split])) for split in ("validation", "test"))
    real = min(protocol.TRAIN_EXAMPLES, len(data.splits["train"])) + sum(held_out)
    found = []
    with one_thread():
        for text in evaluators_for(data, named):
            begun = None if chosen(text).card.pretrained else untrained(data, text, cache=cache)
            if begun is None:
                evaluator, steps, seconds = load_evaluator(data, text, cache=cache), 0, 0.0
            else:
                evaluator, steps, seconds = Evaluator(text, "", begun.network), begun.steps, begun.seconds
            evaluator.describe(examples[:1])  # the first call compiles
            began = time.perf_counter()
            evaluator.describe(examples)
            each = (time.perf_counter() - began) / len(examples)
            told = "" if evaluator.quality is None else str(evaluator.quality)
            found.append(EvaluatorPace(evaluator.name, steps, steps * seconds, each, each * real, told))
    return tuple(found)
