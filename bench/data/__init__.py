"""Data sets, the readers that give them, and references by which any process can open them."""

from .base import DataReader, DataSet, Modes, Split
from .readers import add_reader, data_specs, describe_data, load, open_data, readers, remove_reader
from .reference import DataRef

__all__ = [
    "DataReader",
    "DataRef",
    "DataSet",
    "Modes",
    "Split",
    "add_reader",
    "data_specs",
    "describe_data",
    "load",
    "open_data",
    "readers",
    "remove_reader",
]
