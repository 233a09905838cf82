"""Data sets, the readers that give them, and references by which any process can open them."""

from .base import DataReader, DataSet, Modes, Split
from .found import Found
from .locate import locate
from .readers import add_reader, data_specs, describe_data, described, lacks, load, open_data, readers, remove_reader
from .reference import DataRef
from .source import SourceReader

__all__ = [
    "DataReader",
    "DataRef",
    "DataSet",
    "Found",
    "Modes",
    "SourceReader",
    "Split",
    "add_reader",
    "data_specs",
    "describe_data",
    "described",
    "lacks",
    "load",
    "locate",
    "open_data",
    "readers",
    "remove_reader",
]
