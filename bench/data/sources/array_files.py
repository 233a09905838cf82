"""Arrays of .npy and .npz files, read some rows at a time. Free of torch.

Nothing of a file is ever run: pickles are refused. Every error is one line that names the file.
"""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...errors import UsageError

_CHUNK = 2**24  # bytes at a time
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    KeyError,
    MemoryError,
    OverflowError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class ArrayMember:
    """An array of a file. name: its own, "" of an .npy. shape, dtype: as the file says; what is asked for is read."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool  # stored in Fortran's order, so that no rows can be read by themselves

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    @property
    def where(self) -> str:
        """Begins messages."""
        return f"{self.file}: {self.name}" if self.name else str(self.file)

    def read(self) -> np.ndarray:
        """All of it; that of an .npy is mapped, not copied."""
        with _refusing(self.file):
            if not self.name:
                return np.load(self.file, mmap_mode="r", allow_pickle=False)
            with self._opened() as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)

    def chunks(self) -> Iterator[np.ndarray]:
        """Its rows in order, some at a time."""
        row = max(1, int(np.prod(self.shape[1:])) * self.dtype.itemsize)
        rows = max(1, _CHUNK // row)
        if not self.name or self.by_columns:
            whole = self.read()
            for start in range(0, len(self), rows):
                yield whole[start : start + rows]
            return
        with _refusing(self.file), self._opened() as stream:
            _header(stream)
            for start in range(0, len(self), rows):
                n = min(rows, len(self) - start)
                content = stream.read(n * row)
                if len(content) != n * row:
                    raise ValueError(f"{self.name} ends early")
                yield np.frombuffer(content, self.dtype).reshape(n, *self.shape[1:])

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(self.file) as archive, archive.open(f"{self.name}.npy") as stream:
            yield stream


@dataclass(frozen=True, eq=False)
class LoadedArray:
    """An array in memory, as `ArrayMember` gives one of a file. where: begins messages."""

    where: str
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    def read(self) -> np.ndarray:
        """All of it."""
        return self.values

    def chunks(self) -> Iterator[np.ndarray]:
        """Its rows in order: all at once."""
        yield self.values


Member = ArrayMember | LoadedArray


def array_members(file: Path) -> dict[str, ArrayMember]:
    """The arrays of a file, by name; that of an .npy as "". Raises UsageError for what is no file of numpy's."""
    with _refusing(file):
        if not _starts_with(file, b"PK"):
            array = np.load(file, mmap_mode="r", allow_pickle=False)
            return {"": ArrayMember(file, "", array.shape, array.dtype, bool(array.flags.fnc))}
        found = {}
        with zipfile.ZipFile(file) as archive:
            for entry in archive.namelist():
                name = entry.removesuffix(".npy")
                if name == entry:
                    raise UsageError(
                        f"{file}: {entry} is no array of numpy's; pickles and other objects are never loaded"
                    )
                with archive.open(entry) as stream:
                    found[name] = ArrayMember(file, name, *_header(stream))
        return found


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, type and whether columns come first, as the array's header says; the stream stands behind it then."""
    major, _ = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return shape, dtype, by_columns


@contextmanager
def _refusing(file: Path) -> Iterator[None]:
    """Turns whatever numpy makes of a damaged file into one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FileNotFoundError as error:
        raise UsageError(f"{file} is not there") from error
    except PermissionError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except _UNREADABLE as error:
        if "pickle" in str(error) or "Python objects" in str(error):  # numpy takes what it does not know for a pickle
            if _starts_with(file, b"PK") or _starts_with(file, b"\x93NUMPY"):
                raise UsageError(f"{file} holds Python objects (a pickle), which are never loaded") from error
            raise UsageError(f"{file} is no array of numpy's, or is a pickle, which is never loaded") from error
        raise UsageError(f"{file} is damaged or no file of numpy's: {error}") from error


def _starts_with(file: Path, magic: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(magic)) == magic
