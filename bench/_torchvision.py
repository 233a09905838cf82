"""Makes torchvision importable with a torch build that its compiled operators do not match.

Libraries that we use for their mathematics import torchvision at their top. Its wheel registers operators for one
build of torch; with another, the import fails because it lacks the schema of an operator that nothing here calls.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept_alive: list[object] = []  # a library takes its schemas with it when it is collected


@cache
def make_importable() -> None:
    """Imports torchvision; where its operators are missing, declares their schemas and imports it again.

    Does nothing more where the builds match. Call it before importing anything that imports torchvision. After a
    mismatch, torchvision's transforms, datasets and models work; its compiled operators do not.
    """
    try:
        importlib.import_module("torchvision")
        return
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    from torch.library import Library

    library = Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _kept_alive.append(library)
    importlib.import_module("torchvision")
