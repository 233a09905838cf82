"""How well a trained evaluator does on held-out examples what it was trained for, next to chance.

An evaluator that has learned nothing gives features that tell little of the data, and so do figures through them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from ..metrics.alignment import text_accuracy, wilson_interval
from ..metrics.base import NORMAL_95

Task = Literal["classes", "views", "reconstruction", "pairs"]
NEAR_CHANCE = 0.2
_WORDS: dict[Task, str] = {
    "classes": "accuracy {value:.1%} (chance {chance:.1%})",
    "views": "accuracy {value:.1%} in telling how images were changed (chance {chance:.1%})",
    "reconstruction": "{value:.1%} of the variance explained",
    "pairs": "accuracy {value:.1%} in finding an image's text among 100 (chance {chance:.1%})",
}


@dataclass(frozen=True)
class Quality:
    """A figure of a trained evaluator on the validation split.

    task: what it was trained for: to tell classes, or how images were changed (the figure is its accuracy), or to
        rebuild examples from their features (the share of their variance that this explains), or to find the text of
        an image.
    value: the figure; low, high: its 95% interval. chance: what the best constant answer has.
    examples: on how many it was measured.
    """

    task: Task
    value: float
    low: float
    high: float
    chance: float
    examples: int

    @property
    def poor(self) -> bool:
        """Whether it is near chance: its interval's lower end is less than a fifth of the way from chance to 1.

        Of accuracies this share is Cohen's kappa against the most frequent class, and up to 0.2 is "slight" (Landis and
        Koch, "The measurement of observer agreement for categorical data", 1977).
        """
        return self.chance >= 1.0 or (self.low - self.chance) / (1.0 - self.chance) < NEAR_CHANCE

    def __str__(self) -> str:
        words = _WORDS[self.task].format(value=self.value, chance=self.chance)
        return f"{words} on {self.examples:,} validation examples{': near chance' if self.poor else ''}"

    def as_json(self) -> dict[str, Any]:
        """The object that stands in cards and in a run's evaluators.json."""
        figures = {"value": self.value, "low": self.low, "high": self.high, "chance": self.chance}
        return {"task": self.task, **figures, "examples": self.examples, "poor": self.poor, "told": str(self)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Quality:
        """What `as_json` gave. Raises KeyError, TypeError or ValueError for anything else."""
        value, low, high, chance = (float(content[key]) for key in ("value", "low", "high", "chance"))
        task: Task = content["task"]
        if task not in _WORDS:
            raise ValueError(f"no task {task!r} of an evaluator")
        return cls(task, value, low, high, chance, int(content["examples"]))


def of_classes(predicted: Tensor, labels: Tensor, task: Task = "classes") -> Quality:
    """Accuracy with Wilson's interval, from class numbers (n,) each; chance: the share of the most frequent label."""
    examples, right = len(labels), int((predicted == labels).sum())
    low, high = wilson_interval(right, examples)
    return Quality(task, right / examples, low, high, int(labels.bincount().max()) / examples, examples)


def of_pairs(images: Tensor, texts: Tensor, meanings: Tensor) -> Quality:
    """`text_accuracy` of real pairs, from embeddings (n, d) each and what texts say (n, f)."""
    found = text_accuracy(images, texts, meanings)
    low, high = (found.value if end is None else end for end in (found.low, found.high))
    return Quality("pairs", found.value, max(low, 0.0), min(high, 1.0), 0.01, len(images))


def of_reconstruction(rebuilt: Tensor, x: Tensor) -> Quality:
    """1 - Σ e / Σ v over examples (n, d), where e is the squared error and v the squared distance from their mean.

    The interval is normal, by the delta method for the ratio of two means. Without variance nothing is explained.
    """
    error, spread = ((x - other).square().sum(1) for other in (rebuilt, x.mean(0)))  # (n,) each
    if not float(spread.sum()) or len(x) < 2:
        return Quality("reconstruction", 0.0, 0.0, 0.0, 0.0, len(x))
    ratio = float(error.sum() / spread.sum())
    influence = (error - ratio * spread) / spread.mean()
    reach = NORMAL_95 * float(influence.std()) / math.sqrt(len(x))
    return Quality("reconstruction", 1.0 - ratio, 1.0 - ratio - reach, min(1.0, 1.0 - ratio + reach), 0.0, len(x))
