"""Counts the operations of a family's setting on a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..data import DataSet
from ..registry import ResolvedFamily
from ..training.setting import build_model, split_setting
from ..training.torch_start import load_all_of_torch
from .operations import EXAMPLES, Operations, TooSlowToCountError, UncountableError, count_operations
from .time_limit import TookTooLongError, time_limit

PATIENCE = 30.0  # seconds for a step of a training and two samples: ample, since what is not counted changes costs


def count_setting(family: ResolvedFamily, data: DataSet, params: Mapping[str, Any]) -> Operations:
    """Operations of a full training and of one sample.

    family: with the card and the class that the study has.

    Raises UncountableError for a setting that cannot take a step or be sampled, or not within `PATIENCE`, and for a
    family that the counter cannot follow.
    """
    card = family.card
    setting = split_setting(card, params)
    spec = data.spec
    load_all_of_torch()
    try:
        with time_limit(PATIENCE, "a step of its training and two samples"):
            return count_operations(
                lambda: build_model(family.load(), spec, setting.train, 0),
                data.splits["train"][:EXAMPLES],
                setting.loop,
                steps=family.full_steps(spec),
                sampling=setting.sample,
                conditional=card.fit(spec.kind, spec.condition.kind).condition != "none",
            )
    except TookTooLongError as error:
        raise TooSlowToCountError(str(error)) from error
    except Exception as error:  # whatever a family's own code may raise
        raise UncountableError(f"{type(error).__name__}: {error}") from error
