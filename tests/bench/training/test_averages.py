"""Post-hoc EMA: profiles, running averages, and averages rebuilt from them, against direct sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gentune.bench.data.examples import Examples
from gentune.bench.training.averages import (
    WIDTHS,
    ExponentialProfile,
    LastWeights,
    PowerAverages,
    PowerProfile,
    Profile,
    Snapshot,
    coefficients,
    expected_error,
    gamma_of,
    rebuild,
    sigma_rel_of,
    update_weight,
)
from gentune.bench.training.loop import LoopSettings, StageTraining
from gentune.models import Batch, DataSpec
from gentune.models.diffusion.ddpm import DDPM

HALF_LIVES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def trajectory(steps: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[list[Tensor]]:
    """Tensors after steps 0, ..., steps of a noisy descent on a quadratic, its rate falling by a cosine."""
    generator = torch.Generator().manual_seed(seed)
    curvature = torch.logspace(-3, 0, 60, dtype=torch.float64)
    w = torch.randn(60, generator=generator, dtype=torch.float64)
    path = [w]
    for s in range(steps):
        rate = 0.3 * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * s / steps)))
        w = w - rate * (curvature * w + 0.3 * torch.randn(60, generator=generator, dtype=torch.float64))
        path.append(w)
    return [[w[:36].reshape(4, 9).to(dtype), w[36:].to(dtype)] for w in path]


def averaged(path: list[list[Tensor]], until: int) -> PowerAverages:
    averages = PowerAverages(path[0])
    for tensors in path[1 : until + 1]:
        averages.update(tensors)
    return averages


def direct(path: list[list[Tensor]], profile: Profile, step: int) -> Tensor:
    """The profile's average of the path by its sum, flat."""
    flat = torch.stack([torch.cat([t.flatten() for t in tensors]) for tensors in path[: step + 1]])
    return torch.from_numpy(profile.masses(step)) @ flat.double()


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors]).double()


def shapes(step: int, widths: tuple[float, ...] = WIDTHS) -> list[Snapshot]:
    """Snapshots without tensors: enough for coefficients."""
    profiles: list[Profile] = [*map(PowerProfile, widths), LastWeights()]
    return [Snapshot(profile, step, []) for profile in profiles]


def worst_error(step: int, targets: list[Profile], widths: tuple[float, ...] = WIDTHS) -> float:
    stored = shapes(step, widths)
    return max(expected_error(stored, coefficients(stored, t, step), t, step) for t in targets)


def exponentials(horizon: int) -> list[Profile]:
    return [ExponentialProfile(h, horizon) for h in HALF_LIVES]


@pytest.mark.parametrize("sigma_rel", [0.003, 0.05, 0.1, 0.25, math.sqrt(1 / 12)])
def test_width_and_exponent_are_each_others_inverse(sigma_rel: float) -> None:
    gamma = gamma_of(sigma_rel)
    assert sigma_rel_of(gamma) == pytest.approx(sigma_rel, rel=1e-9)
    # The width is what it says: the standard deviation of the step under the profile.
    steps = 20_000
    masses, s = PowerProfile(sigma_rel).masses(steps), (np.arange(steps + 1) - 0.5) / steps
    assert math.sqrt(masses @ s**2 - (masses @ s) ** 2) == pytest.approx(sigma_rel, rel=1e-4)


def test_the_papers_exponents() -> None:
    """arXiv:2312.02696, section 3: widths 0.05 and 0.10 have exponents 16.97 and 6.94."""
    assert gamma_of(0.05) == pytest.approx(16.97, abs=0.01)
    assert gamma_of(0.10) == pytest.approx(6.94, abs=0.01)


@pytest.mark.parametrize("sigma_rel", [0.01, 0.05, 0.25])
def test_updates_follow_the_power_rule_and_make_the_profile(sigma_rel: float) -> None:
    gamma, steps = gamma_of(sigma_rel), 60
    masses = np.zeros(steps + 1)
    masses[0] = 1.0
    for t in range(1, steps + 1):
        assert update_weight(gamma, t) == pytest.approx(1 - (1 - 1 / t) ** (gamma + 1), rel=1e-9)
        masses *= 1 - update_weight(gamma, t)
        masses[t] += update_weight(gamma, t)
    np.testing.assert_allclose(PowerProfile(sigma_rel).masses(steps), masses, atol=1e-13)
    assert masses[0] == 0.0


def test_the_exponential_is_a_recursive_average_without_its_beginning() -> None:
    """Against the recursion from nothing, divided by what is missing then: the mass 2^(-t / half-life)."""
    horizon, path = 120, trajectory(120)
    for half_life in (0.01, 0.05, 0.2):
        decay = 0.5 ** (1 / (half_life * horizon))
        average = torch.zeros_like(flat(path[0]))
        for s in range(1, horizon + 1):
            average = decay * average + (1 - decay) * flat(path[s])
        average /= 1 - decay**horizon
        torch.testing.assert_close(direct(path, ExponentialProfile(half_life, horizon), horizon), average)


def test_a_normalised_exponential_halves_with_every_half_life() -> None:
    masses = ExponentialProfile(0.1, 100).masses(60)
    assert masses.sum() == pytest.approx(1.0)
    assert masses[0] == 0.0
    np.testing.assert_allclose(masses[1:51] / masses[11:61], 0.5, rtol=1e-9)


@pytest.mark.parametrize("profile", [PowerProfile(0.1), ExponentialProfile(0.05, 50), LastWeights()])
@pytest.mark.parametrize("step", [1, 2, 50])
def test_masses_are_a_distribution(profile: Profile, step: int) -> None:
    masses = profile.masses(step)
    assert masses.shape == (step + 1,)
    assert (masses >= 0).all()
    assert masses.sum() == pytest.approx(1.0, abs=1e-12)


def test_running_averages_equal_their_sums() -> None:
    path = trajectory(150)
    for step in (1, 2, 60, 150):
        for snapshot in averaged(path, step).snapshots(path[step]):
            wanted = direct(path, snapshot.profile, step)
            torch.testing.assert_close(flat(snapshot.tensors), wanted, atol=1e-11, rtol=1e-10)


def test_a_stored_profile_is_given_back_exactly() -> None:
    path = trajectory(80, dtype=torch.float32)
    snapshots = averaged(path, 80).snapshots(path[80])
    for k, snapshot in enumerate(snapshots):
        combination = coefficients(snapshots, snapshot.profile, 80)
        np.testing.assert_array_equal(combination, np.eye(len(snapshots))[k])
        assert expected_error(snapshots, combination, snapshot.profile, 80) == 0.0
        for rebuilt, stored in zip(rebuild(snapshots, combination), snapshot.tensors, strict=True):
            assert rebuilt.dtype == torch.float32
            assert torch.equal(rebuilt, stored)


def test_a_half_life_of_zero_gives_the_last_weights_exactly() -> None:
    path = trajectory(30, dtype=torch.float32)
    snapshots = averaged(path, 30).snapshots(path[30])
    rebuilt = rebuild(snapshots, coefficients(snapshots, ExponentialProfile(0.0, 30), 30))
    assert all(torch.equal(a, b) for a, b in zip(rebuilt, path[30], strict=True))


@pytest.mark.parametrize("step", [1, 2, 3, 5, 10, 30])
def test_the_first_steps_are_no_trouble(step: int) -> None:
    """Profiles nearly or wholly coincide there; coefficients of thousands would multiply the tensors' rounding."""
    for target in (ExponentialProfile(0.1, 100), PowerProfile(0.12)):
        stored = shapes(step)
        combination = coefficients(stored, target, step)
        assert combination.sum() == pytest.approx(1.0)
        assert np.abs(combination).sum() < 50
        assert expected_error(stored, combination, target, step) < 0.05


def test_weights_that_stand_still_are_given_back() -> None:
    path = [[torch.full((3,), 7.0)]] * 41
    snapshots = averaged(path, 40).snapshots(path[40])
    for target in (ExponentialProfile(0.002, 40), ExponentialProfile(0.3, 40), PowerProfile(0.05)):
        (rebuilt,) = rebuild(snapshots, coefficients(snapshots, target, 40))
        torch.testing.assert_close(rebuilt, path[0][0])


@pytest.mark.parametrize("horizon", [270, 2500])
@pytest.mark.parametrize(("share", "bound"), [(0.1, 0.05), (0.4, 0.03), (1.0, 0.03)])
def test_averages_are_rebuilt_within_a_few_percent(horizon: int, share: float, bound: float) -> None:
    """Of the distance to the last weights."""
    step = round(share * horizon)
    powers: list[Profile] = [PowerProfile(s) for s in (0.02, 0.03, 0.05, 0.1, 0.15, 0.25)]
    for targets in (exponentials(horizon), powers):
        assert worst_error(step, targets) < bound


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_a_rebuilt_half_life_is_nearer_than_one_changed_by_a_tenth(share: float) -> None:
    """The scale for errors: half-lives of 0.050 and 0.055 differ more than a rebuilt average from the real one."""
    step = round(share * 1000)
    for half_life in HALF_LIVES:
        target, changed = (ExponentialProfile(h, 1000) for h in (half_life, 1.1 * half_life))
        stored = [Snapshot(changed, step, [])]
        difference = expected_error(stored, coefficients(stored, target, step), target, step)
        assert worst_error(step, [target]) < 0.7 * difference


def test_below_the_range_the_average_lies_between_the_last_weights_and_the_narrowest() -> None:
    step = 1000
    stored = shapes(step)
    for half_life in (0.0005, 0.001, 0.002, 0.003):
        target = ExponentialProfile(half_life, step)
        combination = coefficients(stored, target, step)
        assert 0.05 < expected_error(stored, combination, target, step) < 1.0
        assert combination[[0, -1]].min() > 0
        assert np.abs(combination[1:-1]).sum() < 0.5 * combination[[0, -1]].sum()


def test_two_widths_at_many_moments_do_not_reach_six_at_one() -> None:
    horizon = 1000
    moments = [Snapshot(PowerProfile(w), t, []) for t in range(100, 1001, 100) for w in (0.05, 0.10)]
    many = [*moments, Snapshot(LastWeights(), horizon, [])]
    targets = exponentials(horizon)
    error = max(expected_error(many, coefficients(many, t, horizon), t, horizon) for t in targets)
    assert len(many) == 3 * len(shapes(horizon))
    assert error > 10 * worst_error(horizon, targets)


def test_snapshots_of_several_steps_combine() -> None:
    """More snapshots never make the fit worse, and coefficients of early ones are for their own step's average."""
    path = trajectory(200)
    few = averaged(path, 200).snapshots(path[200])
    more = averaged(path, 100).snapshots(path[100]) + few
    for target in (ExponentialProfile(0.3, 200), ExponentialProfile(0.01, 200)):
        errors = [expected_error(s, coefficients(s, target, 200), target, 200) for s in (few, more)]
        assert errors[1] <= errors[0] * (1 + 1e-6)
        wanted = direct(path, target, 200)
        distance = (wanted - flat(path[200])).norm()
        assert (flat(rebuild(more, coefficients(more, target, 200))) - wanted).norm() < 0.05 * distance


@pytest.mark.parametrize("step", [400, 1000])
def test_rebuilt_weights_are_near_those_averaged_along_the_way(step: int) -> None:
    path = trajectory(1000)
    snapshots = averaged(path, step).snapshots(path[step])
    for target in exponentials(1000):
        wanted = direct(path, target, step)
        rebuilt = flat(rebuild(snapshots, coefficients(snapshots, target, step)))
        assert (rebuilt - wanted).norm() < 0.05 * (wanted - flat(path[step])).norm()


@pytest.mark.parametrize("until", [40, 100])
def test_the_loop_ends_ddpms_training_with_any_average(until: int) -> None:
    """Against the sum over the weights of all steps."""
    spec = DataSpec("toy", "vector", (2,))
    x = torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = DDPM(spec, width=8, timesteps=50)
    settings = LoopSettings(batch_size=64, gradient_clip=1.0, averages=True)
    training = StageTraining(model, model.stages()[-1], Examples.of(Batch(x)), settings, horizon=100, seed=0)

    def weights() -> Tensor:
        return flat([p.detach() for p in model.parameters()]).clone()

    path = torch.stack([weights() for _ in training.advance(until)])
    last = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def exponential(half_life: float) -> Tensor:
        masses = 0.5 ** (torch.arange(until - 1, -1, -1, dtype=torch.float64) / (100 * half_life))
        return masses @ path / masses.sum()

    for half_life in (0.02, 0.05, 0.1, 0.2):
        training.use_average(half_life)
        wanted = exponential(half_life)
        error = (weights() - wanted).norm()
        assert error < 0.05 * (path[-1] - wanted).norm()
        assert error < 0.5 * (exponential(1.1 * half_life) - wanted).norm()
        model.load_state_dict(last)
    training.use_average(0.0)
    assert torch.equal(weights(), path[-1])


@pytest.mark.parametrize("cut", [1, 37, 99])
def test_continuation_bit_for_bit(cut: int) -> None:
    path = trajectory(100, dtype=torch.float32)
    unbroken = averaged(path, 100)
    state = averaged(path, cut).state_dict()
    continued = PowerAverages([torch.full_like(t, math.nan) for t in path[0]])
    continued.load_state_dict(state)
    for tensors in path[cut + 1 :]:
        continued.update(tensors)
    a, b = unbroken.state_dict(), continued.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_state_and_snapshots_are_copies() -> None:
    path = trajectory(3)
    averages = averaged(path, 2)
    state, snapshots = averages.state_dict(), averages.snapshots(path[2])
    state_before = {k: v.clone() for k, v in state.items()}
    snapshots_before = [flat(s.tensors).clone() for s in snapshots]
    averages.update(path[3])
    assert all(torch.equal(state[k], v) for k, v in state_before.items())
    assert all(torch.equal(flat(s.tensors), v) for s, v in zip(snapshots, snapshots_before, strict=True))


def test_refuses_what_does_not_fit() -> None:
    path = trajectory(5)
    averages = averaged(path, 5)
    with pytest.raises(ValueError, match="missing or unknown"):
        PowerAverages(path[0][:1]).load_state_dict(averages.state_dict())
    with pytest.raises(ValueError, match="have widths"):
        PowerAverages(path[0], [0.01, 0.02, 0.04, 0.08, 0.16, 0.25]).load_state_dict(averages.state_dict())
    with pytest.raises(ValueError, match="float64"):
        PowerAverages([t.float() for t in path[0]]).load_state_dict(averages.state_dict())
    with pytest.raises(ValueError, match="each once"):
        PowerAverages(path[0], [0.1, 0.1])
    with pytest.raises(ValueError, match="before the first step"):
        PowerAverages(path[0]).snapshots(path[0])
    with pytest.raises(ValueError, match="step 5 cannot serve an average at step 4"):
        coefficients(averages.snapshots(path[5]), LastWeights(), 4)
    with pytest.raises(ValueError, match="no snapshots"):
        coefficients([], LastWeights(), 4)
    with pytest.raises(ValueError, match="width is in"):
        PowerProfile(0.3)
    with pytest.raises(ValueError, match="share of the horizon"):
        ExponentialProfile(-0.1, 10)
    with pytest.raises(ValueError, match="start at step 1"):
        LastWeights().masses(0)
