"""A hash of the code that a family's training runs through, so that a change of it is a change of the key.

The code is read by its imports: the family's own module, what that imports of the project (Gentune, and plug-in files
with the modules next to them), and the training loop with what that imports. Libraries count with their versions.
Modules that are imported by a name put together at run time are not seen.
"""

from __future__ import annotations

import ast
import hashlib
import pkgutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = __name__.split(".", 1)[0]  # "gentune"
_CORE = (f"{_PACKAGE}.models.base", f"{_PACKAGE}.bench.training.loop")
_core_sources: dict[str, bytes] = {}


def code_version(family: type) -> str | None:
    """The hash of a family's code, read once for each class; None for a class whose source is in no file.

    Raises SyntaxError where a file that is not imported yet cannot be parsed.
    """
    return _code_version(family)


@cache
def _code_version(family: type) -> str | None:
    homes = [c.__module__ for c in family.__mro__ if c.__module__.split(".")[0] not in _elsewhere()]
    if any(_path_of(home) is None for home in homes):
        return None
    sources, libraries = _closure([*homes, *_CORE])
    digest = hashlib.sha256()
    for name in sorted(sources, key=lambda n: (_label(n), n)):
        content = sources[name]
        digest.update(f"{_label(name)} {len(content)} ".encode())
        digest.update(content)
    for library, number in sorted(libraries.items()):
        digest.update(f"{library} {number} ".encode())
    return digest.hexdigest()


def _closure(start: list[str]) -> tuple[dict[str, bytes], dict[str, str]]:
    """Sources of all modules of the project that are reached from `start`, and versions of the libraries."""
    tops = {_PACKAGE} | {name.split(".")[0] for name in start}
    sources: dict[str, bytes] = {}
    libraries: dict[str, str] = {}
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name in sources or name == _PACKAGE:  # the root package leads everywhere
            continue
        path = _path_of(name)
        if path is None:
            continue
        sources[name] = _core_sources[name] if name in _core_sources else path.read_bytes()
        for imported in _imports(name, path, sources[name]):
            top = imported.split(".")[0]
            if top in tops or not _is_library(top):
                waiting.append(imported)
            elif top not in sys.stdlib_module_names:
                libraries[top] = _version_of(top)
    return sources, libraries


def _imports(name: str, path: Path, source: bytes) -> Iterator[str]:
    """Modules that a module imports, anywhere in it; for a name that a package hands on, the module that has it."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    aliases = set()
    for node in ast.walk(ast.parse(source, str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_contents(alias.name)
                if alias.name.split(".")[0] == _PACKAGE:
                    aliases.add(alias.asname or _PACKAGE)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield base
            for alias in node.names:
                yield from _of_name(base, alias.name)
    for node in ast.walk(ast.parse(source, str(path))):  # gentune.models.NAME, after `import gentune`
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            yield from _of_name(_PACKAGE, node.attr)


def _of_name(base: str, name: str) -> Iterator[str]:
    """Where `from base import name` leads besides `base` itself."""
    if base.split(".")[0] != _PACKAGE and _is_library(base.split(".")[0]):
        return
    if _path_of(f"{base}.{name}") is not None:
        yield from _with_contents(f"{base}.{name}")
    elif base in sys.modules and base != _PACKAGE:
        home = getattr(getattr(sys.modules[base], name, None), "__module__", None)
        if isinstance(home, str) and home != base:
            yield home


def _with_contents(name: str) -> Iterator[str]:
    """A module; of the package of models all modules, since it hands on any of them."""
    yield name
    if name == f"{_PACKAGE}.models":
        spec = find_spec(name)
        folders = spec.submodule_search_locations if spec is not None else None
        for module in pkgutil.walk_packages(folders, f"{name}."):
            yield module.name


def _path_of(name: str) -> Path | None:
    """The source file of a module; None where there is none."""
    if name in sys.modules:
        file = getattr(sys.modules[name], "__file__", None)
    else:
        try:
            spec = find_spec(name)
        except (ImportError, ValueError, AttributeError):  # an optional library, or no module at all
            return None
        file = spec.origin if spec is not None and spec.has_location else None
    path = None if file is None else Path(file)
    return path if path is not None and path.suffix == ".py" and path.is_file() else None


@cache
def _is_library(top: str) -> bool:
    """Whether a top-level name is of the standard library or an installed package."""
    if top in sys.stdlib_module_names:
        return True
    path = _path_of(top)
    if path is None:
        return True  # compiled, or not there
    folders = {Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    home = path.resolve()
    if any(folder in home.parents for folder in folders):
        return True
    return not {"site-packages", "dist-packages"}.isdisjoint(home.parts)  # of another environment, by a .pth file


@cache
def _elsewhere() -> frozenset[str]:
    """Top-level names whose classes a family may derive from without their being its code."""
    return frozenset({*sys.stdlib_module_names, "torch"})


def _version_of(top: str) -> str:
    names = _distributions().get(top)
    return version(names[0]) if names else "unknown"


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def _label(name: str) -> str:
    """A module's name as it is hashed: of plug-in files the path does not count."""
    if name.split(".")[0] == _PACKAGE:
        return name
    path = _path_of(name)
    return path.name if path is not None else name


# Read right after the import, while the files are as imported: a run takes hours, and files may be edited.
_core_sources.update(_closure(list(_CORE))[0])
