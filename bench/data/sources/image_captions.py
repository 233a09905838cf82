"""Captions of a folder's images: a JSON-lines file or a table beside them, a line or row for each image."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ....search_spaces.space import suggest
from ...errors import UsageError
from ..found import Found
from ..text_files import reading, without_mark
from ..words import condition_of, tokens_of, vocabulary_of, words_of

FILE_NAME = "file_name"  # the key, or column, with an image's path
MOST_WORDS, MOST_TOKENS = 2_000, 64
_TABLES = (".csv", ".tsv", ".parquet")
_ENCODING = "utf-8"


def with_captions(found: Found, folder: Path, files: Sequence[str], name: str, column: str) -> Found:
    """The images with captions as their conditions.

    files: of the images, from the folder, in their order. name: of the file with captions, within the folder; its paths
    of images begin where it lies. column: the key or column with captions.

    Words are lower-case; of a caption its first 64 words and marks count, of all captions the 2,000 most frequent.
    Raises UsageError for a file that is no such file, and for images without a caption.
    """
    place = folder / name
    if not place.resolve().is_relative_to(folder.resolve()) or not place.is_file():
        raise UsageError(f"option captions is {name!r}; wanted a file within {folder}")
    written = {
        Path(os.path.relpath(place.parent / image, folder)).as_posix(): text
        for image, text in _read(place, column).items()
    }
    without = [file for file in files if not words_of(written.get(file, ""))]
    if without:
        raise UsageError(f"{place} has no caption of {len(without):,} of {len(files):,} images, such as {without[0]}")
    captions = [written[file] for file in files]
    longest = max(len(words_of(caption)) for caption in captions)
    condition = condition_of(vocabulary_of(captions, MOST_WORDS), min(longest, MOST_TOKENS))
    notes = [*found.notes]
    if longest > MOST_TOKENS:
        notes.append(f"captions are cut at {MOST_TOKENS} words and marks; the longest has {longest:,}")
    unused = len(written.keys() - set(files))
    if unused:
        notes.append(f"{unused:,} captions belong to no image")
    spec = replace(found.spec, condition=condition)
    tokens = tokens_of(captions, condition)
    return replace(found, spec=spec, condition=tokens, class_names=(), notes=tuple(notes))


def _read(place: Path, column: str) -> dict[str, str]:
    """Captions by the paths of their images."""
    if place.suffix.lower() in _TABLES:
        return _of_table(place, column)
    with reading(place, _ENCODING):
        lines = place.read_text(encoding=without_mark(_ENCODING)).splitlines()
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            raise UsageError(f"{place}, line {number}: no JSON; wanted an object on each line") from None
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in (FILE_NAME, column)):
            raise UsageError(f'{place}, line {number}: wanted an object with text for "{FILE_NAME}" and "{column}"')
        found[entry[FILE_NAME]] = entry[column]
    return found


def _of_table(place: Path, column: str) -> dict[str, str]:
    from ..tables.files import read_csv, read_parquet

    if place.suffix.lower() == ".parquet":
        frame = read_parquet(place)
    else:
        frame = read_csv(place, separator="", encoding=_ENCODING, decimal=".", header=True, missing_values=())
    for name in (FILE_NAME, column):
        if name not in frame.columns:
            raise UsageError(f"{place} has no column {name!r}{suggest(name, list(frame.columns))}")
    rows = frame[[FILE_NAME, column]].dropna()
    return dict(zip(rows[FILE_NAME].astype(str), rows[column].astype(str), strict=True))
