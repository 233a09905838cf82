"""Readers of what users have: one module each. Listing them imports no numpy."""

from ..source import SourceReader
from .image_folder import ImageFolder

_READERS: tuple[SourceReader, ...] = (ImageFolder(),)

SOURCES: dict[str, SourceReader] = {reader.name: reader for reader in _READERS}
