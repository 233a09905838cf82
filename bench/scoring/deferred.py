"""Values that are made when they are first asked for: features of large networks take minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Once:
    """A value that is made when it is first asked for, and kept."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: list[Any] = []

    def __call__(self) -> Any:
        if not self._made:
            self._made.append(self._make())
        return self._made[0]


class Lazy(Mapping[str, object]):
    """A mapping whose values are made one by one, each when it is first looked up."""

    def __init__(self, makers: Mapping[str, Callable[[], object]]) -> None:
        self._makers = {name: make if isinstance(make, Once) else Once(make) for name, make in makers.items()}

    def __getitem__(self, name: str) -> object:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
