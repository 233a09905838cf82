"""What the families have in common that model the numbers of an example one after another.

    p(x|y) = prod_i p(x_i | x_1 ... x_(i-1), y)

Glossary:
    y  labels (n,), where a family is conditioned on them
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Generator, Tensor

from ..base import Batch, GenerativeModel, Likelihood, LikelihoodKind
from ..data_spec import DataSpec
from ..likelihoods import marginal_log_prob, sum_per_example
from ..nets.categorical import draw


class AutoregressiveModel(GenerativeModel):
    """Exact likelihoods, samples and completions. A family writes `log_prob_by_place` and `fill_in`.

    family: its name, for messages. conditional: whether it is conditioned on labels where the data have them.
    """

    def __init__(self, data: DataSpec, family: str, *, conditional: bool = True) -> None:
        super().__init__(data)
        self.family = family
        self.classes = data.classes if conditional else 0

    @abstractmethod
    def log_prob_by_place(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """log p(x_i | x_1 ... x_(i-1), y) in nats, like x. labels: int64 (n,), None without classes."""

    @abstractmethod
    def fill_in(
        self, x: Tensor, missing: Tensor, labels: Tensor | None, uniforms: Tensor, cut: tuple[float, int, float]
    ) -> Tensor:
        """x with draws where `missing` (bool, like it), each given what precedes it.

        uniforms: like x, one for each draw. cut: temperature, top_k and top_p of `draw`.
        """

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """Exact: log p(x|y) where the batch has labels, else log p(x) with all classes equally frequent."""
        labels = self.labels_of(batch)
        if labels is not None or not self.classes:
            return Likelihood(self.log_prob(batch.x, labels), LikelihoodKind.EXACT)
        by_class = self._log_prob_by_class(batch.x)
        prior = torch.full((self.classes,), -math.log(self.classes), device=by_class.device)
        return Likelihood(marginal_log_prob(by_class, prior), LikelihoodKind.EXACT)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        condition: Tensor | None = None,
        generator: Generator,
        temperature: float = 1.0,
        top_k: int = 4096,
        top_p: float = 1.0,
    ) -> Tensor:
        """n samples (n, *data.shape) of the given labels, or of labels equally frequent.

        temperature, top_k, top_p: of each number's distribution (`draw`).
        """
        image = self.data.kind == "image"
        blank = torch.full((n, *self.data.shape), -1.0 if image else 0, device=self.device)
        if condition is None and self.classes:
            condition = torch.randint(self.classes, (n,), generator=generator, device=self.device)
        missing = torch.ones_like(blank, dtype=torch.bool)
        cut = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        return self.complete(Batch(blank, condition), missing, generator=generator, **cut)  # type: ignore[arg-type]

    @torch.no_grad()
    def complete(
        self,
        batch: Batch,
        missing: Tensor,
        *,
        generator: Generator,
        temperature: float = 1.0,
        top_k: int = 4096,
        top_p: float = 1.0,
    ) -> Tensor:
        """batch.x with draws where `missing` (bool, like it), each given those before it.

        Exactly a draw from p(missing | others) where what is missing comes last, such as the lower half of an image.
        Where labels are missing they are drawn first, given what is there.
        temperature, top_k, top_p: as in `sample`.
        """
        labels = self.labels_of(batch)
        if labels is None and self.classes:
            log_prob = self._log_prob_by_class(batch.x, missing)
            labels = draw(log_prob, torch.rand(len(batch), generator=generator, device=self.device))
        uniforms = torch.rand(batch.x.shape, generator=generator, device=self.device)
        return self.fill_in(batch.x, missing, labels, uniforms, (temperature, top_k, top_p))

    def counted(self, x: Tensor) -> Tensor:
        """Which numbers the probability is of, bool like x: all; of a shorter sequence those up to its end."""
        return self.data.with_end_of(x) if self.data.kind == "sequence" else torch.ones_like(x, dtype=torch.bool)

    def log_prob(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """log p(x|y) in nats, (n,)."""
        return sum_per_example(self.log_prob_by_place(x, labels).masked_fill(~self.counted(x), 0.0))

    def labels_of(self, batch: Batch) -> Tensor | None:
        """Labels (n,) of a batch; None without, and for a model without classes.

        Raises ValueError for conditions of another shape.
        """
        if batch.condition is None or not self.classes:
            return None
        if batch.condition.shape != (len(batch),):
            raise ValueError(
                f"{self.family} needs one label an example, shape ({len(batch)},), got {tuple(batch.condition.shape)}"
            )
        return batch.condition.to(self.device)

    def _log_prob_by_class(self, x: Tensor, missing: Tensor | None = None) -> Tensor:
        """log p given each label (n, classes); of what is not missing (bool, like x), each given those before it."""
        left_out = ~self.counted(x) if missing is None else ~self.counted(x) | missing
        rows = []
        for y in range(self.classes):
            log_prob = self.log_prob_by_place(x, torch.full((len(x),), y, device=x.device))
            rows.append(sum_per_example(log_prob.masked_fill(left_out, 0.0)))
        return torch.stack(rows, dim=1)
