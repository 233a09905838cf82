"""Finds examples that stand in a source more than once, exactly or nearly. Free of torch.

Glossary: a thumbnail is an image's means over at most 4×4 blocks of each channel, in shares of the highest level. Two
images are nearly the same where the root mean square of their differences is at most 2% of the highest level.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from ...models.data_spec import DataSpec

NEAR = 0.02
_BLOCKS = 4  # to a side of a thumbnail
_AXES = 8  # along which thumbnails are searched: trees of more are slow
_CHUNK = 4_096  # examples at a time
_NEIGHBOURS = 4  # that each image is compared with
NO_PAIRS = np.empty((0, 2), np.int64)


@dataclass(frozen=True, eq=False)
class Duplicates:
    """same: of each example the index of the first that equals it, int64 (n,). near: pairs of images that are nearly
    the same, int64 (m, 2)."""

    same: np.ndarray
    near: np.ndarray


def find_duplicates(spec: DataSpec, x: np.ndarray) -> Duplicates:
    """The duplicates among all examples (n, *spec.shape) of a source; near ones among images alone."""
    same = same_rows(x)
    return Duplicates(same, near_images(x, spec.levels or 0, same) if spec.kind == "image" else NO_PAIRS)


def same_rows(x: np.ndarray) -> np.ndarray:
    """Of each example the index of the first that equals it, int64 (n,).

    x: (n, ...), compared by bytes.
    """
    first: dict[bytes, int] = {}
    found = np.empty(len(x), np.int64)
    for start in range(0, len(x), _CHUNK):
        part = np.ascontiguousarray(x[start : start + _CHUNK])
        for i, row in enumerate(part.reshape(len(part), -1)):
            digest = hashlib.blake2b(row.tobytes(), digest_size=16).digest()
            found[start + i] = first.setdefault(digest, start + i)
    return found


def near_images(x: np.ndarray, levels: int, same: np.ndarray) -> np.ndarray:
    """Pairs of indices (m, 2) of images that are nearly the same, but not exactly.

    Each image is compared with the four whose thumbnails are nearest: enough to find edited copies.

    x: levels (n, C, H, W). same: as `same_rows` gives it.
    """
    from scipy.spatial import cKDTree

    distinct = np.flatnonzero(same == np.arange(len(same)))
    if len(distinct) < 2:
        return NO_PAIRS
    thumbnails = np.concatenate(
        [_thumbnails(x[distinct[start : start + _CHUNK]], levels) for start in range(0, len(distinct), _CHUNK)]
    )
    reach = NEAR * np.sqrt(thumbnails.shape[1]) * 1.000_1
    thumbnails = _projected(thumbnails)
    # Means over blocks of equal size and projections shrink distances: no image within NEAR is farther than this.
    distance, index = cKDTree(thumbnails).query(
        thumbnails, k=min(_NEIGHBOURS + 1, len(distinct)), distance_upper_bound=reach
    )
    rows, columns = np.nonzero(np.isfinite(distance))
    ordered = np.sort(np.stack([rows, index[rows, columns]], axis=1), axis=1)
    pairs = distinct[np.unique(ordered[ordered[:, 0] < ordered[:, 1]], axis=0)]
    close = [_close(x, levels, pairs[start : start + _CHUNK]) for start in range(0, len(pairs), _CHUNK)]
    return pairs[np.concatenate(close)] if close else pairs


def joined(groups: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The groups (n,) that remain where examples of a pair (m, 2) belong to one."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    names, own = np.unique(groups, return_inverse=True)
    left, right = own[pairs[:, 0]], own[pairs[:, 1]]
    graph = coo_matrix((np.ones(len(pairs), bool), (left, right)), shape=(len(names), len(names)))
    return connected_components(graph, directed=False)[1][own]


def _thumbnails(x: np.ndarray, levels: int) -> np.ndarray:
    """(n, C · rows · columns), float32."""
    _, _, height, width = x.shape
    rows, columns = (max(d for d in range(1, _BLOCKS + 1) if side % d == 0) for side in (height, width))
    blocks = x.reshape(len(x), x.shape[1], rows, height // rows, columns, width // columns)
    return (blocks.mean(axis=(3, 5), dtype=np.float32) / (levels - 1)).reshape(len(x), -1)


def _projected(thumbnails: np.ndarray) -> np.ndarray:
    """The coordinates (n, at most 8) along the axes in which thumbnails vary most."""
    centred = thumbnails - thumbnails.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, -_AXES:]
    return centred @ axes


def _close(x: np.ndarray, levels: int, pairs: np.ndarray) -> np.ndarray:
    """Whether the images of each pair are nearly the same, bool (m,)."""
    difference = x[pairs[:, 0]].astype(np.float32) - x[pairs[:, 1]]
    square = (difference.reshape(len(pairs), -1) ** 2).mean(axis=1)
    return np.sqrt(square) <= NEAR * (levels - 1)
