"""The interface between models and the training loop.

A family is one class derived from `GenerativeModel` and one TOML file in `search_spaces`. The smallest family
writes `loss` and `sample`; whatever else it can do, it says by having the method (`log_likelihood`,
`reconstruct`, `encode`, `decode`, `complete`). The loop, not the family, owns batch size, EMA, clipping, precision,
seeds, divergence, checkpoints and the budget.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import Generator, Tensor, nn

from .data_spec import DataSpec


@dataclass(frozen=True)
class Batch:
    """Examples, and what they are conditioned on.

    x: (n, *spec.shape); see `DataSpec` for its type and range, and `DataSpec.mask_of(x)` for what of it counts.
    condition: int64 labels (n,), source images (n, C', H', W'), or token ids (n, T'); None without conditions.
        Their shape tells their kind.
    """

    x: Tensor
    condition: Tensor | None = None

    @property
    def labels(self) -> Tensor | None:
        """int64 (n,) where the conditions are labels, else None."""
        c = self.condition
        return None if c is None or c.ndim != 1 or c.is_floating_point() else c

    def __len__(self) -> int:
        return self.x.shape[0]

    def __getitem__(self, index: Tensor | slice) -> Batch:
        return self._map(lambda t: t[index])

    def to(self, device: torch.device | str) -> Batch:
        return self._map(lambda t: t.to(device))

    def _map(self, f: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(*(None if t is None else f(t) for t in (self.x, self.condition)))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Losses:
    """A scalar to minimise, and named parts of it for the log."""

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


class LikelihoodKind(StrEnum):
    """What a reported log-likelihood is. Figures of different kinds are never compared without saying so."""

    EXACT = "exact"  # discrete models; continuous models on vectors
    DEQUANTISED = "dequantised"  # a bound: a continuous model of dequantised images
    ELBO = "elbo"  # a bound
    IMPORTANCE_WEIGHTED = "importance_weighted"  # a bound; `samples` says how many importance samples
    ODE_ESTIMATE = "ode_estimate"  # an estimate, with its standard error


@dataclass(frozen=True)
class Likelihood:
    """Log-likelihoods of single examples.

    log_prob: (n,) nats. Images: log-probability of the example's integer levels. Vectors: log-density in
        standardised units. Sequences: log-probability of the tokens that count and their end (`DataSpec.with_end_of`).
    samples: number of importance samples K (or noise levels) behind each figure, where that applies.
    standard_error: (n,) of an estimate, where the method gives one.
    """

    log_prob: Tensor
    kind: LikelihoodKind
    samples: int | None = None
    standard_error: Tensor | None = None


@dataclass(frozen=True)
class Adam:
    """Settings of Adam (arXiv:1412.6980); `decoupled` weight decay makes it AdamW (arXiv:1711.05101).

    The learning rate rises linearly over `warmup_steps` (absolute steps); with `decay="cosine"` it then falls
    to `final_share` of itself at the *full* horizon of the stage, whatever the length of the run at hand.
    """

    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = True
    warmup_steps: int = 0
    decay: str = "none"  # "none" or "cosine"
    final_share: float = 0.0


@dataclass(frozen=True)
class Phase:
    """Some optimiser steps in a row on some of the parameters.

    after: called after each optimiser step, without gradients (weight clipping, codebook updates).
    """

    name: str
    parameters: Iterable[nn.Parameter]
    loss: Callable[[Batch, Generator], Losses]
    optimiser: Adam
    steps: int = 1
    after: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(self.parameters))
        if self.steps < 1:
            raise ValueError(f"phase {self.name!r} takes {self.steps} steps in a row; at least 1 is needed")


@dataclass(frozen=True)
class Stage:
    """A part of training with a share of the budget: either `phases`, run in turn, or one `fit`.

    One *step* of a stage runs every phase once (each with its own number of optimiser steps in a row, each on a
    batch of its own). `fit(data, generator)` gets the train split on the device and trains by itself (EM,
    counting, closed forms); it returns the number of floating-point operations it took, where it can tell. Of a split
    of more than 1 GiB it gets as many examples as fit into that, drawn by the seed.
    share: of the full training's steps; the shares of all stages with phases add up to 1.
    depends_on: the training hyperparameters that this stage's result depends on; None: all of them.
    parts: shares of its steps, in order, within which all steps take as many operations: several where a network grows.
    """

    name: str
    phases: tuple[Phase, ...] = ()
    fit: Callable[[Batch, Generator], float | None] | None = None
    share: float = 1.0
    depends_on: tuple[str, ...] | None = None
    parts: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if bool(self.phases) == (self.fit is not None):
            raise ValueError(f"stage {self.name!r} needs either phases or a fit, and not both")
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"stage {self.name!r} has a share of {self.share}; wanted more than 0, at most 1")
        if min(self.parts) <= 0.0 or abs(sum(self.parts) - 1.0) > 1e-9:
            raise ValueError(f"stage {self.name!r} has parts {self.parts}; wanted shares above 0 that add up to 1")


@dataclass(frozen=True)
class Progress:
    """How far a stage's training has come: `step` of a full horizon of `horizon` steps.

    Schedules inside a training use absolute steps or `fraction`, never the length of the run at hand: 100 steps
    and then 300 more are the same as 400.
    """

    step: int = 0
    horizon: int = 1

    @property
    def fraction(self) -> float:
        return min(1.0, self.step / self.horizon)


class Trainable(nn.Module):
    """What the training loop can train: a generative model, or an evaluator's network.

    `learning_rate` and `weight_decay` serve the default stage; a module with stages of its own may ignore them.
    """

    progress: Progress = Progress()  # set by the loop before every step
    learning_rate: float = 1e-3
    weight_decay: float = 0.0

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        raise NotImplementedError(f"{type(self).__name__} has neither a loss nor stages of its own")

    def stages(self) -> tuple[Stage, ...]:
        """Default: one stage of one phase over all parameters with `loss`."""
        optimiser = Adam(self.learning_rate, weight_decay=self.weight_decay)
        return (Stage("training", phases=(Phase("all", self.parameters(), self.loss, optimiser),)),)


class GenerativeModel(Trainable):
    """A generative family. Subclasses take `data` and their training hyperparameters as keyword arguments:

        def __init__(self, data: DataSpec, *, latent_dim: int = 16, learning_rate: float = 1e-3): ...

    and their sampling hyperparameters as keyword arguments of `sample`. The names, types and defaults are those
    of the family's TOML file. Samples follow the data convention of `DataSpec` (images: on the lattice).

    A family may also define, and thereby says that it can:
        log_likelihood(batch) -> Likelihood             log p(x) where batch.condition is None, else log p(x|condition);
                                                        a family that models p(x) alone gives it either way. What is
                                                        reported of a family that takes labels is the sum over classes.
                                                        Of sequences, the tokens that count and their end, so that
                                                        probabilities of all sequences sum to 1
        reconstruct(batch) -> Tensor                    like batch.x
        encode(batch) -> Tensor                         codes (n, latent_dim)
        decode(z) or decode(z, condition) -> Tensor     examples of codes; images are not rounded
        draw_codes(n, generator) -> Tensor              codes that it samples from, on its device; without it they are
                                                        standard normal, of length `latent_dim` or, without that, as
                                                        many as the data has numbers
        impute(batch, missing, generator) -> Tensor     batch.x, filled in where `missing` (bool, like it)
        complete(batch, missing, *, generator, **its sampling hyperparameters) -> Tensor
                                                        batch.x with draws where `missing` (bool, like it): each given
                                                        what precedes it in the family's order, so that they are draws
                                                        from p(missing | the rest) where what is missing comes last

    Batches come on the model's device. Those of `reconstruct`, `encode`, `impute` and `complete` may have a condition
    or none. A family that requires a condition is asked for nothing without one: its likelihood is
    log p(x|condition), and what is asked without conditions (typicality, imputation, codes that are drawn and
    decoded) is not defined for it.
    """

    data: DataSpec
    evaluation_seed: int = 0  # set by the driver for every chunk that it evaluates

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        self.data = data

    def sample(self, n: int, *args: Any, **kwargs: Any) -> Tensor:
        """n samples (n, *data.shape) on the model's device. A family's signature is

            def sample(self, n, *, condition=None, generator, **its sampling hyperparameters) -> Tensor

        with n rows of conditions, or None; type checkers take any such signature for an override. A family that cannot
        do without a condition has no default for it (`condition: Tensor`).
        """
        raise NotImplementedError(f"{type(self).__name__} does not sample")

    @property
    def device(self) -> torch.device:
        tensor: Tensor | None = next(self.parameters(), None)
        if tensor is None:
            tensor = next(self.buffers(), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def evaluation_generator(self) -> Generator:
        """The noise of a likelihood estimate: fixed by `evaluation_seed`, so that a figure can be made again."""
        return torch.Generator(self.device).manual_seed(self.evaluation_seed)

    @classmethod
    def requires_condition(cls) -> bool:
        """Whether it cannot do without a condition: its `sample` has no default for `condition`."""
        condition = inspect.signature(cls.sample).parameters.get("condition")
        return condition is not None and condition.default is inspect.Parameter.empty

    @classmethod
    def can(cls, capability: str) -> bool:
        """Whether the family has an optional method, such as "log_likelihood"."""
        return callable(getattr(cls, capability, None))
