"""The data sets that come with Gentune."""

from ..base import DataReader
from .catalogue import WITHOUT_OPTIONS
from .mnist import Mnist5k
from .photographs import PhotoPatches

BUILT_IN: dict[str, DataReader] = {**WITHOUT_OPTIONS, **{reader.name: reader for reader in (PhotoPatches(), Mnist5k())}}

__all__ = ["BUILT_IN"]
