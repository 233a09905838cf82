"""Pretrained feature networks: torch-fidelity's extractors (Inception v3 and others), and DINOv2 and CLIP by
transformers.

Their weights come from a local file or folder, or from where the libraries download them. They see 8-bit RGB images,
grey ones with three equal channels, and compute in float32 as the published figures do: results agree between chunk
sizes and devices to about 1e-5 of the features' size. Features are as the networks give them, neither whitened nor
standardised, so that distances compare with published ones.

References: Szegedy et al., arXiv:1512.00567; Radford et al., arXiv:2103.00020; Oquab et al., arXiv:2304.07193;
    Obukhov et al., torch-fidelity, doi:10.5281/zenodo.4957738.
"""

from __future__ import annotations

import hashlib
import http.client
import pickle
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...models.data_spec import DataSpec
from ..errors import UsageError
from ..registry import chosen
from .evaluator import Evaluator
from .hub_models import Weights, file_hash

_PREPROCESSING = "levels to 8 bits by rounding; grey to three equal channels; resized and scaled by the extractor"
_NAMES = {"inception": "inception-v3-compat"}  # torch-fidelity's, where they differ from ours
_PLAIN_WEIGHTS = ("inception-v3-compat", "vgg16")  # of which torch-fidelity reads a state_dict, running what is in it
_MARKS = {"inception-v3-compat": ("fc.weight", (1_008, 2_048))}  # a weight that tells the network, and its shape
_DINOV2 = "dinov2-"
_HUB_REPOSITORY = "facebookresearch_dinov2_main"
_CHUNK = 32  # at 299 x 299 pixels about 90 MB for the largest layer
_FAILURES = (OSError, RuntimeError, ValueError, KeyError, AttributeError, TypeError, EOFError, NotImplementedError)


class PretrainedEvaluator(Evaluator):
    """A network that takes uint8 (n, 3, H, W) and gives a tuple of features and, if `logits`, of logits.

    Its probabilities, if any, are of its own classes.
    """

    chunk = _CHUNK

    def __init__(
        self,
        name: str,
        fingerprint: str,
        network: nn.Module,
        spec: DataSpec,
        *,
        logits: bool,
        weights: Weights | None = None,
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.quality = None
        self.weights = weights
        self.device = torch.device("cpu")
        self._module = network.eval().requires_grad_(False)
        self._spec = spec
        self._logits = logits

    @property
    def knows_classes(self) -> bool:
        return False

    def _see(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        outputs = self._module(to_rgb(x, self._spec).to(self.device))
        return outputs[0].flatten(1), outputs[1] if self._logits else None


def load_pretrained(name: str, spec: DataSpec, *, weights: str | Path | None = None) -> PretrainedEvaluator:
    """The named evaluator on the CPU, for images of one or three channels.

    name: of the registry's evaluators, or an extractor that is registered with torch-fidelity.
    weights: a file that the extractor reads (of torch-fidelity's DINOv2 a state_dict, next to the hub's copy of its
        code), or for `dinov2` and `clip` a folder or a name on the hub; None to download them, or to find them where an
        earlier download has put them.

    Raises UsageError for unknown names, for data that is no such image and for weights that cannot be had.
    """
    if spec.kind != "image" or spec.shape[0] not in (1, 3):
        what = f"has {spec.shape[0]} channels" if spec.kind == "image" else f"is {spec.kind} data"
        raise UsageError(f"evaluator {name!r} looks at grey and RGB images; data {spec.name!r} {what}")
    card = chosen(name).card
    if card.weights == "folder":
        return _by_transformers(name, spec, str(weights or card.origin))
    return _by_fidelity(name, spec, None if weights is None else Path(weights), card.origin)


def _by_transformers(name: str, spec: DataSpec, source: str) -> PretrainedEvaluator:
    from .clip import ClipFeatures, load_clip
    from .dinov2 import PREPROCESSING, load_dinov2

    if name == "clip":
        embedder = load_clip(source, texts=False)
        network: nn.Module = ClipFeatures(embedder)
        return PretrainedEvaluator(name, embedder.fingerprint, network, spec, logits=False, weights=embedder.weights)
    network, weights = load_dinov2(source)
    made_by = (name, version("transformers"), torch.__version__, PREPROCESSING)
    return PretrainedEvaluator(name, _fingerprint(made_by, network), network, spec, logits=False, weights=weights)


def _by_fidelity(name: str, spec: DataSpec, weights: Path | None, origin: str) -> PretrainedEvaluator:
    if weights is not None and not weights.is_file():
        raise UsageError(f"weights {weights} are not there")
    known = _NAMES.get(name, name)
    kind = registered()[known]
    layer = kind.get_default_feature_layer_for_metric("fid")
    logits = kind.get_default_feature_layer_for_metric("isc")
    layers = [layer] if logits == layer else [layer, logits]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            extractor = _build(known, kind, layers, weights)
    except UsageError:
        raise
    except (*_FAILURES, pickle.UnpicklingError, http.client.HTTPException) as error:
        first = (str(error).splitlines() or [""])[0].split(". ")[0]  # torch adds a paragraph of advice
        why = f"{type(error).__name__}: {first}" if first else type(error).__name__
        if weights is None:
            raise UsageError(
                f"evaluator {name!r}: its weights cannot be downloaded ({why}); wanted a connection, or {name}:FILE"
            ) from error
        raise UsageError(f"weights {weights} are not such as evaluator {name!r} reads ({why})") from error
    made_by = (known, layers, version("torch-fidelity"), torch.__version__, _PREPROCESSING)
    file = weights or Path(torch.hub.get_dir()) / "checkpoints" / origin.rsplit("/", 1)[-1]
    found = Weights(str(weights or origin), file_hash(file) if file.is_file() else "")
    return PretrainedEvaluator(
        name, _fingerprint(made_by, extractor), extractor, spec, logits=len(layers) == 2, weights=found
    )


def registered() -> dict[str, Any]:
    """torch-fidelity's extractors by name, those included that people have registered. Takes seconds to import."""
    from .._torchvision import make_importable

    make_importable()
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    return FEATURE_EXTRACTORS_REGISTRY


def check_content(text: str) -> None:
    """Raises UsageError where the file of weights that a study names is not what its evaluator reads.

    It looks at names and shapes alone, so that wrong files are refused before the libraries are imported.
    """
    entry = chosen(text)
    name, weights = entry.name, entry.weights
    if weights is None or not entry.card.pretrained:
        return
    try:
        if entry.card.weights == "folder":
            from safetensors import safe_open

            for path in sorted(Path(weights).glob("*.safetensors")):
                with safe_open(path, framework="pt") as file:
                    file.keys()
        elif _NAMES.get(name, name) in _PLAIN_WEIGHTS:
            _check_state(_NAMES.get(name, name), Path(weights))
    except Exception as error:  # damaged files fail in any way
        why = (str(error).splitlines() or [""])[0].split(". ")[0]
        said = f"{type(error).__name__}: {why}" if why else type(error).__name__
        raise UsageError(f"weights {weights} are not such as evaluator {name!r} reads ({said})") from error


def to_rgb(x: Tensor, spec: DataSpec) -> Tensor:
    """Images (n, C, H, W) in [-1, 1] as uint8 (n, 3, H, W): levels spread over 0...255, grey in all channels."""
    assert spec.levels is not None
    top = spec.levels - 1
    pixels = ((spec.to_levels(x) * 510 + top) // (2 * top)).to(torch.uint8)  # round(k 255 / top), in integers
    return pixels.expand(-1, 3, -1, -1).contiguous() if spec.shape[0] == 1 else pixels


def _check_state(name: str, weights: Path) -> None:
    """Raises ValueError where a file holds more than tensors or none, and where they are of another network."""
    try:
        found = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # what is no such file fails in any way
        raise ValueError("torch.load finds no tensors in it, or more than tensors") from error
    if name in _MARKS:
        mark, shape = _MARKS[name]
        if not isinstance(found, Mapping) or mark not in found or tuple(found[mark].shape) != shape:
            raise ValueError(f"it has no tensor {mark} of shape {shape}")


def _build(name: str, kind: Any, layers: list[str], weights: Path | None) -> nn.Module:
    if weights is None:
        return kind(name, layers)
    if name.startswith(_DINOV2):
        return _dinov2(name, kind, layers, weights)
    if name in _PLAIN_WEIGHTS:
        _check_state(name, weights)
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


def _fingerprint(made_by: tuple[object, ...], network: nn.Module) -> str:
    digest = hashlib.sha256(repr(made_by).encode())
    for key, tensor in sorted(network.state_dict().items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
