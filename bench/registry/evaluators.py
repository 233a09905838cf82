"""Evaluators by name: what each looks at, whether it knows classes, and where its weights come from. Free of torch.

A study names them as NAME or NAME:WEIGHTS, where WEIGHTS is a path or a name on the Hugging Face hub.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ...models.data_spec import DataKind, DataSpec
from ...search_spaces.space import suggest
from ..errors import UsageError
from .weights import check_file, check_folder, folder_or_name

# Classes that an evaluator tells apart: those of the data, where it has labels; its own ones; or none.
Classes = Literal["data", "own", "none"]


@dataclass(frozen=True)
class EvaluatorCard:
    """What is known of an evaluator before it is loaded.

    kinds: of data that it looks at. summary: what it is, and for which data to take it, in one sentence.
    weights: what a path to them leads to; "none" for those that have none or learn them from the data.
    origin: where they come from without a path: a name on the hub of a folder, a file's address, or "" for what
        torch-fidelity knows.
    model_types: that the configuration in a folder may name.
    """

    name: str
    kinds: tuple[DataKind, ...]
    summary: str
    classes: Classes = "none"
    weights: Literal["none", "file", "folder"] = "none"
    origin: str = ""
    model_types: tuple[str, ...] = ()

    @property
    def pretrained(self) -> bool:
        """Whether its weights come from elsewhere."""
        return self.weights != "none"


_INCEPTION = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
_CARDS = (
    EvaluatorCard("convolutional", ("image",), "a convolutional network trained on the train split", "data"),
    EvaluatorCard("mixer", ("image",), "an MLP-Mixer trained on the train split", "data"),
    EvaluatorCard("raw", ("image", "vector"), "the values themselves: pixels, standardised coordinates"),
    EvaluatorCard("perceptron", ("vector",), "a small network trained on the train split; tables with labels", "data"),
    EvaluatorCard("ngrams", ("sequence",), "frequencies of one, two and three tokens in a row"),
    EvaluatorCard("random_projection", ("vector",), "a frozen network with drawn weights"),
    EvaluatorCard(
        "inception",
        ("image",),
        "Inception v3 as FID is published with: 2,048 features, resized as TensorFlow did; ImageNet-like photographs",
        "own",
        "file",
        _INCEPTION,
    ),
    EvaluatorCard(
        "dinov2",
        ("image",),
        "DINOv2's class token of ViT-L/14, bicubic to 224 x 224 pixels; photographs of any content",
        weights="folder",
        origin="facebook/dinov2-large",
        model_types=("dinov2", "dinov2_with_registers"),
    ),
    EvaluatorCard(
        "clip",
        ("image",),
        "CLIP's image embeddings (ViT-L/14, 336 pixels); pictures that words describe",
        weights="folder",
        origin="openai/clip-vit-large-patch14-336",
        model_types=("clip",),
    ),
)
# torch-fidelity's extractors; others that are registered with it are taken too.
FIDELITY = (
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


def _of_fidelity(name: str) -> EvaluatorCard:
    same = name == "inception-v3-compat"
    return EvaluatorCard(
        name,
        ("image",),
        "torch-fidelity's name of inception" if same else "torch-fidelity's extractor of this name",
        "own" if same else "none",
        "file",
        _INCEPTION if same else "",
    )


EVALUATORS: dict[str, EvaluatorCard] = {card.name: card for card in (*_CARDS, *map(_of_fidelity, FIDELITY))}


@dataclass(frozen=True)
class Chosen:
    """An evaluator that a study names. weights: where its weights are; None: where they usually come from."""

    card: EvaluatorCard
    weights: str | None = None

    def __str__(self) -> str:
        return self.card.name if self.weights is None else f"{self.card.name}:{self.weights}"

    @property
    def name(self) -> str:
        return self.card.name


def chosen(text: str) -> Chosen:
    """The evaluator that NAME or NAME:WEIGHTS means. Raises UsageError for an unknown name and for no path."""
    name, found, weights = text.partition(":")
    card = EVALUATORS.get(name)
    library = sys.modules.get("torch_fidelity.registry")  # which only those have imported who register with it
    if card is None and library is not None and name in library.FEATURE_EXTRACTORS_REGISTRY:
        card = _of_fidelity(name)
    if card is None:
        raise UsageError(f"unknown evaluator {name!r}{suggest(name, EVALUATORS)}")
    if found and not weights:
        raise UsageError(f"evaluator {text!r} has no path after the colon; wanted {_form(card)}")
    return Chosen(card, weights or None)


def with_absolute_path(text: str, base: Path) -> str:
    """The same choice with a path that does not depend on where it is read; names on the hub stay.

    base: the folder from which relative paths are taken.
    """
    name, found, weights = text.partition(":")
    card = EVALUATORS.get(name)
    if not found or not weights or (card is not None and not card.pretrained):
        return text
    return f"{name}:{folder_or_name(weights, base, names=card is not None and card.weights == 'folder')}"


def default_evaluators(spec: DataSpec) -> tuple[str, ...]:
    """The primary evaluator of data, through which choices are made, and the second, of another kind.

    Images: two trained networks. Vectors: the values themselves, and a frozen random network. None for sequences,
    whose models are compared by likelihood, and for data whose description says so.
    """
    if not spec.has_evaluators:
        return ()
    return ("convolutional", "mixer") if spec.kind == "image" else ("raw", "random_projection")


def check_evaluators(evaluators: Sequence[str] | None, spec: DataSpec) -> None:
    """Raises UsageError, with one line, for evaluators of a study that cannot look at its data, or whose weights cannot
    be had. None: the default ones."""
    for text in evaluators or ():
        entry = chosen(text)
        card = entry.card
        if spec.kind not in card.kinds:
            fitting = [other.name for other in _CARDS if spec.kind in other.kinds]
            instead = f"; for it there are {', '.join(fitting)}" if fitting else ""
            raise UsageError(
                f"evaluator {card.name!r} looks at {' and '.join(card.kinds)}s; "
                f"data {spec.name!r} is {spec.kind}{instead}"
            )
        if card.pretrained and spec.shape[0] not in (1, 3):
            raise UsageError(
                f"evaluator {card.name!r} looks at grey and RGB images; data {spec.name!r} has {spec.shape[0]} channels"
            )
        if not card.pretrained and entry.weights is not None:
            raise UsageError(f"evaluator {card.name!r} takes no weights; pretrained ones do, such as {_form()}")
        if card.weights == "file":
            check_file(card.name, entry.weights, card.origin, _form(card))
        elif card.weights == "folder":
            check_folder(card.name, entry.weights or card.origin, card.model_types, _form(card))


def seen_through(spec: DataSpec, evaluators: Sequence[str] | None) -> DataSpec:
    """The description of data as a study that names evaluators sees it."""
    return spec if evaluators is None else replace(spec, evaluators=True)


def classes_of(spec: DataSpec, evaluators: Sequence[str] | None) -> Classes:
    """Which classes the primary evaluator tells apart."""
    names = default_evaluators(spec) if evaluators is None else evaluators
    known = chosen(names[0]).card.classes if names else "none"
    return "none" if known == "data" and not spec.labelled else known


def normal_form(evaluators: Iterable[str] | None, spec: DataSpec) -> tuple[str, ...] | None:
    """None for the default ones, else the same names: naming the defaults makes no other study."""
    named = None if evaluators is None else tuple(evaluators)
    return None if named == default_evaluators(spec) else named


def summaries() -> Mapping[str, str]:
    """What each evaluator is, by name."""
    return {name: card.summary for name, card in EVALUATORS.items()}


def _form(card: EvaluatorCard | None = None) -> str:
    """How a path to weights is given."""
    card = EVALUATORS["inception"] if card is None else card
    return f"{card.name}:{'FOLDER' if card.weights == 'folder' else 'FILE'}"
