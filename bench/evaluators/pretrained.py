"""Pretrained feature networks by torch-fidelity's extractors: Inception v3, CLIP, DINOv2, VGG.

Their weights come from a local file or from where the extractors download them. They see 8-bit RGB images, grey ones
with three equal channels, and compute in float32 as the published figures do: results agree between chunk sizes and
devices to about 1e-5 of the features' size.

References: Szegedy et al., arXiv:1512.00567; Radford et al., arXiv:2103.00020; Oquab et al., arXiv:2304.07193;
    Obukhov et al., torch-fidelity, doi:10.5281/zenodo.4957738.
"""

from __future__ import annotations

import copy
import hashlib
import http.client
import pickle
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...models.data_spec import DataSpec
from ..errors import UsageError
from .evaluator import Evaluator

# Those that are offered by name; others that are registered with torch-fidelity are taken too.
PRETRAINED = (
    "inception-v3-compat",
    "clip-rn50",
    "clip-rn101",
    "clip-rn50x4",
    "clip-rn50x16",
    "clip-rn50x64",
    "clip-vit-b-32",
    "clip-vit-b-16",
    "clip-vit-l-14",
    "clip-vit-l-14-336px",
    "dinov2-vit-s-14",
    "dinov2-vit-b-14",
    "dinov2-vit-l-14",
    "dinov2-vit-g-14",
    "vgg16",
)
_PREPROCESSING = "levels to 8 bits by rounding; grey to three equal channels; resized and scaled by the extractor"
_PLAIN_WEIGHTS = ("inception-v3-compat", "vgg16")  # of which torch-fidelity reads a state_dict, running what is in it
_DINOV2 = "dinov2-"
_HUB_REPOSITORY = "facebookresearch_dinov2_main"
_CHUNK = 32  # at 299 x 299 pixels about 90 MB for the largest layer
_FAILURES = (OSError, RuntimeError, ValueError, KeyError, AttributeError, TypeError, EOFError, NotImplementedError)


class PretrainedEvaluator(Evaluator):
    """An extractor of torch-fidelity's as an evaluator. Its probabilities, if any, are of its own classes."""

    chunk = _CHUNK

    def __init__(self, name: str, fingerprint: str, extractor: nn.Module, spec: DataSpec, *, logits: bool) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.accuracy = None
        self.device = torch.device("cpu")
        self._module = copy.deepcopy(extractor).eval().requires_grad_(False)
        self._spec = spec
        self._logits = logits

    @property
    def knows_classes(self) -> bool:
        return False

    def _see(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        outputs = self._module(to_rgb(x, self._spec).to(self.device))
        return outputs[0].flatten(1), outputs[1] if self._logits else None


def load_pretrained(name: str, spec: DataSpec, *, weights: Path | None = None) -> PretrainedEvaluator:
    """The named extractor on the CPU, for images of one or three channels.

    weights: a file that the extractor reads (for DINOv2 a state_dict, next to the hub's copy of its code); None to
        download it, or to find it where an earlier download has put it.

    Raises KeyError for unknown names, UsageError for data that is no such image and for weights that cannot be had.
    """
    if spec.kind != "image" or spec.shape[0] not in (1, 3):
        what = f"has {spec.shape[0]} channels" if spec.kind == "image" else f"is {spec.kind} data"
        raise UsageError(f"evaluator {name!r} looks at grey and RGB images; data {spec.name!r} {what}")
    if weights is not None and not weights.is_file():
        raise UsageError(f"weights {weights} are not there")
    extractors = registered()
    if name not in extractors:
        raise KeyError(f"unknown evaluator {name!r}; known to torch-fidelity are {', '.join(extractors)}")
    kind = extractors[name]
    layer = kind.get_default_feature_layer_for_metric("fid")
    logits = kind.get_default_feature_layer_for_metric("isc")
    layers = [layer] if logits == layer else [layer, logits]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            extractor = _build(name, kind, layers, weights)
    except UsageError:
        raise
    except (*_FAILURES, pickle.UnpicklingError, http.client.HTTPException) as error:
        first = (str(error).splitlines() or [""])[0].split(". ")[0]  # torch adds a paragraph of advice
        why = f"{type(error).__name__}: {first}" if first else type(error).__name__
        if weights is None:
            raise UsageError(
                f"evaluator {name!r}: its weights cannot be downloaded ({why}); wanted a connection, or --weights FILE"
            ) from error
        raise UsageError(f"weights {weights} are not such as evaluator {name!r} reads ({why})") from error
    return PretrainedEvaluator(name, _fingerprint(name, layers, extractor), extractor, spec, logits=len(layers) == 2)


def registered() -> dict[str, Any]:
    """torch-fidelity's extractors by name, those included that people have registered. Takes seconds to import."""
    from .._torchvision import make_importable

    make_importable()
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    return FEATURE_EXTRACTORS_REGISTRY


def to_rgb(x: Tensor, spec: DataSpec) -> Tensor:
    """Images (n, C, H, W) in [-1, 1] as uint8 (n, 3, H, W): levels spread over 0...255, grey in all channels."""
    assert spec.levels is not None
    top = spec.levels - 1
    pixels = ((spec.to_levels(x) * 510 + top) // (2 * top)).to(torch.uint8)  # round(k 255 / top), in integers
    return pixels.expand(-1, 3, -1, -1).contiguous() if spec.shape[0] == 1 else pixels


def _build(name: str, kind: Any, layers: list[str], weights: Path | None) -> nn.Module:
    if weights is None:
        return kind(name, layers)
    if name.startswith(_DINOV2):
        return _dinov2(name, kind, layers, weights)
    if name in _PLAIN_WEIGHTS:
        torch.load(weights, map_location="cpu", weights_only=True)  # raises where there is more than tensors
    return kind(name, layers, feature_extractor_weights_path=str(weights))


def _dinov2(name: str, kind: Any, layers: list[str], weights: Path) -> nn.Module:
    """torch-fidelity 0.4.0 takes no file for DINOv2; the hub's copy of its code does."""
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.feature_extractor_dinov2 import MODEL_METADATA

    code = Path(torch.hub.get_dir()) / _HUB_REPOSITORY
    if not (code / "hubconf.py").is_file():
        raise UsageError(
            f"evaluator {name!r}: a file of weights needs DINOv2's code next to it in {code}, where torch.hub puts it"
        )
    extractor = kind.__new__(kind)
    FeatureExtractorBase.__init__(extractor, name, layers)
    extractor.feature_extractor_internal_dtype = torch.float32
    extractor.model = torch.hub.load(str(code), MODEL_METADATA[name], source="local", pretrained=False)
    extractor.model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return extractor.float()


def _fingerprint(name: str, layers: list[str], extractor: nn.Module) -> str:
    digest = hashlib.sha256(repr((name, layers, version("torch-fidelity"), torch.__version__, _PREPROCESSING)).encode())
    for key, tensor in sorted(extractor.state_dict().items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
