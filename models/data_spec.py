"""What a data set looks like to a model. Free of torch, so that listings stay quick."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from .table_spec import TableSpec

if TYPE_CHECKING:
    from torch import Tensor

DataKind = Literal["image", "vector", "sequence"]
ConditionKind = Literal["none", "label", "image", "text"]


@dataclass(frozen=True)
class ConditionSpec:
    """What examples are conditioned on.

    kind: labels are int64 (n,) in 0...classes-1; images float32 (n, *shape) in [-1, 1] on the lattice of `levels`, as
        in `DataSpec`; texts int64 token ids (n, *shape) in 0...vocabulary-1.
    shape: of one condition: (C, H, W) of images, (T,) of texts, () of labels.
    levels: L, of images. vocabulary: V, of texts. classes: number of labels.
    padding: of texts, the token that fills up shorter ones; None: every token counts. symbols: what each token of a
        text is written as, that of the padding as nothing; empty where that is not known.

    Raises ValueError for a kind without what it needs, or with what belongs to another kind.
    """

    kind: ConditionKind = "none"
    shape: tuple[int, ...] = ()
    levels: int | None = None
    vocabulary: int | None = None
    classes: int = 0
    padding: int | None = None
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(ConditionKind):
            raise ValueError(f"conditions of kind {self.kind!r}; wanted one of {', '.join(get_args(ConditionKind))}")
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.kind == "label" and self.classes < 1:
            raise ValueError(f"label conditions need at least 1 class, got {self.classes}")
        if self.kind == "image" and (len(self.shape) != 3 or self.levels is None or self.levels < 2):
            raise ValueError(
                f"image conditions need a shape (C, H, W) and at least 2 levels, "
                f"got shape {self.shape} and levels {self.levels}"
            )
        if self.kind == "text" and (len(self.shape) != 1 or self.vocabulary is None or self.vocabulary < 1):
            raise ValueError(
                f"text conditions need a shape (T,) and a vocabulary of at least 1 token, "
                f"got shape {self.shape} and vocabulary {self.vocabulary}"
            )
        if self.padding is not None and not 0 <= self.padding < (self.vocabulary or 0):
            raise ValueError(f"the padding of texts is {self.padding}; wanted a token 0...{(self.vocabulary or 0) - 1}")
        if self.kind == "text" and self.symbols and len(self.symbols) != self.vocabulary:
            raise ValueError(f"text conditions have {len(self.symbols)} symbols and vocabulary {self.vocabulary}")
        for name in ("shape", "levels", "vocabulary", "classes", "symbols"):
            value = getattr(self, name)
            if value and name not in _OF_CONDITIONS[self.kind]:
                raise ValueError(f"conditions of kind {self.kind!r} have no {name}, got {value}")

    def mask_of(self, texts: Tensor) -> Tensor:
        """Which tokens of texts (n, T) count: bool like them."""
        import torch  # here, so that listings stay quick

        return torch.ones_like(texts, dtype=torch.bool) if self.padding is None else texts != self.padding

    def written(self, text: Sequence[int]) -> str:
        """One text as people read it: words with spaces between, or numbers where tokens stand for no words."""
        tokens = [token for token in text if token != self.padding]
        if not self.symbols:
            return " ".join(map(str, tokens))
        return "".join(s if s in _CLOSING else f" {s}" for s in (self.symbols[token] for token in tokens)).strip()


_CLOSING = (",", ".", ";", ":", "!", "?", ")")  # symbols that stand next to the word before them
_OF_CONDITIONS: dict[ConditionKind, tuple[str, ...]] = {
    "none": (),
    "label": ("classes",),
    "image": ("shape", "levels"),
    "text": ("shape", "vocabulary", "symbols"),
}


@dataclass(frozen=True)
class Pairing:
    """How condition and target images belong together in image-to-image data."""

    paired: bool
    direction: str  # for example "sketch to photograph"


@dataclass(frozen=True)
class DataSpec:
    """Kind, shape and provenance of a data set.

    Images are float32 (n, C, H, W) in [-1, 1] on the lattice x = 2k/(L-1) - 1, k = 0...L-1, L = `levels`.
    Vectors are float32 (n, D), standardised by the train split's mean and deviation.
    Sequences are int64 (n, T) over the tokens 0...V-1, V = `vocabulary`. Shorter ones are filled up with `padding`, one
    of the tokens, which does not count (`mask_of`); samples are padded in the same way.
    """

    name: str
    kind: DataKind
    shape: tuple[int, ...]  # of one example: (C, H, W), (D,) or (T,)
    levels: int | None = None  # images: L
    vocabulary: int | None = None  # sequences: V
    padding: int | None = None  # sequences: the token that fills up shorter ones; None: every token counts
    symbols: tuple[str, ...] = ()  # sequences of text: what each token is written as; that of the padding is empty
    condition: ConditionSpec = ConditionSpec()
    pairing: Pairing | None = None  # image conditions; None: paired
    target_classes: int = 0  # that label the examples themselves where conditions are images: evaluators know them
    evaluators: bool | None = None  # whether feature evaluators look at the examples (see `has_evaluators`)
    examples: int | None = None  # in the train split, about; None: only reading tells
    entropy: float | None = None  # nats per example in original units, where it is known
    mean: tuple[float, ...] | None = None  # vectors: what was subtracted
    deviation: tuple[float, ...] | None = None  # vectors: what was divided by
    table: TableSpec | None = None  # vectors that stand for rows of a table: its columns
    source: str = ""
    licence: str = ""
    consent: str = ""

    def __post_init__(self) -> None:
        if self.kind == "image" and (self.levels is None or self.levels < 2 or len(self.shape) != 3):
            raise ValueError(
                f"image data {self.name!r} needs a shape (C, H, W) and at least 2 levels, "
                f"got shape {self.shape} and levels {self.levels}"
            )
        if self.kind == "vector" and len(self.shape) != 1:
            raise ValueError(f"vector data {self.name!r} needs a shape (D,), got {self.shape}")
        if self.table is not None and self.shape != (self.table.dimensions,):
            raise ValueError(
                f"data {self.name!r} has the shape {self.shape}; its table wants ({self.table.dimensions},)"
            )
        if self.kind == "sequence" and self.vocabulary is None:
            raise ValueError(f"sequence data {self.name!r} needs a vocabulary")
        if self.symbols and len(self.symbols) != self.vocabulary:
            raise ValueError(
                f"{self.kind} data {self.name!r} has {len(self.symbols)} symbols and vocabulary {self.vocabulary}"
            )
        if self.padding is not None and not 0 <= self.padding < (self.vocabulary or 0):
            wanted = f"wanted a token 0...{self.vocabulary - 1}" if self.vocabulary else "only sequences are padded"
            raise ValueError(f"{self.kind} data {self.name!r} has the padding {self.padding}; {wanted}")
        if not isinstance(self.condition, ConditionSpec):
            raise TypeError(f"data {self.name!r}: condition is {self.condition!r}; wanted a ConditionSpec")

    @property
    def classes(self) -> int:
        """Number of classes that label the examples; 0 where the conditions are no labels."""
        return self.condition.classes

    @property
    def labelled(self) -> bool:
        """Whether examples have labels, be these conditions or known to evaluators alone."""
        return self.classes > 0 or self.target_classes > 0

    @property
    def paired(self) -> bool:
        """Whether conditions are images that belong to the images beside them."""
        return self.condition.kind == "image" and (self.pairing is None or self.pairing.paired)

    @property
    def unpaired(self) -> bool:
        """Whether conditions are images of which any may stand beside any."""
        return self.pairing is not None and not self.pairing.paired

    @property
    def has_evaluators(self) -> bool:
        """Whether samples are compared through feature evaluators; where nothing is said, all but sequences are."""
        return self.kind != "sequence" if self.evaluators is None else self.evaluators

    @property
    def extent(self) -> float:
        """Of images the side in pixels, the geometric mean of height and width; else dimensions, or length."""
        return math.sqrt(self.shape[1] * self.shape[2]) if self.kind == "image" else float(self.shape[0])

    @property
    def dimensions(self) -> int:
        """Numbers (or tokens) in one example."""
        return math.prod(self.shape)

    @property
    def log_scale(self) -> float:
        """log|det| of the map from standardised to original units: the sum of the log deviations."""
        return sum(math.log(s) for s in self.deviation) if self.deviation else 0.0

    def mask_of(self, x: Tensor) -> Tensor:
        """Which entries of examples or samples count: bool like x, false where it holds the padding token."""
        import torch  # here, so that listings stay quick

        return torch.ones_like(x, dtype=torch.bool) if self.padding is None else x != self.padding

    def with_end_of(self, x: Tensor) -> Tensor:
        """Which entries of sequences (n, T) their probability is of: the tokens that count and the first padding token,
        which says that nothing follows; bool like x."""
        padded = ~self.mask_of(x)
        return padded.cumsum(1) - padded.long() == 0

    def to_levels(self, x: Tensor) -> Tensor:
        """Images (n, C, H, W) in [-1, 1] to integers 0...L-1 (int64) of the same shape; clips what is outside."""
        return to_levels(x, self._levels())

    def from_levels(self, k: Tensor) -> Tensor:
        """Integers 0...L-1 to float32 images on the lattice in [-1, 1]."""
        return from_levels(k, self._levels())

    def to_lattice(self, x: Tensor) -> Tensor:
        """The nearest point of the lattice: what a continuous generator's output becomes."""
        return self.from_levels(self.to_levels(x))

    def _levels(self) -> int:
        if self.levels is None:
            raise ValueError(f"{self.kind} data {self.name!r} has no levels")
        return self.levels


def to_levels(x: Tensor, levels: int) -> Tensor:
    """Images in [-1, 1] to integers 0...levels-1 (int64) of the same shape; clips what is outside."""
    return ((x.clamp(-1.0, 1.0) + 1.0) * ((levels - 1) / 2.0)).round().long()


def from_levels(k: Tensor, levels: int) -> Tensor:
    """Integers 0...levels-1 to float32 images on the lattice in [-1, 1]."""
    return k.float() * (2.0 / (levels - 1)) - 1.0
