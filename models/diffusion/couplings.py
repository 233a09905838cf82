"""Which noise a training example is paired with."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

Coupling = Literal["independent", "optimal_transport"]


def paired_noise(x: Tensor, noise: Tensor, labels: Tensor, coupling: Coupling) -> Tensor:
    """The rows of noise (n, ...) in the order in which they are paired with those of x (n, ...).

    "optimal_transport": the pairing of the batch with the least sum of squared distances, which straightens the paths.
    Rows of one label (n,) exchange noise among themselves alone: noise chosen over all labels would tell of the label,
    and a sample, whose noise is drawn without it, would start where training never does. Conditions that are images
    (n, ...) are all different, so their rows keep their noise.

    References: Tong et al., arXiv:2302.00482, section 3.2; Pooladian et al., arXiv:2304.14772, section 3; Cheng and
    Schwing, "The curse of conditions", arXiv:2503.10636, section 3.
    """
    if coupling == "independent" or labels.ndim > 1:
        return noise
    order = torch.arange(len(x))
    groups = labels.cpu()
    for label in groups.unique():
        rows = (groups == label).nonzero()[:, 0]
        order[rows] = rows[_assigned(x[rows.to(x.device)], noise[rows.to(x.device)])]
    return noise[order.to(noise.device)]


def _assigned(x: Tensor, noise: Tensor) -> Tensor:
    """For each row of x (m, ...) the row of noise (m, ...) that the optimal assignment gives it, (m,) on the CPU."""
    # |x - z|^2 = |x|^2 + |z|^2 - 2 x . z, and only the last part differs between assignments.
    cost = -(x.flatten(1) @ noise.flatten(1).T)
    _, columns = scipy.optimize.linear_sum_assignment(cost.double().cpu().numpy())
    return torch.from_numpy(columns.astype(np.int64))
