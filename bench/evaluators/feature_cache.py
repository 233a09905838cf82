"""Features of real examples on disk: every trial of a study, and every study of a data set, needs the same ones.

A file is named by all that its content depends on: the evaluator's fingerprint, the code that calls it, and the
examples themselves, which stand for data set, split and count.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..data.examples import Column
from ..files import write_atomically
from . import evaluator as _code
from .evaluator import Evaluator, Features

_FOLDER = "features"
_FIELDS = ("features", "probabilities")


class _DamagedError(Exception):
    """A file is not what was written."""


def describe_cached(evaluator: Evaluator, x: Tensor | Column, *, cache: Path) -> Features:
    """What `evaluator.describe(x)` gives, from the cache where it has been asked before.

    A damaged file is set aside, its name followed by `.damaged-` and a random part, and made again. Where the cache
    cannot be written, the features are computed each time.
    """
    path = cache / _FOLDER / f"{evaluator.name}-{_key(evaluator, x)}.safetensors"
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except _DamagedError:
        with contextlib.suppress(OSError):  # another process may have been first
            path.replace(path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}"))
    found = evaluator.describe(x)
    tensors = {name: tensor.contiguous() for name in _FIELDS if (tensor := getattr(found, name)) is not None}
    with contextlib.suppress(OSError):
        write_atomically(path, save(tensors, metadata={"content": _hash(tensors)}))
    return found


def _key(evaluator: Evaluator, x: Tensor | Column) -> str:
    none = x[:0]
    digest = hashlib.sha256(f"{evaluator.fingerprint} {none.dtype} {(len(x), *none.shape[1:])}".encode())
    digest.update(Path(str(_code.__file__)).read_bytes())
    for part in x.chunks() if isinstance(x, Column) else (x,):
        digest.update(part.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:24]


def _read(path: Path) -> Features:
    """Raises FileNotFoundError, or _DamagedError where the content is not what was written."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            written = (file.metadata() or {}).get("content")
    except FileNotFoundError:
        raise
    except (OSError, SafetensorError, ValueError) as error:
        raise _DamagedError(f"{path}: {error}") from error
    if written != _hash(tensors) or "features" not in tensors:
        raise _DamagedError(f"{path}: the content differs from what was written")
    return Features(tensors["features"], tensors.get("probabilities"))


def _hash(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
