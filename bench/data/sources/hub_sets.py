"""Data sets of the Hugging Face hub, or local folders in its form, read by the library `datasets`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....search_spaces.space import suggest
from ...errors import UsageError
from ..found import Chunks, Found
from ..reference import plain_name
from ..source import SourceReader

if TYPE_CHECKING:
    import pandas as pd

_SPLITS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}
_SPLITS |= {"test": "test"}


class HubSets(SourceReader):
    """A set of the hub by its name, such as `hf:ylecun/mnist`, or a folder of Parquet, JSON, CSV or images."""

    name = "hf"

    def place(self, own: Mapping[str, Any]) -> Path | None:
        folder = Path(str(own["name"]))
        return folder if folder.is_dir() else None

    def find(
        self,
        *,
        name: str,
        config: str = "",
        image: str = "",
        text: str = "",
        label: str = "",
        columns: tuple[str, ...] = (),
        drop: tuple[str, ...] = (),
        categorical: tuple[str, ...] = (),
        length: int = 64,
        crop: str | int | tuple[int, int] | None = None,
        resize: int | tuple[int, int] | None = None,
        grey: bool = False,
        levels: int = 0,
        flip: bool = False,
    ) -> Found:
        """All examples of its splits.

        config: which configuration, where there are several. image, text: the column of the examples; "": the only
        column of images, else the set is a table. label: the column of the classes; "": the only one of such a type;
        "none": none. columns, drop, categorical: of tables (`Tables`). length: of texts (`Text`). The others are those
        of a folder of images.
        """
        from .array_kinds import ImageOptions
        from .image_sizes import Fit

        options = ImageOptions(Fit.of(crop, resize), grey, levels, flip)
        parts = _loaded(name, config)
        first = next(iter(parts.values()))
        for wanted in (image, text, label if label != "none" else "", *columns, *drop, *categorical):
            if wanted and wanted not in first.column_names:
                raise UsageError(f"hf:{name} has no column {wanted!r}{suggest(wanted, first.column_names)}")
        image = image or _only(first.features, "Image")
        label = "" if label == "none" else label or _only(first.features, "ClassLabel")
        if text:
            return _texts(name, parts, text, length)
        if not image:
            frames = {split: _frame(part, columns, drop, label) for split, part in parts.items()}
            return _table(name, frames, label, categorical)
        return _images(name, parts, image, label, options)


def _loaded(name: str, config: str) -> dict[str, Any]:
    """The set's splits, by our names for them."""
    try:
        import datasets
    except ImportError:
        raise UsageError("hf: needs the library datasets; pip install 'gentune[datasets]'") from None
    datasets.disable_progress_bars()
    try:
        found = datasets.load_dataset(name, config or None)
    except (OSError, ValueError, RuntimeError, ConnectionError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(f"hf:{name} cannot be read: {reason}") from None
    parts: dict[str, Any] = {}
    for split, part in found.items():
        ours = _SPLITS.get(str(split))
        if ours is not None and len(part):
            parts[ours] = part
    if "train" not in parts:
        raise UsageError(f"hf:{name} has the splits {', '.join(map(str, found)) or 'none'}; wanted one called train")
    return parts


def _only(features: Mapping[str, Any], kind: str) -> str:
    """The one column of a type; "" where there is none or where there are several."""
    names = [name for name, feature in features.items() if type(feature).__name__ == kind]
    return names[0] if len(names) == 1 else ""


def _images(name: str, parts: Mapping[str, Any], image: str, label: str, options: Any) -> Found:
    import numpy as np

    from .array_files import LoadedArray
    from .array_kinds import found_in
    from .image_sizes import Fit
    from .picture_items import stacked

    arrays: dict[str, dict[str, LoadedArray]] = {}
    for split, part in parts.items():
        x = stacked((row[image] for row in part.select_columns([image])), options.fit, f"hf:{name}")
        arrays[split] = {"x": LoadedArray(f"hf:{name}: {image}", x)}
        if label:
            arrays[split]["labels"] = LoadedArray(f"hf:{name}: {label}", np.asarray(part[label]))
    if len(arrays) == 1:
        arrays = {"": arrays["train"]}
    found = found_in(name, arrays, "image", replace(options, fit=Fit()))
    assert isinstance(found.x, Chunks)
    found = replace(found, x=np.concatenate(list(found.x.chunks())))
    names = getattr(parts["train"].features.get(label), "names", None) or ()
    return replace(found, class_names=tuple(names)) if len(names) == found.spec.classes else found


def _texts(name: str, parts: Mapping[str, Any], column: str, length: int) -> Found:
    import numpy as np

    from .text import as_sequences, short_ones

    texts: list[str] = []
    splits: list[str] = []
    notes: list[str] = []
    for split, part in parts.items():
        written = [str(entry) for entry in part[column] if entry]
        kept, told = short_ones(written, length, f"hf:{name}")
        texts += kept
        splits += [split] * len(kept)
        notes += told
    found = as_sequences(_name(name), f"hf:{name}", texts, tuple(notes))
    return found if len(parts) == 1 else replace(found, split=np.array(splits))


def _frame(part: Any, columns: tuple[str, ...], drop: tuple[str, ...], label: str) -> pd.DataFrame:
    kept = [n for n in part.column_names if n == label or ((n in columns if columns else True) and n not in drop)]
    frame: pd.DataFrame = part.select_columns(kept).to_pandas()
    for name in kept:
        classes = getattr(part.features[name], "names", None)
        if classes:
            frame[name] = [None if code is None or code < 0 else classes[code] for code in part[name]]
    return frame


def _table(name: str, frames: Mapping[str, pd.DataFrame], label: str, categorical: tuple[str, ...]) -> Found:
    import numpy as np
    import pandas as pd

    from ..tables.columns import describe
    from .tables import as_found

    frame = pd.concat(frames.values(), ignore_index=True)
    described = describe(frame, where=f"hf:{name}", label=label, categorical=categorical)
    found = as_found(_name(name), f"hf:{name}", described)
    if len(frames) == 1:
        return found
    return replace(found, split=np.concatenate([np.full(len(part), split) for split, part in frames.items()]))


def _name(name: str) -> str:
    return plain_name(Path(name).name) or "hf"
