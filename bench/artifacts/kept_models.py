"""The models that a run has kept, by family."""

from __future__ import annotations

import json

from ...search_spaces.space import suggest
from .. import registry
from ..errors import UsageError
from ..runs.run_folder import RunFolder


def kept_model(folder: RunFolder, family: str, model: str | None) -> str:
    """The name of a kept model of a family.

    model: its name; None: the family's first.
    Raises UsageError for a run that has kept none, and for unknown names.
    """
    kept: dict[str, list[str]] = {}
    for path in sorted(folder.artifact("models").glob("*/model.json")):
        kept.setdefault(json.loads(path.read_text(encoding="utf-8"))["family"], []).append(path.parent.name)
    if not kept:
        raise UsageError(f"{folder.path} has kept no models yet: a run keeps those of its finals")
    if family not in kept:
        known = family in registry.families()
        what = f"{folder.path} has kept no model of {family!r}" if known else f"unknown family {family!r}"
        raise UsageError(f"{what}{suggest(family, kept)}")
    if model is None:
        return kept[family][0]
    if model not in kept[family]:
        raise UsageError(f"{family} has no kept model {model!r}{suggest(model, kept[family])}")
    return model
