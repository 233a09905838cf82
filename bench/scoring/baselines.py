"""What methods that are no generative models reach: baselines for single columns of the table."""

from __future__ import annotations

from collections.abc import Mapping

from ...models.base import Batch
from ..data import DataSet, Split
from ..metrics import Measurement, MetricValue, UndefinedError
from ..metrics.coding import baseline_ratios
from ..metrics.utility import task_accuracy
from .references import real_examples, reference_batch


def baselines(data: DataSet, split: Split) -> dict[str, Measurement]:
    """Each baseline's name and what it reaches on the test split; empty for other splits.

    logistic_regression: accuracy of the linear classifier of `metrics/utility.py` trained on the train split, to be
        compared with the generative families' `bayes_accuracy`.
    png, zlib: their `compression_ratio`, all images in one file.
    """
    found: dict[str, Measurement] = {}
    if split != "test":
        return found
    held_out = reference_batch(data, split)
    if data.spec.classes:
        found["logistic_regression"] = _logistic_regression(data, held_out)
    if data.spec.kind == "image":
        for name, ratio in _compressors(data, held_out).items():
            found[name] = Measurement({"compression_ratio": MetricValue(ratio)}, {})
    return found


def _logistic_regression(data: DataSet, held_out: Batch) -> Measurement:
    try:
        train = reference_batch(data, "train", real_examples(data, "train"))
        return Measurement({"bayes_accuracy": task_accuracy(train, held_out)}, {})
    except UndefinedError as reason:
        return Measurement({}, {"bayes_accuracy": str(reason)})


def _compressors(data: DataSet, held_out: Batch) -> Mapping[str, float]:
    try:
        return baseline_ratios(held_out.x, data.spec)
    except UndefinedError:  # more levels than the compressors take
        return {}
