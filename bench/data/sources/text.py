"""Text files: sequences of characters, in windows of one length or line by line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ....models.data_spec import DataSpec
from ...errors import UsageError
from ..found import Found
from ..reference import plain_name
from ..source import SourceReader

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
            examples, notes = _lines(text, length, path)
        else:
            examples = [text[start : start + length] for start in range(0, len(text) - length + 1, length)]
            if not examples:
                raise UsageError(f"{path} has {len(text)} characters; wanted more than one window of {length}")
        characters = sorted(set("".join(examples)))
        if not 2 <= len(characters) <= MOST_CHARACTERS:
            raise UsageError(f"{path} has {len(characters):,} different characters; wanted 2 to {MOST_CHARACTERS:,}")
        width = max(map(len, examples))
        padded = min(map(len, examples)) < width
        symbols = (*characters, "") if padded else tuple(characters)
        spec = DataSpec(
            plain_name(Path(path).stem) or self.name,
            "sequence",
            (width,),
            vocabulary=len(symbols),
            padding=len(characters) if padded else None,
            symbols=symbols,
            source=path,
        )
        return Found(spec, _tokens(examples, characters, width), notes=notes)


def _read(path: Path, encoding: str) -> str:
    try:
        return path.read_text(encoding=encoding.lower().replace("utf-8", "utf-8-sig"))
    except LookupError:
        raise UsageError(f"unknown encoding {encoding!r}; wanted one such as utf-8 or latin-1") from None
    except UnicodeError as error:
        raise UsageError(
            f'{path} is not written in {encoding} ({error}); wanted its encoding, such as "latin-1"'
        ) from None


def _lines(text: str, length: int, path: str) -> tuple[list[str], tuple[str, ...]]:
    """The lines of a text that are neither blank nor too long, and a note on those that are."""
    written = [line for line in text.splitlines() if line.strip()]
    kept = [line for line in written if len(line) <= length]
    if not kept:
        raise UsageError(f"{path} has no line of at most {length} characters")
    if len(kept) == len(written):
        return kept, ()
    return kept, (f"{len(written) - len(kept):,} of {len(written):,} lines are left out: longer than {length}",)


def _tokens(examples: list[str], characters: list[str], width: int) -> np.ndarray:
    """Indices of characters (n, width), int32; what a short example lacks has the index after the last character."""
    import numpy as np

    token = {character: index for index, character in enumerate(characters)}
    rows = np.full((len(examples), width), len(characters), np.int32)
    for row, example in zip(rows, examples, strict=True):
        row[: len(example)] = [token[character] for character in example]
    return rows
