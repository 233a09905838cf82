"""torchvision's data sets, read by torchvision itself. Nothing is imported until one is read."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....search_spaces.space import suggest
from ...errors import UsageError
from ...files import default_cache
from ..found import Found
from ..source import SourceReader

if TYPE_CHECKING:
    from .array_files import LoadedArray

# What torchvision raises for files that are missing or damaged, and for packages that some sets need.
_FAILURES = (RuntimeError, OSError, ImportError, ValueError, EOFError, KeyError, pickle.UnpicklingError)
_SPLITS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}


class TorchvisionSets(SourceReader):
    """A set of torchvision's by its name, such as `torchvision:MNIST`. Its official test split stays the test split."""

    name = "torchvision"
    keeps = True

    def place(self, own: Mapping[str, Any]) -> Path | None:
        return _root(str(own.get("root", "")))

    def find(
        self,
        *,
        name: str,
        root: str = "",
        download: bool = False,
        label: str = "",
        crop: str | int | tuple[int, int] | None = None,
        resize: int | tuple[int, int] | None = None,
        grey: bool = False,
        levels: int = 0,
        flip: bool = False,
    ) -> Found:
        """All examples of its splits.

        name: of a class in `torchvision.datasets`. root: the folder in which torchvision looks for its files; "":
        `torchvision` under Gentune's cache. download: whether it may fetch them.
        label: "none" leaves labels out. The others are those of a folder of images.
        """
        from ..._torchvision import make_importable
        from .array_kinds import ImageOptions, found_in
        from .image_sizes import Fit

        options = ImageOptions(Fit.of(crop, resize), grey, levels, flip)
        if label not in ("", "none"):
            raise UsageError(f'option label is {label!r}; wanted "none", or nothing')
        make_importable()
        from torchvision import datasets

        if name not in datasets.__all__ or name in ("FakeData", "DatasetFolder", "ImageFolder", "VisionDataset"):
            raise UsageError(f"torchvision has no data set {name!r}{suggest(name, datasets.__all__)}")
        kind = getattr(datasets, name)
        place = _root(root)
        found = {split: _opened(kind, place, arguments, download) for split, arguments in _arguments(kind).items()}
        read = {split: items for split, items in found.items() if items is not None}
        parts = {split: _arrays(items, options.fit, f"torchvision's {name}", label) for split, items in read.items()}
        result = found_in(name, parts, "image", replace(options, fit=Fit()))
        names = getattr(next(iter(read.values())), "classes", ())
        return replace(result, class_names=tuple(names)) if len(names) == result.spec.classes else result


def _root(root: str) -> Path:
    return Path(root).expanduser().resolve() if root else default_cache() / "torchvision"


def _arguments(kind: Any) -> dict[str, dict[str, Any]]:
    """What each split's constructor takes, by split; the first of several words that the set knows counts."""
    taken = inspect.signature(kind).parameters
    if "train" in taken:
        return {"train": {"train": True}, "test": {"train": False}}
    if "split" in taken and taken["split"].default == "train":
        return {split: {"split": words} for split, words in _SPLITS.items()}
    raise UsageError(f"torchvision's {kind.__name__} has no splits of images that Gentune knows")


def _opened(kind: Any, root: Path, arguments: Mapping[str, Any], download: bool) -> Any:
    """A split; None where the set has no such one. Raises UsageError where its files are missing."""
    words = arguments.get("split")
    for word in words if isinstance(words, tuple) else (None,):
        chosen = dict(arguments) if word is None else {"split": word}
        try:
            root.mkdir(parents=True, exist_ok=True)
            return kind(root, **chosen, **({"download": True} if download else {}))
        except _FAILURES as error:
            if word is not None and "argument split" in str(error):  # it has no split of this name
                continue
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            advice = "they cannot be had" if download else "put its files there, or set download = true"
            raise UsageError(f"torchvision's {kind.__name__} cannot be read from {root} ({reason}); {advice}") from None
    return None


def _arrays(items: Any, fit: Any, where: str, label: str) -> dict[str, LoadedArray]:
    """The images and the labels of a split: whole arrays where the set has them, else item by item."""
    import numpy as np

    from .array_files import LoadedArray
    from .picture_items import stacked

    whole, labels = getattr(items, "data", None), getattr(items, "targets", getattr(items, "labels", None))
    if hasattr(whole, "shape"):
        x = np.asarray(whole)
        images = x.transpose(0, 2, 3, 1) if x.ndim == 4 and x.shape[1] == 3 else x
        x = stacked(images, fit, where)
    else:
        pairs = [items[index] for index in range(len(items))]
        x = stacked((pair[0] for pair in pairs), fit, where)
        second = [pair[1] for pair in pairs if len(pair) == 2]
        labels = second if all(isinstance(entry, int) for entry in second) and second else None
    arrays = {"x": LoadedArray(where, x)}
    if labels is not None and label != "none":
        arrays["labels"] = LoadedArray(f"{where}: labels", np.asarray(labels))
    return arrays
