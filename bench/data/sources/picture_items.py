"""Images that libraries hand out one by one, as arrays. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...errors import UsageError
from .image_sizes import Fit

_MODES = {"1": "L", "L": "L", "P": "RGB"}  # Pillow's; others become RGB


def stacked(images: Iterable[Any], fit: Fit, where: str) -> np.ndarray:
    """Images of Pillow's or arrays as uint8 (n, C, H, W), cropped and resized.

    Grey ones stay grey where all are. where: begins messages.
    Raises UsageError for images of several sizes.
    """
    found = []
    for index, image in enumerate(images):
        if hasattr(image, "convert"):
            image = image.convert(_MODES.get(image.mode, "RGB"))
        values = np.asarray(image)
        values = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
        found.append(fit.apply(values))
        if found[-1].shape[1:] != found[0].shape[1:]:
            height, width = found[-1].shape[1:]
            raise UsageError(
                f"{where}: image {index} is {height} × {width}, the first {found[0].shape[1]} × {found[0].shape[2]}; "
                f'wanted one size: set resize = 32 and crop = "square", for example'
            )
    if len({len(image) for image in found}) > 1:
        found = [np.repeat(image, 3, axis=0) if len(image) == 1 else image for image in found]
    if not found:
        raise UsageError(f"{where} has no images")
    return np.stack(found)
