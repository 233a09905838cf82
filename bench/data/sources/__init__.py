"""Readers of what users have: one module each. Listing them imports no numpy."""

from ..source import SourceReader
from .arrays import Arrays
from .hub_sets import HubSets
from .image_folder import ImageFolder
from .image_pairs import ImagePairs
from .tables import Tables
from .text import Text
from .torchvision_sets import TorchvisionSets

_READERS: tuple[SourceReader, ...] = (
    ImageFolder(),
    ImagePairs(),
    Arrays(),
    Tables(),
    Text(),
    TorchvisionSets(),
    HubSets(),
)

SOURCES: dict[str, SourceReader] = {reader.name: reader for reader in _READERS}
