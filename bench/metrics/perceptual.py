"""Perceptual distances between pairs.

Glossary:
    f_l(x)  output (n, C_l, H_l, W_l) of a network's layer l, scaled to length 1 along C_l at each position
    w_l     non-negative weights (C_l,), fitted to human judgements
    LPIPS(a, b) = Σ_l mean over positions of Σ_c w_lc (f_l(a) - f_l(b))²_c
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import MetricValue, UndefinedError
from .features import checked_pair
from .means import mean_interval
from .pairs import checked_images

WEIGHTS_VARIABLE = "GENTUNE_LPIPS_WEIGHTS"
_HUB_FILE = "alexnet-owt-7be5be79.pth"
_LENGTH_FLOOR = 1e-10
_LEAST_SIDE = 64  # smaller images vanish in AlexNet's strides
_CHUNK = 64
_CONVOLUTIONS = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))  # index, stride and padding of each
_POOLED = (3, 6)  # convolutions that a 3 × 3 maximum of stride 2 comes before
_MEAN, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the three colours, for images in [-1, 1]


def lpips(originals: Tensor, reconstructions: Tensor) -> MetricValue:
    """LPIPS 0.1 through AlexNet of images in [-1, 1], averaged over pairs; lower is better.

    Grey images get three equal channels; images with a side below 64 are enlarged, bilinearly, until the shorter has
    64. AlexNet's ImageNet weights are read from the file that GENTUNE_LPIPS_WEIGHTS names (a state dict as torchvision
    keeps it), or from torch hub's cache; the heads come with the lpips package. Nothing is downloaded: without both the
    metric is undefined. The interval is normal, over pairs.

    References: Zhang et al., arXiv:1801.03924, equation 1.
    """
    a, b = checked_images(originals, reconstructions)
    if a.shape[1] not in (1, 3):
        raise UndefinedError(f"defined for images of 1 or 3 channels, got {a.shape[1]}")
    backbone, heads = pretrained()
    return mean_interval(lpips_distances(a.float(), b.float(), backbone, heads))


def pretrained() -> tuple[Mapping[str, Tensor], tuple[Tensor, ...]]:
    """AlexNet's state dict as torchvision keeps it, and LPIPS's heads, five tensors (C_l,).

    Raises UndefinedError where this machine lacks one.
    """
    return _pretrained(str(_backbone_file()), str(_heads_file()))


def lpips_in_domain(original_features: Tensor, reconstruction_features: Tensor) -> MetricValue:
    """LPIPS's distance on the data set's own evaluator: its features as one layer at one position, all weights 1.

    That is 2 - 2 cos of the angle between the pair's features, averaged over pairs, between 0 and 4; lower is better.
    Not comparable with LPIPS. The interval is normal, over pairs.

    References: Zhang et al., arXiv:1801.03924, equation 1.
    """
    if original_features.shape != reconstruction_features.shape:
        raise ValueError(
            f"features of shapes {tuple(original_features.shape)} and {tuple(reconstruction_features.shape)}; "
            "wanted (n, d) of the same pairs"
        )
    b, a = checked_pair(reconstruction_features, original_features, at_least=2)
    ones = torch.ones(a.shape[1], dtype=a.dtype)
    return mean_interval(layer_distance(a[:, :, None, None], b[:, :, None, None], ones))


def layer_distance(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """One layer's term of LPIPS, (n,) from features (n, C, H, W) of both sides and weights (C,)."""
    gap = (_unit(a) - _unit(b)).square()  # (n, C, H, W)
    return torch.einsum("nchw,c->nhw", gap, weights).mean((1, 2))


def lpips_distances(a: Tensor, b: Tensor, backbone: Mapping[str, Tensor], heads: Sequence[Tensor]) -> Tensor:
    """LPIPS of each pair of images (n, 1 or 3, H, W) in [-1, 1], (n,) float64.

    backbone: torchvision's state dict of AlexNet; heads: five tensors w_l (C_l,). Computed in the images' type.
    """
    distances = []
    for pair in zip(a.split(_CHUNK), b.split(_CHUNK), strict=True):
        layers = [_alexnet_layers(_prepared(x), backbone) for x in pair]
        terms = [layer_distance(f, g, head.to(a.dtype)) for f, g, head in zip(*layers, heads, strict=True)]
        distances.append(torch.stack(terms).double().sum(0))
    return torch.cat(distances)


def _unit(x: Tensor) -> Tensor:
    return x / (x.norm(dim=1, keepdim=True) + _LENGTH_FLOOR)


def _prepared(x: Tensor) -> Tensor:
    x = x.expand(-1, 3, -1, -1)
    if min(x.shape[2:]) < _LEAST_SIDE:
        factor = _LEAST_SIDE / min(x.shape[2:])
        size = [round(side * factor) for side in x.shape[2:]]
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
    mean, scale = (torch.tensor(v, dtype=x.dtype)[:, None, None] for v in (_MEAN, _SCALE))
    return (x - mean) / scale


def _alexnet_layers(x: Tensor, backbone: Mapping[str, Tensor]) -> list[Tensor]:
    """The outputs after each of AlexNet's five convolutions and its rectifier."""
    layers = []
    for index, stride, padding in _CONVOLUTIONS:
        if index in _POOLED:
            x = F.max_pool2d(x, 3, 2)
        weight, bias = (backbone[f"features.{index}.{name}"].to(x.dtype) for name in ("weight", "bias"))
        x = F.relu(F.conv2d(x, weight, bias, stride, padding))
        layers.append(x)
    return layers


def _backbone_file() -> Path:
    named = os.environ.get(WEIGHTS_VARIABLE)
    path = Path(named) if named else Path(torch.hub.get_dir()) / "checkpoints" / _HUB_FILE
    if not path.is_file():
        there = (
            f"no file {named}" if named else f"no {_HUB_FILE} in torch's hub cache; {WEIGHTS_VARIABLE} can name a file"
        )
        raise UndefinedError(f"needs AlexNet's ImageNet weights: {there}")
    return path


def _heads_file() -> Path:
    package = find_spec("lpips")
    if package is None or not package.submodule_search_locations:
        raise UndefinedError("needs the lpips package, which carries LPIPS's fitted heads")
    return Path(package.submodule_search_locations[0]) / "weights" / "v0.1" / "alex.pth"


@lru_cache(maxsize=1)
def _pretrained(backbone_file: str, heads_file: str) -> tuple[Mapping[str, Tensor], tuple[Tensor, ...]]:
    try:
        backbone, heads = (torch.load(f, map_location="cpu", weights_only=True) for f in (backbone_file, heads_file))
    except Exception as error:  # any of many kinds, for a file that is no checkpoint
        raise UndefinedError(f"LPIPS's weights cannot be read: {error}") from error
    wanted = [f"features.{index}.weight" for index, *_ in _CONVOLUTIONS]
    if not isinstance(backbone, Mapping) or any(name not in backbone for name in wanted):
        raise UndefinedError(f"{backbone_file} holds no AlexNet weights as torchvision names them")
    return backbone, tuple(heads[f"lin{i}.model.1.weight"].flatten() for i in range(len(_CONVOLUTIONS)))
