"""Data readers and metrics that plug-ins and programs register; `bench/data` and `bench/metrics` have the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ..data import DataReader, add_reader
from ..errors import UsageError, check_name, look_up
from ..metrics.base import MetricCard, MetricValue
from ..metrics.catalogue import METRICS, add_metric
from ..metrics.inputs import InputCard, add_input
from .plugins import load_entry_points, note_origin


def register_data(reader: DataReader) -> None:
    """Makes a data reader known by its name. Raises UsageError for a name that is taken or not plain."""
    add_reader(reader)
    note_origin("data", reader.name)


def register_metric(
    card: MetricCard, function: Callable[..., MetricValue] | None = None, inputs: Iterable[InputCard] = ()
) -> None:
    """Makes a metric known by name.

    card: with the names of its inputs.
    function: computes it; its parameters are the inputs. None: the card names it.
    inputs: those that only this plug-in provides.

    Raises UsageError for a name that is taken or not plain, and for an input that nothing provides.
    """
    try:
        check_name(card.name, "a metric", card.name)
        for entry in inputs:
            add_input(entry)
        add_metric(card if function is None else replace(card, implementation=function))
    except ValueError as error:
        raise UsageError(str(error)) from None
    note_origin("metrics", card.name)


def metric(name: str) -> MetricCard:
    """A metric's card by name. Raises UsageError for an unknown one."""
    load_entry_points("metrics")
    return look_up(name, METRICS, "metric")
