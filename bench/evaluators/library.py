"""The evaluators of a data set: trains each once, and loads it from then on.

A trained evaluator has its own folder, named by what it was trained from: `weights.safetensors` and
`card.json`. The folder appears whole or not at all, so that processes may want the same evaluator at once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ...models import base as models_base
from ...models.data_spec import DataSpec
from ...models.nets import sides
from ..data import DataSet
from ..seeds import derive
from ..training import loop as training
from ..training.one_thread import one_thread
from . import networks
from .evaluator import Evaluator
from .networks import Convolutional, FeatureNetwork, Mixer, RandomProjection, Raw

_TRAINED: dict[str, Callable[[DataSpec], FeatureNetwork]] = {"convolutional": Convolutional, "mixer": Mixer}
_FIXED: dict[str, Callable[[DataSpec], nn.Module]] = {"raw": Raw, "random_projection": RandomProjection}
NAMES = (*_TRAINED, *_FIXED)

_SETTINGS = training.LoopSettings(batch_size=64)
_SEED = 1_701
_FEWEST_STEPS, _EPOCHS, _MOST_STEPS = 300, 8, 3_000
_WEIGHTS, _CARD = "weights.safetensors", "card.json"


class _DamagedError(Exception):
    """A cached evaluator is not what its card says."""


def evaluators_for(data: DataSet) -> tuple[str, ...]:
    """Names of the primary evaluator, through which choices are made, and of the second, of another kind.

    Images: two trained networks. Vectors: the raw values, and a frozen random network. None for sequences, whose
    models are compared by likelihood, and for data whose description says so. Raises ValueError for images with a
    side under 4 pixels.
    """
    if not data.spec.has_evaluators:
        return ()
    if data.spec.kind == "image":
        sides.image_shape(data.spec, "the evaluator")
        return "convolutional", "mixer"
    return "raw", "random_projection"


def load_or_train(data: DataSet, name: str, *, cache: Path) -> Evaluator:
    """The named evaluator on the CPU: from `cache`, or trained on the train split by one thread and kept there.

    A cached one whose weights are not those of its card is set aside, its folder's name followed by `.damaged-` and
    a random part, and trained again. Raises KeyError for an unknown name, ValueError for data that it cannot take.
    """
    if name in _FIXED:
        if name == "random_projection" and data.spec.kind != "vector":
            raise ValueError(f"evaluator {name!r} looks at vectors; data {data.spec.name!r} is {data.spec.kind}")
        identity = {"name": name, "shape": data.spec.shape, "code": _code_hash(networks)}
        return Evaluator(name, _hash(identity), _FIXED[name](data.spec))
    if name not in _TRAINED:
        raise KeyError(f"unknown evaluator {name!r}; known are {', '.join(NAMES)}")
    steps = _steps(len(data.splits["train"]))
    key = f"{name}-{_hash(_identity(data, name, steps))}"
    folder = cache / key
    if folder.exists():
        try:
            return _load(data, name, folder)
        except _DamagedError:
            _set_aside(folder)
    network, accuracy = _train(data, name, steps)
    _store(network, {"name": name, "key": key, "data": data.spec.name, "accuracy": accuracy, "steps": steps}, folder)
    return _load(data, name, folder)


def _identity(data: DataSet, name: str, steps: int) -> dict[str, object]:
    """All that a trained evaluator depends on."""
    spec = data.spec
    return {
        "name": name,
        "data": data.fingerprint,
        "spec": [spec.kind, spec.shape, spec.levels, repr(spec.condition)],
        "code": _code_hash(networks, sides, training, models_base),
        "torch": torch.__version__,
        "settings": repr(_SETTINGS),
        "seed": _SEED,
        "steps": steps,
    }


def _steps(examples: int) -> int:
    return min(_MOST_STEPS, max(_FEWEST_STEPS, _EPOCHS * examples // _SETTINGS.batch_size))


def _train(data: DataSet, name: str, steps: int) -> tuple[FeatureNetwork, float | None]:
    seed = derive(_SEED, name)
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _TRAINED[name](data.spec)
        training.train(network, data.splits["train"].to("cpu"), _SETTINGS, steps=steps, seed=seed)
    return network, _accuracy(network, data)


def _accuracy(network: FeatureNetwork, data: DataSet) -> float | None:
    validation, evaluator, right = data.splits["validation"], Evaluator("", "", network), 0
    for start in range(0, len(validation), evaluator.chunk):  # a part at a time: large sets do not fit into memory
        part = validation[start : start + evaluator.chunk]
        probabilities = evaluator.probabilities(part.x)
        if probabilities is None or part.labels is None:
            return None
        right += int((probabilities.argmax(dim=1) == part.labels.cpu()).sum())
    return right / len(validation)


def _store(network: FeatureNetwork, card: dict[str, object], folder: Path) -> None:
    """Writes next to `folder` and renames; if another process was first, its result stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, draft / _WEIGHTS)
        card = {**card, "weights": _file_hash(draft / _WEIGHTS), "torch": torch.__version__, "written": time.time()}
        (draft / _CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        draft.chmod(0o755)  # mkdtemp's folders are the owner's alone; caches may be shared
        try:
            draft.replace(folder)
        except OSError:
            if not (folder / _CARD).is_file():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _load(data: DataSet, name: str, folder: Path) -> Evaluator:
    """Raises _DamagedError where a file is missing, unreadable or not what the card says."""
    try:
        card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
        if card["weights"] != _file_hash(folder / _WEIGHTS) or card["key"] != folder.name:
            raise _DamagedError(f"{folder}: the weights are not those of the card")
        weights = load_file(folder / _WEIGHTS)
        with torch.device("meta"):  # no initial values: drawing them would move the process's random state
            network = _TRAINED[name](data.spec)
        network.load_state_dict(weights, assign=True)
        accuracy = None if card["accuracy"] is None else float(card["accuracy"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise _DamagedError(f"{folder}: {error}") from error
    fingerprint = _hash({"key": card["key"], "weights": card["weights"]})
    return Evaluator(name, fingerprint, network.eval(), accuracy=accuracy)


def _set_aside(folder: Path) -> None:
    try:
        folder.replace(folder.with_name(f"{folder.name}.damaged-{uuid.uuid4().hex[:8]}"))
    except FileNotFoundError:  # another process was first
        return


def _code_hash(*modules: object) -> str:
    digest = hashlib.sha256()
    for module in modules:
        digest.update(Path(str(module.__file__)).read_bytes())  # type: ignore[attr-defined]
    return digest.hexdigest()


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash(identity: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
