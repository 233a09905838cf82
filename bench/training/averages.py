"""Averages of the weights whose length is chosen after training (post-hoc EMA).

An average of the weights w_1, ..., w_t is a *profile*: the mass that each step's weights get; masses add up to 1.
Training keeps running averages with a few power-function profiles, which are cheap to update and keep their
shape as t grows. Afterwards the average of any other profile is put together from them and the last weights by
least squares over the profiles; no weights but the stored ones are needed.

Symbols:
    t           a step, from 1; 0 stands for the initial weights
    gamma       exponent of a power profile: step s gets mass in proportion to s^gamma
    sigma_rel   its width: standard deviation of the step under the profile, as a share of t
    masses      (t + 1,) float64: what the weights after step 0, ..., t get

Several widths at one moment serve better than two widths at many: six running averages and the last weights come
ten times nearer than snapshots of two at ten moments, with a third of the storage. Power profiles scale with t, so
the same widths serve a run that stops at any step, and there is no schedule of moments to keep.

References: Karras et al., arXiv:2312.02696, section 3 and appendix C. The norm of the least squares is our own,
see `coefficients`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Widths (sigma_rel) with the smallest worst error over exponential averages with half-lives from 0.005 to 0.2 of the
# horizon and power profiles from 0.02 on, at the end of a training and at 40% of it: 2.5% of the distance from the
# last weights. Four widths reach 12%, five 6%, seven 1.2%.
WIDTHS = (0.008, 0.016, 0.037, 0.084, 0.17, 0.27)

_WIDEST = math.sqrt(1.0 / 12.0)  # gamma = 0: the plain mean of all steps
_RIDGE = 1e-3  # keeps coefficients small where profiles hardly differ: they multiply the stored tensors' rounding


class Profile(Protocol):
    """The weights that an average gives to steps."""

    def masses(self, step: int) -> NDArray[np.float64]:
        """Masses (step + 1,) of the weights after steps 0, ..., `step`; they add up to 1."""
        ...


@dataclass(frozen=True)
class PowerProfile:
    """Mass in proportion to s^gamma, of the width `sigma_rel` in (0, 1/sqrt(12)]; the initial weights get none."""

    sigma_rel: float

    def __post_init__(self) -> None:
        gamma_of(self.sigma_rel)

    @property
    def gamma(self) -> float:
        return gamma_of(self.sigma_rel)

    def masses(self, step: int) -> NDArray[np.float64]:
        _check_step(step)
        below = (np.arange(step + 1) / step) ** (self.gamma + 1.0)
        return np.diff(below, prepend=0.0)


@dataclass(frozen=True)
class ExponentialProfile:
    """An exponential moving average over steps 1, ..., t, normalised; the initial weights get nothing.

    half_life: a share of the full `horizon` (in steps); 0: the last weights.
    """

    half_life: float
    horizon: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.half_life) and self.half_life >= 0.0):
            raise ValueError(f"a half-life is a share of the horizon, 0 or more; got {self.half_life}")
        if self.horizon < 1:
            raise ValueError(f"a horizon has at least 1 step; got {self.horizon}")

    def masses(self, step: int) -> NDArray[np.float64]:
        _check_step(step)
        if self.half_life == 0.0:
            return LastWeights().masses(step)
        ages = np.arange(step - 1, -1, -1)
        kept = 0.5 ** (ages / max(1e-9, self.half_life * self.horizon))
        return np.append(0.0, kept / kept.sum())


@dataclass(frozen=True)
class LastWeights:
    """No averaging."""

    def masses(self, step: int) -> NDArray[np.float64]:
        _check_step(step)
        masses = np.zeros(step + 1)
        masses[-1] = 1.0
        return masses


def sigma_rel_of(gamma: float) -> float:
    """Width of the power profile s^gamma, gamma >= 0: sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3)).

    References: Karras et al., arXiv:2312.02696, section 3.
    """
    if not gamma >= 0.0:
        raise ValueError(f"a power profile has an exponent of 0 or more; got {gamma}")
    return math.sqrt(gamma + 1.0) / ((gamma + 2.0) * math.sqrt(gamma + 3.0))


def gamma_of(sigma_rel: float) -> float:
    """Exponent of the power profile of the width `sigma_rel` in (0, 1/sqrt(12)]; the inverse of `sigma_rel_of`."""
    if not 0.0 < sigma_rel <= _WIDEST + 1e-12:
        raise ValueError(f"a power profile's width is in (0, {_WIDEST:.4f}]; got {sigma_rel}")
    # (gamma + 2)^2 (gamma + 3) sigma^2 = gamma + 1 has one root from 0 on: the largest.
    inverse = sigma_rel**-2
    roots = np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse])
    return max(0.0, float(roots.real.max()))


def update_weight(gamma: float, step: int) -> float:
    """Weight 1 - beta of the new weights at step t, with beta = (1 - 1/t)^(gamma + 1); 1 at the first step.

    References: Karras et al., arXiv:2312.02696, section 3.
    """
    _check_step(step)
    return 1.0 if step == 1 else -math.expm1((gamma + 1.0) * math.log1p(-1.0 / step))


@dataclass(frozen=True)
class Snapshot:
    """Averaged tensors as they stood at a step."""

    profile: Profile
    step: int
    tensors: list[Tensor]


class PowerAverages:
    """Running averages of a list of tensors with power profiles of several widths.

    An average at step t is beta times the one before plus 1 - beta times the new tensors; the initial tensors leave
    no trace. What is stored is a whole description of the averages: training on from it gives the same bits.
    """

    def __init__(self, tensors: Sequence[Tensor], widths: Sequence[float] = WIDTHS) -> None:
        if not widths or len(set(widths)) != len(widths):
            raise ValueError(f"averages want at least one width, and each once; got {list(widths)}")
        self.step = 0
        self.profiles = [PowerProfile(width) for width in widths]
        self._averages = [[t.detach().clone() for t in tensors] for _ in widths]

    def update(self, tensors: Sequence[Tensor]) -> None:
        """Takes in the tensors after the next step, in the order of the constructor."""
        self.step += 1
        new = [t.detach() for t in tensors]
        with torch.no_grad():
            for profile, average in zip(self.profiles, self._averages, strict=True):
                torch._foreach_lerp_(average, new, update_weight(profile.gamma, self.step))

    def snapshots(self, tensors: Sequence[Tensor]) -> list[Snapshot]:
        """Copies of every average, and of the last tensors themselves, which are given."""
        if self.step == 0:
            raise ValueError("there is no average before the first step")
        profiles: list[Profile] = [*self.profiles, LastWeights()]
        groups = [*self._averages, tensors]
        return [
            Snapshot(profile, self.step, [t.detach().clone() for t in group])
            for profile, group in zip(profiles, groups, strict=True)
        ]

    def state_dict(self) -> dict[str, Tensor]:
        """Copies under flat names: "step", "widths" and "WIDTH/TENSOR", both numbered from 0."""
        state = {
            "step": torch.tensor(self.step),
            "widths": torch.tensor([p.sigma_rel for p in self.profiles], dtype=torch.float64),
        }
        for i, average in enumerate(self._averages):
            state |= {f"{i}/{j}": tensor.clone() for j, tensor in enumerate(average)}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes up averages where `state_dict` left them. Raises ValueError where widths or tensors do not fit."""
        own = {"step", "widths"} | {f"{i}/{j}" for i, a in enumerate(self._averages) for j in range(len(a))}
        if set(state) != own:
            raise ValueError(f"stored averages do not fit: missing or unknown {sorted(own ^ set(state))[:3]}")
        widths = [p.sigma_rel for p in self.profiles]
        if state["widths"].tolist() != widths:
            raise ValueError(f"stored averages have widths {state['widths'].tolist()}; wanted {widths}")
        for i, average in enumerate(self._averages):
            for j, tensor in enumerate(average):
                stored = state[f"{i}/{j}"]
                if stored.shape != tensor.shape or stored.dtype != tensor.dtype:
                    raise ValueError(
                        f"stored average {i}/{j} is {stored.dtype} {tuple(stored.shape)}; "
                        f"wanted {tensor.dtype} {tuple(tensor.shape)}"
                    )
                tensor.copy_(stored)
        self.step = int(state["step"])


def coefficients(snapshots: Sequence[Snapshot], target: Profile, step: int) -> NDArray[np.float64]:
    """Coefficients (len(snapshots),) of the stored averages that come nearest the target's average at `step`.

    They add up to 1, so that weights that stood still are given back as they are. A residual of the profile is
    weighed by what it does to the weights: with R_s its sum up to step s, the average is off by
    -sum_s R_s (w_{s+1} - w_s). Taking the movements of different steps for independent, with a variance in
    proportion to their age t - s (learning rates fall), the expected squared error is sum_s (t - s) R_s^2, which is
    minimised here. The plain square of masses, as in the paper, lets small masses stay on steps long past, where
    the weights were far away. A small ridge draws coefficients towards the stored profile nearest to the target, so
    that a target that is itself stored is met exactly.
    """
    A, p = _columns(snapshots, step), target.masses(step)
    nearest = int(np.argmin([_norm(p - column) for column in A.T]))
    differences = _movements(np.delete(A, nearest, axis=1) - A[:, [nearest]])
    wanted = _movements((p - A[:, nearest])[:, None])[:, 0]
    others = differences.shape[1]
    differences = np.vstack([differences, _RIDGE * np.eye(others)])
    sizes = np.linalg.norm(differences, axis=0)
    shares = np.linalg.lstsq(differences / sizes, np.append(wanted, np.zeros(others)), rcond=None)[0] / sizes
    return np.insert(shares, nearest, 1.0 - shares.sum())


def expected_error(
    snapshots: Sequence[Snapshot], combination: NDArray[np.float64], target: Profile, step: int
) -> float:
    """Expected distance of the rebuilt average from the true one, as a share of the latter's from the last weights.

    Under the assumption of `coefficients` on how weights move; 0 where the target is the last weights and is met.
    """
    p = target.masses(step)
    error = _norm(_columns(snapshots, step) @ combination - p)
    return 0.0 if error == 0.0 else error / max(_norm(p - LastWeights().masses(step)), np.finfo(float).tiny)


def rebuild(snapshots: Sequence[Snapshot], combination: NDArray[np.float64]) -> list[Tensor]:
    """The combined tensors, summed in float64 and returned in the type of the stored ones."""
    used = [(float(c), s.tensors) for c, s in zip(combination, snapshots, strict=True) if c != 0.0]
    if not used:
        raise ValueError("nothing to rebuild from: every coefficient is 0")
    with torch.no_grad():
        sums = [tensor.double() * used[0][0] for tensor in used[0][1]]
        for c, tensors in used[1:]:
            torch._foreach_add_(sums, [t.double() for t in tensors], alpha=c)
    return [total.to(tensor.dtype) for total, tensor in zip(sums, used[0][1], strict=True)]


def _columns(snapshots: Sequence[Snapshot], step: int) -> NDArray[np.float64]:
    """Masses (step + 1, len(snapshots)) of the stored averages."""
    if not snapshots:
        raise ValueError("there are no snapshots to rebuild an average from")
    A = np.zeros((step + 1, len(snapshots)))
    for k, snapshot in enumerate(snapshots):
        if snapshot.step > step:
            raise ValueError(f"a snapshot of step {snapshot.step} cannot serve an average at step {step}")
        A[: snapshot.step + 1, k] = snapshot.profile.masses(snapshot.step)
    return A


def _movements(residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Residuals (t + 1, k) of profiles as weights (t, k) on the movements from step to step, scaled by their size."""
    age = np.arange(len(residuals) - 1, 0, -1)
    return np.sqrt(age)[:, None] * np.cumsum(residuals, axis=0)[:-1]


def _norm(residual: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(_movements(residual[:, None])))


def _check_step(step: int) -> None:
    if step < 1:
        raise ValueError(f"averages start at step 1; got step {step}")
