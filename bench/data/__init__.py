"""What to learn."""

from .base import DataSet, Split
from .catalogue import DATA_SETS, load

__all__ = ["DATA_SETS", "DataSet", "Split", "load"]
