"""ddpm next to diffusers' UNet2DModel of as many parameters, on grey images of 8, 16 and 32 pixels in batches of 128.

Both sides are conditioned on labels, drop them alike, and learn v. A step is: noise, loss, gradients, Adam's update.
Samples are 128 by 25 steps of DDIM. Their model has the layout of the published DDPM with one residual block a level,
as ours by default, and channels chosen so that the numbers of parameters agree within 2%.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gentune.bench._torchvision import make_importable
from gentune.models import Batch, ConditionSpec, DataSpec
from gentune.models.diffusion.ddpm import DDPM

Call = Callable[[], object]
_BATCH, _CLASSES, _TIMESTEPS, _STEPS = 128, 10, 500, 25
_UNCONDITIONAL = 0.15
_CHANNELS = {8: (20, 44), 16: (28, 40, 48), 32: (28, 40, 48)}  # theirs, by side


def pair(side: int) -> dict[str, tuple[Call, Call]]:
    """Training and samples of either side; raises ModuleNotFoundError without diffusers."""
    spec = images_of(side)
    ours, theirs = DDPM(spec, timesteps=_TIMESTEPS), rival(side)
    generator = torch.Generator().manual_seed(0)
    x = spec.from_levels(torch.randint(0, 256, (_BATCH, *spec.shape), generator=generator))
    batch = Batch(x, torch.arange(_BATCH) % _CLASSES)
    schedulers = _schedulers()
    return {
        "train": (
            _step(ours, lambda: ours.loss(batch, generator).total),
            _step(theirs, lambda: _their_loss(theirs, schedulers[0], batch)),
        ),
        "sample": (
            lambda: ours.sample(_BATCH, condition=batch.condition, generator=generator, steps=_STEPS),
            lambda: _their_samples(theirs, schedulers[1], batch),
        ),
    }


def images_of(side: int) -> DataSpec:
    return DataSpec("noise", "image", (1, side, side), levels=256, condition=ConditionSpec("label", classes=_CLASSES))


def rival(side: int) -> Any:
    """Theirs, with as many parameters as our default has."""
    make_importable()
    from diffusers import UNet2DModel

    levels = len(_CHANNELS[side])
    return UNet2DModel(
        sample_size=side,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=_CHANNELS[side],
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        norm_num_groups=4,
        attention_head_dim=_CHANNELS[side][-1],
        num_class_embeds=_CLASSES + 1,
        resnet_time_scale_shift="scale_shift",
    )


def _schedulers() -> tuple[Any, Any]:
    """Theirs for training, and for samples."""
    from diffusers import DDIMScheduler, DDPMScheduler

    options = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
    sampling: Any = DDIMScheduler(_TIMESTEPS, timestep_spacing="trailing", **options)
    sampling.set_timesteps(_STEPS)
    return DDPMScheduler(_TIMESTEPS, **options), sampling


def _their_loss(model: Any, scheduler: Any, batch: Batch) -> Tensor:
    assert batch.labels is not None
    t = torch.randint(0, _TIMESTEPS, (len(batch),))
    noise = torch.randn(batch.x.shape)
    labels = torch.where(torch.rand(len(batch)) < _UNCONDITIONAL, _CLASSES, batch.labels)
    output = model(scheduler.add_noise(batch.x, noise, t), t, class_labels=labels).sample
    return F.mse_loss(output, scheduler.get_velocity(batch.x, noise, t))


@torch.no_grad()
def _their_samples(model: Any, scheduler: Any, batch: Batch) -> Tensor:
    model.eval()
    x = torch.randn(batch.x.shape)
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, t, class_labels=batch.labels).sample, t, x).prev_sample
    model.train()
    return x


def _step(model: nn.Module, loss: Callable[[], Tensor]) -> Call:
    optimiser = torch.optim.Adam(model.parameters(), 1e-4)
    model.train()

    def step() -> Tensor:
        value = loss()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        return value

    return step
