"""Plug-in files: what they register is known to every process of a run, since each of them loads the same files."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError


@dataclass(frozen=True)
class Broken:
    """A plug-in that could not be loaded. where: its file. error: one line."""

    name: str
    where: str
    error: str


broken: dict[str, Broken] = {}  # by file
_loading: list[str] = []  # files that are being loaded, the innermost last


def loading() -> str | None:
    """The plug-in file that is being loaded; None where this program registers something itself."""
    return _loading[-1] if _loading else None


def load_plugins(paths: Iterable[str | Path]) -> None:
    """Loads the plug-in files of a study, each as `load_plugin` does."""
    for path in paths:
        load_plugin(path)


def load_plugin(path: str | Path) -> None:
    """Runs a plug-in file, which registers what it brings. A file that fails stays listed with its error.

    Raises UsageError where there is no such file.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise UsageError(f"plug-in {path} is not there")
    name = f"gentune_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"plug-in {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    broken.pop(str(path), None)
    _loading.append(str(path))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001 - a plug-in may fail in any way; it must not stop the others
        del sys.modules[name]
        last = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
        broken[str(path)] = Broken(path.stem, str(path), reason)
    finally:
        _loading.pop()
