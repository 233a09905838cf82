"""What to learn."""

from .base import DataSet, Modes, Split
from .catalogue import DATA_SETS, load

__all__ = ["DATA_SETS", "DataSet", "Modes", "Split", "load"]
