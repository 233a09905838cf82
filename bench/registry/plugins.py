"""Plug-ins: files, and entry points of installed packages. Every process of a run loads the same ones.

An entry point of the group `gentune.families`, `gentune.data`, `gentune.metrics` or `gentune.executors` names a module
that registers things when it is imported, or a function without arguments that registers them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Literal

from ..errors import UsageError

PluginKind = Literal["families", "data", "metrics", "executors"]
KINDS: tuple[PluginKind, ...] = ("families", "data", "metrics", "executors")
ENTRY_POINT = "entry point"  # in the place of a file


@dataclass(frozen=True)
class Broken:
    """A plug-in that could not be loaded.

    kind: what it was to bring; of a file that is not known, and it is listed with the families.
    where: its file, or the entry point's value. error: one line.
    """

    kind: PluginKind
    name: str
    where: str
    error: str


_broken: dict[str, Broken] = {}  # by place
_entered: set[tuple[str, str]] = set()  # entry points that have been loaded
_loading: list[str] = []  # what is being loaded, the innermost last
_origins: dict[tuple[PluginKind, str], str | None] = {}


def broken(kind: PluginKind) -> list[Broken]:
    """Plug-ins of a kind that could not be loaded."""
    return [entry for entry in _broken.values() if entry.kind == kind]


def note_origin(kind: PluginKind, name: str) -> str | None:
    """Remembers and returns what registers a name: a plug-in file, an entry point, or (None) this program itself."""
    _origins[kind, name] = _loading[-1] if _loading else None
    return _origins[kind, name]


def is_shared(kind: PluginKind, name: str, plugins: Collection[str]) -> bool:
    """Whether worker processes that load these plug-in files know a name; the built-in ones are known everywhere."""
    origin = _origins.get((kind, name), ENTRY_POINT)
    return origin == ENTRY_POINT or origin in {str(Path(path).resolve()) for path in plugins}


def all_shared(kind: PluginKind, plugins: Collection[str]) -> bool:
    """Whether worker processes that load these plug-in files know every name of a kind."""
    return all(is_shared(kind, name, plugins) for known, name in _origins if known == kind)


def load_plugins(paths: Iterable[str | Path]) -> None:
    """Loads all entry points and the plug-in files of a study, each as `load_plugin` does."""
    load_entry_points(*KINDS)
    for path in paths:
        load_plugin(path)


def load_entry_points(*kinds: PluginKind) -> None:
    """Loads the entry points of some kinds, each once. One that fails stays listed with its error."""
    for kind in kinds:
        for point in entry_points(group=f"gentune.{kind}"):
            if (kind, point.name) in _entered:
                continue
            _entered.add((kind, point.name))
            place = f"gentune.{kind}: {point.name} = {point.value}"
            with _catching(kind, point.name, place, ENTRY_POINT):
                found = point.load()
                if not isinstance(found, ModuleType):
                    found()


def load_plugin(path: str | Path) -> None:
    """Runs a plug-in file, which registers what it brings. A file that fails stays listed with its error.

    Raises UsageError where there is no such file, and for a name that it may not register.
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
    _broken.pop(str(path), None)
    try:
        with _catching("families", path.stem, str(path), str(path)):
            spec.loader.exec_module(module)
    except UsageError:
        del sys.modules[name]
        raise
    if str(path) in _broken:
        del sys.modules[name]


@contextmanager
def _catching(kind: PluginKind, name: str, place: str, origin: str) -> Iterator[None]:
    """Writes down what goes wrong while a plug-in is loaded; a wrong name in a plug-in file is reported at once."""
    _loading.append(origin)
    try:
        with redirect_stdout(sys.stderr):  # a `print` in a plug-in is no part of a command's document
            yield
    except Exception as error:  # a plug-in may fail in any way; it must not stop the others
        if isinstance(error, UsageError) and origin != ENTRY_POINT:
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
        _broken[place] = Broken(kind, name, place, " ".join(reason.split()))
    finally:
        _loading.pop()
