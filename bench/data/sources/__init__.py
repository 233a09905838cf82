"""Readers of what users have: one module each. Listing them imports no numpy."""

from ..source import SourceReader
from .arrays import Arrays
from .image_folder import ImageFolder
from .tables import Tables
from .text import Text

_READERS: tuple[SourceReader, ...] = (ImageFolder(), Arrays(), Tables(), Text())

SOURCES: dict[str, SourceReader] = {reader.name: reader for reader in _READERS}
