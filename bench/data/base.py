"""A data set: its description and three splits by fixed seeds; and the interface of its reader."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ...models.data_spec import DataSpec
from .reference import DataRef

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from .examples import Examples

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, eq=False)
class Modes:
    """Equal modes of a law, in standardised units: centres (k, D), and the deviation (D,) around each."""

    centres: Tensor
    deviation: Tensor


@dataclass(frozen=True, eq=False)
class Yardstick:
    """An answer to image conditions that needs no model. answer: of conditions (n, C', H', W') images (n, C, H, W), not
    rounded to their levels."""

    name: str
    answer: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class DataSet:
    """`train` for fitting, `validation` for every choice, `test` for the final table alone.

    log_density: log of the true density (n,) in nats at standardised points (n, D), in original units; of sequences
        (n, T) their log-probability. None where it is not known.
    modes: the law's modes, where it is made of such.
    grammatical: which sequences (n, T) a grammar allows, bool (n,); None where the data have no known grammar.
    meanings: what texts (n, T) say, int64 (n, f): values of the factors, in the order of `factor_names`; None where the
        data have no texts with known meanings.
    factor_names: of what each example was generated from; empty where that is not known.
    factors: their values, int64 (n, f), for each split.
    notes: sentences about what the reader skipped, converted or found wrong.
    class_names: of the labels, in their order, where the source has names for them.
    targets: of conditions on images, the examples by themselves with their labels, for evaluators to learn from; None:
        evaluators learn from the data as they are.
    source_labels: of conditions on images, the class of what each shows, int64 (n,), for each split.
    yardstick: of conditions on images, an answer without a model that is stated next to the models'.
    content: what stands for all values in the fingerprint, where the reader knows a hash of them; "": they are hashed.
    """

    spec: DataSpec
    splits: Mapping[Split, Examples]
    log_density: Callable[[Tensor], Tensor] | None = field(default=None, compare=False)
    modes: Modes | None = field(default=None, compare=False)
    grammatical: Callable[[Tensor], Tensor] | None = field(default=None, compare=False)
    meanings: Callable[[Tensor], Tensor] | None = field(default=None, compare=False)
    factor_names: tuple[str, ...] = ()
    factors: Mapping[Split, Tensor] | None = field(default=None, compare=False)
    notes: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    targets: DataSet | None = field(default=None, compare=False)
    source_labels: Mapping[Split, Tensor] | None = None
    yardstick: Yardstick | None = field(default=None, compare=False)
    content: str = ""

    def __post_init__(self) -> None:
        for name, values in (self.factors or {}).items():
            if values.shape != (len(self.splits[name]), len(self.factor_names)):
                raise ValueError(
                    f"data {self.spec.name!r}: factors of {name} have shape {tuple(values.shape)}; "
                    f"wanted {(len(self.splits[name]), len(self.factor_names))}"
                )

    def as_recorded(self, ref: DataRef) -> dict[str, Any]:
        """What a record says of the data: `ref` is what it was opened by."""
        return {"name": self.spec.name, "fingerprint": self.fingerprint, "reference": ref.to_value()}

    def classes_of(self, split: Split) -> Tensor | None:
        """The class of what each example of a split shows, int64 (n,); None without labels."""
        own = self.splits[split].labels
        return own if own is not None or self.targets is None else self.targets.splits[split].labels

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every split's values, types and order."""
        digest = hashlib.sha256(self.spec.name.encode())
        if self.content:
            digest.update(self.content.encode())
            return digest.hexdigest()[:16]
        for name in sorted(self.splits):
            for column in self.splits[name].columns:
                digest.update(_header(name, column[:0], len(column)))
                for chunk in column.chunks():
                    digest.update(chunk.contiguous().numpy().tobytes())
            if self.factors is not None:
                factors = self.factors[name].contiguous()
                digest.update(_header(name, factors, len(factors)) + factors.numpy().tobytes())
        return digest.hexdigest()[:16]


def _header(split: str, values: Tensor, n: int) -> bytes:
    """What a fingerprint says of n values of which `values` are some."""
    array = values.cpu().numpy()
    return f"{split} {array.dtype} {(n, *array.shape[1:])}".encode()


class DataReader:
    """Reads data sets: one, or many that its options tell apart. Subclasses write both methods:

        def describe(self, *, its options) -> DataSpec
        def read(self, spec: DataSpec, *, its options) -> DataSet

    Both have the same keyword options, each text, a number, true or false, or a tuple of these. A reader whose options
    all have defaults is listed as a data set of its own name. `gentune.testing.DataContract` holds what readers keep.

    name: letters, digits, `_`, `-` and `.`.
    known: of "modes", "factors" and "grammatical" what its data sets have, so that objectives are checked before they
        are read; None: only reading tells.
    """

    name: str
    known: tuple[str, ...] | None = None

    def describe(self, *args: Any, **options: Any) -> DataSpec:
        """The data set's description: quickly, without torch.

        What only reading can tell (examples, mean, deviation, table) may be missing. Raises UsageError for options that
        lead to no data set.
        """
        raise NotImplementedError(f"{type(self).__name__} does not describe its data")

    def read(self, spec: DataSpec, *args: Any, **options: Any) -> DataSet:
        """The data set: the same values each time. `spec` is what `describe` gives for the same options."""
        raise NotImplementedError(f"{type(self).__name__} does not read its data")

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The keyword options, by name: those of `describe`."""
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return {name: p for name, p in inspect.signature(self.describe).parameters.items() if p.kind in named}


def standardised(
    spec: DataSpec,
    splits: Mapping[Split, np.ndarray],
    log_density: Callable[[np.ndarray], np.ndarray] | None = None,
    conditions: Mapping[Split, np.ndarray] | None = None,
) -> DataSet:
    """A vector data set from arrays (n, D) in original units, standardised by the train split.

    log_density: log of the true density (n,) at points (n, D) in original units.
    conditions: of each split's examples, as `Examples.of_arrays` takes them.
    Raises ValueError for a column that is constant in the train split, or too large for float64.
    """
    import numpy as np
    import torch

    from .examples import Examples

    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = splits["train"].mean(0), splits["train"].std(0)
    if not np.isfinite(deviation).all():
        raise ValueError(f"data {spec.name!r}: a column has values too large to be standardised")
    if not (deviation > 0).all():
        raise ValueError(f"data {spec.name!r}: a column is constant in the train split and cannot be standardised")
    spec = replace(spec, mean=tuple(map(float, mean)), deviation=tuple(map(float, deviation)))
    made: dict[Split, Examples] = {
        name: Examples.of_arrays(
            spec, ((x - mean) / deviation).astype(np.float32), None if conditions is None else conditions[name]
        )
        for name, x in splits.items()
    }

    def of_standardised(x: Tensor) -> Tensor:
        assert log_density is not None
        original = x.detach().cpu().double().numpy() * deviation + mean
        return torch.from_numpy(log_density(original))

    return DataSet(spec, made, None if log_density is None else of_standardised)
