"""Readers of what users have: one module each. Listing them imports no numpy."""

from ..source import SourceReader

_READERS: tuple[SourceReader, ...] = ()

SOURCES: dict[str, SourceReader] = {reader.name: reader for reader in _READERS}
