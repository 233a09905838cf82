"""Data that are given in Python: written down under the cache by their content, so that any process can open them.

CACHE/given/KEY/NAME.npz or .parquet    KEY is a hash of the content; nothing removes it but people
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..files import default_cache, write_atomically
from .reference import DataRef

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_WANTED = (
    "a name, a path, a table of options, an array or tensor of examples, a pair of these and labels, a pandas frame, "
    "or a torch Dataset with a length"
)


def reference_to(value: object) -> DataRef:
    """A reference to data that are given themselves.

    value: examples (n, ...) as an array or tensor, which the reader `arrays` tells to be images,
    vectors or sequences; (examples, labels); a frame, as the reader `table` takes it; or a Dataset whose items are
    examples, alone or with a label: tensors, arrays, numbers, or images of Pillow's.

    Raises UsageError for anything else, and for what the readers cannot take.
    """
    kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"
    if kind == "pandas.DataFrame":
        return _of_frame(value)  # type: ignore[arg-type]
    if isinstance(value, (tuple, list)):
        if len(value) != 2 or not all(map(_is_array, value)):
            raise UsageError(f"data is a {type(value).__name__} of {len(value)}; wanted {_WANTED}")
        return _of_arrays(_array(value[0]), _array(value[1]))
    if _is_array(value):
        return _of_arrays(_array(value), None)
    if hasattr(value, "__getitem__") and hasattr(value, "__len__"):
        return _of_items(value)
    raise UsageError(f"data is of type {kind.removeprefix('builtins.')}; wanted {_WANTED}")


def _is_array(value: object) -> bool:
    """Of numpy or torch, or a pandas series."""
    return all(hasattr(value, name) for name in ("shape", "dtype", "__array__"))


def _array(value: Any) -> np.ndarray:
    import numpy as np

    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    array = np.asarray(value)
    return array.astype(str) if array.dtype == object and all(isinstance(entry, str) for entry in array.flat) else array


def _of_arrays(x: np.ndarray, labels: np.ndarray | None) -> DataRef:
    import numpy as np

    if labels is not None and len(labels) != len(x):
        raise UsageError(f"data has {len(x)} examples and {len(labels)} labels; wanted as many")
    arrays = {"samples": x} if labels is None else {"samples": x, "labels": labels}
    for name, array in arrays.items():
        if array.dtype == object:
            raise UsageError(f"data: {name} are Python objects; wanted numbers{' or text' * (name == 'labels')}")
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())

    def content() -> bytes:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    return DataRef.of("arrays", path=_kept(digest.hexdigest(), "array.npz", content))


def _of_frame(frame: pd.DataFrame) -> DataRef:
    names = [name for name in frame.columns if not isinstance(name, str)]
    if names:
        raise UsageError(f"data: the frame has a column called {names[0]!r}; wanted names that are text")
    buffer = io.BytesIO()
    try:
        frame.to_parquet(buffer, index=False)
    except (ValueError, TypeError, OSError) as error:  # pyarrow's own errors derive from the first
        raise UsageError(f"data: the frame cannot be written as Parquet: {str(error).splitlines()[0]}") from None
    content = buffer.getvalue()
    return DataRef.of("table", path=_kept(hashlib.sha256(content).hexdigest(), "frame.parquet", lambda: content))


def _of_items(items: Any) -> DataRef:
    """Of a torch Dataset, or of anything else with a length and numbered items."""
    import numpy as np

    first: list[np.ndarray] = []
    labels: list[Any] = []
    for index in range(len(items)):
        item = items[index]
        parts = item if isinstance(item, (tuple, list)) else (item,)
        if not 1 <= len(parts) <= 2 or (index and (len(parts) == 2) != bool(labels)):
            raise UsageError(f"data: item {index} of the Dataset has {len(parts)} parts; wanted an example, or a pair")
        first.append(_item(parts[0], index))
        if first[-1].shape != first[0].shape:
            raise UsageError(
                f"data: items 0 and {index} of the Dataset have shapes {first[0].shape} and {first[-1].shape}; "
                "wanted one shape"
            )
        labels += [_item(part, index) for part in parts[1:]]
    if not first:
        raise UsageError("data: the Dataset has no items")
    return _of_arrays(np.stack(first), np.stack(labels) if labels else None)


def _item(value: object, index: int) -> np.ndarray:
    array = _array(value)
    if array.dtype == object:
        raise UsageError(
            f"data: item {index} of the Dataset holds a {type(value).__name__}; "
            "wanted tensors, arrays, numbers or images of Pillow's"
        )
    return array


def _kept(key: str, name: str, content: Callable[[], bytes]) -> str:
    """The path of a file under the cache, which is written unless it is there."""
    path = default_cache() / "given" / key[:32] / name
    if not path.is_file():
        try:
            write_atomically(path, content())
        except OSError as error:
            raise UsageError(f"data cannot be kept in {path.parent}: {error.strerror or error}") from None
    return str(path.resolve())
