"""What tests of diffusions share: the denoiser of Gaussian data, which is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from gentune.models.diffusion.gaussian_diffusion import Denoiser


@pytest.fixture(scope="session")
def oracle() -> Callable[[Tensor, float, float], Denoiser]:
    """(abar, mean, deviation) to E[x_0 | x_t] for x_0 ~ N(mean, deviation^2), by Gaussian conditioning."""

    def of(abar: Tensor, mean: float, deviation: float) -> Denoiser:
        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            share = abar[t].to(x_t.dtype).view(-1, 1)
            gain = share.sqrt() * deviation**2 / (share * deviation**2 + 1.0 - share)
            return mean + gain * (x_t - share.sqrt() * mean)

        return denoise

    return of
