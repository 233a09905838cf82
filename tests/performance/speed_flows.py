"""Steps of training of our flows, and samples of glow, next to zuko's and normflows' at equal architecture.

A step is: loss of a batch of 128, gradients, Adam's update. The vector flows run on points in the plane; glow on the
digits without labels, where either side dequantises its batch and maps it to logits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import zuko
from torch import Tensor, nn

from gentune.bench.data import load
from gentune.models import Batch, ConditionSpec, GenerativeModel
from gentune.models.flows.glow import Glow
from gentune.models.flows.iaf import IAF
from gentune.models.flows.maf import MAF
from gentune.models.flows.neural_spline_flow import NeuralSplineFlow
from gentune.models.flows.realnvp import RealNVP

Call = Callable[[], object]
BATCH = 128
_HIDDEN = (96, 96)
_RATE = 1e-4  # low, so that neither side leaves the region in which it started


def vector_steps() -> dict[str, tuple[Call, Call]]:
    """A step of ours and of zuko's, for each vector flow; both of the same numbers of parameters."""
    data = load("eight_gaussians")
    x = data.splits["train"].all().x
    ours: dict[str, GenerativeModel] = {
        "maf": MAF(data.spec, transforms=4, components=1),
        "iaf": IAF(data.spec, transforms=4),
        "neural_spline_flow": NeuralSplineFlow(data.spec, transforms=4),
        "realnvp": RealNVP(data.spec, transforms=4),
    }
    maf = zuko.flows.MAF(2, transforms=4, hidden_features=_HIDDEN)
    inverse = zuko.flows.MAF(2, transforms=4, hidden_features=_HIDDEN)
    theirs = {
        "maf": maf,
        "iaf": zuko.flows.Flow([t.inv for t in inverse.transform.transforms], inverse.base),
        "neural_spline_flow": zuko.flows.NSF(2, transforms=4, passes=2, hidden_features=_HIDDEN),
        "realnvp": zuko.flows.RealNVP(2, transforms=4, hidden_features=_HIDDEN),
    }
    return {name: (_our_step(model, x), _zuko_step(theirs[name], x)) for name, model in ours.items()}


def glow() -> dict[str, tuple[Call, Call]]:
    """Training and samples; raises ModuleNotFoundError without normflows."""
    import normflows

    data = load("digits")
    spec = replace(data.spec, condition=ConditionSpec())
    x, levels, hidden, transforms = data.splits["train"].all().x, 2, 48, 6
    ours = Glow(spec, levels=levels, transforms=transforms, hidden=hidden)
    bases, flows, merges = [], [], []
    for level in range(levels):
        channels = 2 ** (levels + 1 - level)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a function of torch that is to go
            blocks = [normflows.flows.GlowBlock(channels, hidden, use_lu=True) for _ in range(transforms)]
        flows.append([*blocks, normflows.flows.Squeeze()])
        if level > 0:
            merges.append(normflows.flows.Merge())
        side = 8 // 2 ** (levels - level)
        shape = (2 ** (levels + 1) if level == 0 else 2 ** (levels - level), side, side)
        bases.append(normflows.distributions.DiagGaussian(shape))
    logit = normflows.transforms.Logit(alpha=0.05)
    theirs = normflows.MultiscaleFlow(bases, flows, merges, transform=logit, class_cond=False)
    k = spec.to_levels(x)

    def loss(batch: Tensor) -> Tensor:
        return -theirs.log_prob((batch + torch.rand(batch.shape)) / 17, None)

    generator = torch.Generator().manual_seed(0)
    loss(k[:BATCH])  # its actnorms start at the first batch
    for stage in ours.stages():
        if stage.fit is not None:
            stage.fit(Batch(x), generator)
    return {
        "train": (_our_step(ours, x), _step(theirs, k.float(), loss)),
        "sample": (lambda: ours.sample(500, generator=generator), lambda: _drawn(theirs)),
    }


@torch.no_grad()
def _drawn(model: Any) -> Tensor:
    return model.sample(500)[0]


def _our_step(model: GenerativeModel, x: Tensor) -> Call:
    generator = torch.Generator().manual_seed(0)
    return _step(model, x, lambda batch: model.loss(Batch(batch), generator).total)


def _zuko_step(flow: Any, x: Tensor) -> Call:
    return _step(flow, x, lambda batch: -flow().log_prob(batch))


def _step(module: nn.Module, x: Tensor, loss: Callable[[Tensor], Tensor]) -> Call:
    optimiser = torch.optim.Adam(module.parameters(), _RATE)
    generator = torch.Generator().manual_seed(0)

    def step() -> Tensor:
        value = loss(x[torch.randint(len(x), (BATCH,), generator=generator)]).mean()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        return value

    return step
