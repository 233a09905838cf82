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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ...models import base as models_base
from ...models.data_spec import DataSpec
from ...models.nets import causal_transformer, sides, text_transformer
from ..data import DataSet
from ..registry import chosen, default_evaluators
from ..seeds import derive
from ..training import loop as training
from ..training.one_thread import one_thread
from . import image_text, networks, ngrams, perceptron, views
from .evaluator import Evaluator
from .hub_models import Weights, file_hash
from .image_text import ImageText
from .networks import Convolutional, FeatureNetwork, Mixer, RandomProjection, Raw
from .ngrams import Ngrams
from .perceptron import Perceptron
from .pretrained import load_pretrained
from .quality import Quality, of_classes, of_pairs, of_reconstruction

_TRAINED: dict[str, Callable[[DataSpec], FeatureNetwork | ImageText]] = {
    "convolutional": Convolutional,
    "mixer": Mixer,
    "perceptron": Perceptron,
    "image_text": ImageText,
}
_FIXED: dict[str, Callable[[DataSpec], nn.Module]] = {
    "raw": Raw,
    "random_projection": RandomProjection,
    "ngrams": Ngrams,
}
_OWN_FILES = {
    "perceptron": (perceptron,),
    "ngrams": (ngrams,),
    "image_text": (image_text, text_transformer, causal_transformer),
}  # of those that are not in `networks`
NAMES = (*_TRAINED, *_FIXED)

_SETTINGS = training.LoopSettings(batch_size=64)
_SEED = 1_701
_FEWEST_STEPS, _EPOCHS, _MOST_STEPS = 300, 8, 3_000
# How many times the fewest steps a network takes that learns how images were changed: that is learned more slowly than
# classes, and hardly overfits, since the changes differ in every epoch.
_VIEWS = 4
# Numbers in the examples of all steps; beyond, steps become fewer. 3,000 steps of 32 x 32 RGB pixels have 590 million.
_MOST_NUMBERS = 1_200_000_000
# Past these seconds a training ends where it is: on a machine on which that happens, an evaluator differs from others'.
_MOST_SECONDS = 1_800.0
_EXAMINED = 10_000  # validation examples on which its quality is measured
_TIMED = 3  # steps that tell how long others take
_WEIGHTS, _CARD = "weights.safetensors", "card.json"


class _DamagedError(Exception):
    """A cached evaluator is not what its card says."""


def evaluators_for(data: DataSet, named: Sequence[str] | None = None) -> tuple[str, ...]:
    """Names of the primary evaluator, through which choices are made, and of the second, of another kind.

    named: those of a study, each NAME or NAME:WEIGHTS; None: the data's default ones.
    Raises ValueError for images with a side under 4 pixels.
    """
    names = default_evaluators(data.spec) if named is None else tuple(named)
    if any(name in _TRAINED for name in names) and data.spec.kind == "image":
        sides.image_shape(data.spec, "the evaluator")
    return names


def load_evaluator(data: DataSet, text: str, *, cache: Path) -> Evaluator:
    """The evaluator that NAME or NAME:WEIGHTS means, on the CPU.

    Raises UsageError for a name that is not known and for weights that cannot be had, ValueError for data that it does
    not take.
    """
    data = data.targets or data
    entry = chosen(text)
    if entry.card.pretrained:
        return load_pretrained(entry.name, data.spec, weights=entry.weights)
    return load_or_train(data, entry.name, cache=cache)


def load_or_train(data: DataSet, name: str, *, cache: Path) -> Evaluator:
    """The named evaluator on the CPU: from `cache`, or trained on the train split by one thread and kept there.

    Of conditions on images it sees the targets alone. A cached one whose weights are not those of its card is set
    aside, its folder's name followed by `.damaged-` and a random part, and trained again. Raises KeyError for an
    unknown name, ValueError for data that it cannot take.
    """
    data = data.targets or data
    if name in _FIXED:
        if name == "random_projection" and data.spec.kind != "vector":
            raise ValueError(f"evaluator {name!r} looks at vectors; data {data.spec.name!r} is {data.spec.kind}")
        spec = data.spec
        identity: dict[str, object] = {"name": name, "shape": spec.shape, "code": _code_hash(*_modules(name))}
        if spec.kind == "sequence":
            identity |= {"vocabulary": spec.vocabulary, "padding": spec.padding}
        return Evaluator(name, _hash(identity), _FIXED[name](data.spec))
    if name not in _TRAINED:
        raise KeyError(f"unknown evaluator {name!r}; known are {', '.join(NAMES)}")
    steps, folder = _place(data, name, cache)
    if folder.exists():
        try:
            return _load(data, name, folder)
        except _DamagedError:
            _set_aside(folder)
    network, trained = _train(data, name, steps)
    card = {"name": name, "key": folder.name, "data": data.spec.name, "steps": steps, **trained}
    _store(network, {**card, "quality": _quality(network, data).as_json()}, folder)
    return _load(data, name, folder)


@dataclass(frozen=True)
class Untrained:
    """An evaluator that has still to be trained: its network, how many steps it takes, and seconds of one here."""

    network: FeatureNetwork | ImageText
    steps: int
    seconds: float


def untrained(data: DataSet, name: str, *, cache: Path) -> Untrained | None:
    """What is known of an in-domain evaluator before its training; None where it is kept, or is not trained at all."""
    data = data.targets or data
    if name not in _TRAINED:
        return None
    steps, folder = _place(data, name, cache)
    if folder.exists():
        return None
    network, told = _train(data, name, steps, until=_TIMED)
    return Untrained(network, steps, float(told["seconds"]) / _TIMED)


def _place(data: DataSet, name: str, cache: Path) -> tuple[int, Path]:
    """The steps of a trained evaluator, and its folder."""
    steps = _steps(data.spec, len(data.splits["train"]), pairs=name == "image_text")
    return steps, cache / f"{name}-{_hash(_identity(data, name, steps))}"


def _identity(data: DataSet, name: str, steps: int) -> dict[str, object]:
    """All that a trained evaluator depends on."""
    spec = data.spec
    return {
        "name": name,
        "data": data.fingerprint,
        "spec": [spec.kind, spec.shape, spec.levels, repr(spec.condition)],
        "code": _code_hash(*_modules(name), sides, training, models_base),
        "torch": torch.__version__,
        "settings": repr(_SETTINGS),
        "seed": _SEED,
        "steps": steps,
        "card": 2,
    }


def _steps(spec: DataSpec, examples: int, *, pairs: bool = False) -> int:
    """Eight epochs, within 300 (of unlabelled images 1,200) and 3,000 steps; fewer of large examples, not below 300."""
    batch = _SETTINGS.batch_size
    fewest = _FEWEST_STEPS * (_VIEWS if networks.learns_views(spec) and not pairs else 1)
    wanted = min(_MOST_STEPS, max(_EPOCHS * examples // batch, fewest))
    return max(_FEWEST_STEPS, min(wanted, _MOST_NUMBERS // (batch * spec.dimensions)))


def _train(
    data: DataSet, name: str, steps: int, *, until: int | None = None
) -> tuple[FeatureNetwork | ImageText, dict[str, float | bool]]:
    """The trained network, and what its card says of the training: seconds, and whether a limit ended it.

    until: the step with which it ends; None: the last one.
    """
    seed, run = derive(_SEED, name), training.TrainingRun()
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _TRAINED[name](data.spec)
        examples = data.splits["train"].to("cpu")
        end = time.monotonic() + _MOST_SECONDS
        try:
            share = 1.0 if until is None else until / steps
            training.train(network, examples, _SETTINGS, steps=steps, seed=seed, fidelity=share, deadline=end, run=run)
        except training.DeadlineError:
            return network.eval(), {"seconds": run.seconds, "ended_early": True}
    return network, {"seconds": run.seconds, "ended_early": False}


def _quality(network: FeatureNetwork | ImageText, data: DataSet) -> Quality:
    """What the network is worth on the validation split, or on 10,000 of its examples."""
    if isinstance(network, ImageText):
        return _quality_of_pairs(network, data)
    validation, evaluator = data.splits["validation"], Evaluator("", "", network)
    count = min(_EXAMINED, len(validation))
    order = torch.arange(count)
    if count < len(validation):
        generator = torch.Generator().manual_seed(derive(_SEED, "examined"))
        order = torch.randperm(len(validation), generator=generator)[:count].sort().values
    answers, truth = [], []
    changes = torch.Generator().manual_seed(derive(_SEED, "changed"))
    for rows in order.split(evaluator.chunk):  # a part at a time: large sets do not fit into memory
        part = validation[rows]
        if network.classifies:
            probabilities, labels = evaluator.probabilities(part.x), part.labels
            assert probabilities is not None and labels is not None
            answers.append(probabilities.argmax(dim=1))
            truth.append(labels.cpu())
        elif network.tells_views:
            x, kinds = views.changed(part.x.cpu(), changes)
            answers.append(evaluator.told(x).argmax(dim=1))
            truth.append(kinds)
        else:
            answers.append(evaluator.told(part.x))
            truth.append(part.x.cpu().double().flatten(1))
    if network.classifies or network.tells_views:
        return of_classes(torch.cat(answers), torch.cat(truth), "classes" if network.classifies else "views")
    return of_reconstruction(torch.cat(answers), torch.cat(truth))


def _quality_of_pairs(network: ImageText, data: DataSet) -> Quality:
    """The same of an image-text network, on the first 10,000 pairs."""
    evaluator, pairs = Evaluator("", "", network), data.splits["validation"][:_EXAMINED]
    texts = pairs.condition
    assert texts is not None
    meanings = texts if data.meanings is None else data.meanings(texts)
    return of_pairs(evaluator.features(pairs.x), evaluator.text_features(texts), meanings)


def _store(network: nn.Module, card: dict[str, object], folder: Path) -> None:
    """Writes next to `folder` and renames; if another process was first, its result stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, draft / _WEIGHTS)
        card = {**card, "weights": file_hash(draft / _WEIGHTS), "torch": torch.__version__, "written": time.time()}
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
        if card["weights"] != file_hash(folder / _WEIGHTS) or card["key"] != folder.name:
            raise _DamagedError(f"{folder}: the weights are not those of the card")
        weights = load_file(folder / _WEIGHTS)
        with torch.device("meta"):  # no initial values: drawing them would move the process's random state
            network = _TRAINED[name](data.spec)
        network.load_state_dict(weights, assign=True)
        quality = Quality.from_json(card["quality"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise _DamagedError(f"{folder}: {error}") from error
    fingerprint = _hash({"key": card["key"], "weights": card["weights"]})
    weights_of_card = Weights("the train split", str(card["weights"]))
    return Evaluator(name, fingerprint, network.eval(), quality=quality, weights=weights_of_card)


def _set_aside(folder: Path) -> None:
    try:
        folder.replace(folder.with_name(f"{folder.name}.damaged-{uuid.uuid4().hex[:8]}"))
    except FileNotFoundError:  # another process was first
        return


def _modules(name: str) -> tuple[ModuleType, ...]:
    """The files that an in-domain evaluator's network is written in."""
    return (networks, views, *_OWN_FILES.get(name, ()))


def _code_hash(*modules: object) -> str:
    digest = hashlib.sha256()
    for module in modules:
        digest.update(Path(str(module.__file__)).read_bytes())  # type: ignore[attr-defined]
    return digest.hexdigest()


def _hash(identity: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
