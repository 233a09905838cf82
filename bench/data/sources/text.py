"""Text files: sequences of characters, in windows of one length or line by line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ....models.data_spec import DataSpec
from ...errors import UsageError
from ..found import Found
from ..reference import plain_name
from ..source import SourceReader
from ..text_files import check_encoding, reading, without_mark

if TYPE_CHECKING:
    import numpy as np

MOST_CHARACTERS = 4_096  # different ones


class Text(SourceReader):
    """A text file: each character is a token."""

    name = "text"
    suffixes = (".txt",)

    def find(self, *, path: str, length: int = 64, lines: bool = False, encoding: str = "utf-8") -> Found:
        """Windows of a text, one after another, or its lines.

        length: characters of a window; of lines the most, longer ones are left out. lines: each line that is not blank
        is an example, filled up with a padding token.
        """
        if length < 2:
            raise UsageError(f"option length is {length}; wanted at least 2 characters")
        text = _read(Path(path), encoding)
        notes: tuple[str, ...] = ()
        if lines:
            examples, notes = short_ones([line for line in text.splitlines() if line.strip()], length, path)
        else:
            examples = [text[start : start + length] for start in range(0, len(text) - length + 1, length)]
            if not examples:
                raise UsageError(f"{path} has {len(text)} characters; wanted more than one window of {length}")
        return as_sequences(plain_name(Path(path).stem) or self.name, path, examples, notes)


def as_sequences(name: str, where: str, examples: list[str], notes: tuple[str, ...] = ()) -> Found:
    """Texts as sequences of characters, the shorter ones filled up with a padding token.

    where: the texts' place, in messages and as their source.
    """
    characters = sorted(set("".join(examples)))
    if not 2 <= len(characters) <= MOST_CHARACTERS:
        raise UsageError(f"{where} has {len(characters):,} different characters; wanted 2 to {MOST_CHARACTERS:,}")
    width = max(map(len, examples))
    padded = min(map(len, examples)) < width
    symbols = (*characters, "") if padded else tuple(characters)
    spec = DataSpec(
        name,
        "sequence",
        (width,),
        vocabulary=len(symbols),
        padding=len(characters) if padded else None,
        symbols=symbols,
        source=where,
    )
    return Found(spec, _tokens(examples, characters, width), notes=notes)


def _read(path: Path, encoding: str) -> str:
    check_encoding(encoding)
    with reading(path, encoding):
        return path.read_text(encoding=without_mark(encoding))


def short_ones(texts: list[str], length: int, where: str) -> tuple[list[str], tuple[str, ...]]:
    """Those of at most `length` characters, and a note on the others. Raises UsageError where none is left."""
    kept = [text for text in texts if len(text) <= length]
    if not kept:
        raise UsageError(f"{where} has no line of at most {length} characters")
    if len(kept) == len(texts):
        return kept, ()
    return kept, (f"{len(texts) - len(kept):,} of {len(texts):,} lines are left out: longer than {length}",)


def _tokens(examples: list[str], characters: list[str], width: int) -> np.ndarray:
    """Indices of characters (n, width), int32; what a short example lacks has the index after the last character."""
    import numpy as np

    token = {character: index for index, character in enumerate(characters)}
    rows = np.full((len(examples), width), len(characters), np.int32)
    for row, example in zip(rows, examples, strict=True):
        row[: len(example)] = [token[character] for character in example]
    return rows
