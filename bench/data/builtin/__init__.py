"""The data sets that come with Gentune."""

from .catalogue import BUILT_IN

__all__ = ["BUILT_IN"]
