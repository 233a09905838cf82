"""Colour patches of scikit-learn's two photographs. Imports nothing heavy until they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....models.data_spec import DataSpec
from ...errors import UsageError
from ..base import DataReader, DataSet, Split

if TYPE_CHECKING:
    import numpy as np

_SIZES = (8, 32)  # smallest and largest side of a patch
_REGION = 64  # side of the squares that a photograph is cut into; each is of one split
_SEED = 60_811
_SHARES = (0.6, 0.2, 0.2)
_REGIONS = 120  # of both photographs


class PhotoPatches(DataReader):
    """Square patches of `size` pixels, each from within one region, half a side apart.

    The photographs are cut into regions of 64×64 pixels, of which whole ones are drawn for each split: no pixel is in
    two splits.
    """

    name = "photo_patches"
    known = ()

    def describe(self, *, size: int = 16) -> DataSpec:
        if not isinstance(size, int) or not _SIZES[0] <= size <= _SIZES[1]:
            raise UsageError(f"data 'photo_patches': size is {size!r}; wanted 8 to 32 pixels")
        return DataSpec(
            name="photo_patches",
            kind="image",
            shape=(3, size, size),
            levels=256,
            examples=round(_SHARES[0] * _REGIONS) * len(_corners(size)) ** 2,
            source="scikit-learn's load_sample_images: a temple in China by danielbuechele and a flower by vultilion, "
            "from Flickr, in patches",
            licence="CC BY 2.0",
            consent="photographs published for reuse",
        )

    def read(self, spec: DataSpec, *, size: int = 16) -> DataSet:
        import numpy as np

        from ..examples import Examples

        patches, regions = _patches(size)
        order = np.random.default_rng(_SEED).permutation(int(regions.max()) + 1)
        first, second = (round(share * len(order)) for share in np.cumsum(_SHARES)[:2])
        chosen: dict[Split, np.ndarray] = {
            "train": order[:first],
            "validation": order[first:second],
            "test": order[second:],
        }
        splits: dict[Split, Examples] = {
            name: Examples.of_arrays(spec, patches[np.isin(regions, own)]) for name, own in chosen.items()
        }
        return DataSet(spec, splits)


def _corners(size: int) -> range:
    """Where patches begin in a region, along each side."""
    return range(0, _REGION - size + 1, size // 2)


def _patches(size: int) -> tuple[np.ndarray, np.ndarray]:
    """All patches (n, 3, size, size) in 8 bits, and the number of the region that each is from."""
    import numpy as np
    from sklearn.datasets import load_sample_images

    steps = _corners(size)
    patches, regions = [], []
    for photograph in load_sample_images().images:
        height, width, _ = photograph.shape
        for top in range(0, height - _REGION + 1, _REGION):
            for left in range(0, width - _REGION + 1, _REGION):
                corners = [(top + i, left + j) for i in steps for j in steps]
                patches += [photograph[i : i + size, j : j + size] for i, j in corners]
                regions.append(len(corners))
    return np.stack(patches).transpose(0, 3, 1, 2), np.repeat(np.arange(len(regions)), regions)
