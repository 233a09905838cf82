"""The mathematics of Gaussian diffusion, held against closed forms."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gentune.models.diffusion import gaussian_diffusion as diffusion
from gentune.models.diffusion.gaussian_diffusion import Denoiser, Target, Weighting
from gentune.models.diffusion.label_guidance import guide

SCHEDULES = list(diffusion.SCHEDULES)
WEIGHTINGS: tuple[Weighting, ...] = ("bound", "min_snr")
Oracle = Callable[[Tensor, float, float], Denoiser]
MEAN, DEVIATION = 0.5, 0.6  # of the Gaussian data whose denoiser is known


def levels(n: int, t: int) -> Tensor:
    return torch.full((n,), t)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("timesteps", [50, 100, 1000])
def test_schedules_fall_from_data_to_noise(name: str, timesteps: int) -> None:
    abar = diffusion.SCHEDULES[name](timesteps)
    assert abar.shape == (timesteps + 1,)
    assert abar[0] == 1.0
    assert torch.all(abar[1:] < abar[:-1])
    assert 1e-6 < abar[-1] < 1e-3


def test_linear_schedule_is_the_papers_and_scales_with_the_number_of_levels() -> None:
    abar = diffusion.linear_schedule(1000)
    beta = 1.0 - abar[1:] / abar[:-1]
    assert beta[0].item() == pytest.approx(1e-4)
    assert beta[-1].item() == pytest.approx(0.02)
    short = diffusion.linear_schedule(250)
    half_way = (abar[500].log() / short[125].log()).item()
    assert half_way == pytest.approx(1.0, abs=0.05)


def test_cosine_schedule_follows_its_formula_where_it_is_not_cut() -> None:
    abar = diffusion.cosine_schedule(100)
    f = [math.cos((t / 100 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(100)]
    for t in (1, 10, 50, 99):
        assert abar[t].item() == pytest.approx(f[t] / f[0], rel=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_marginals_equal_iterated_one_step_kernels(name: str) -> None:
    abar = diffusion.SCHEDULES[name](100)
    mean, variance = 1.0, 0.0
    x0, noise = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    for t in range(1, 101):
        alpha = (abar[t] / abar[t - 1]).item()
        mean, variance = mean * math.sqrt(alpha), variance * alpha + (1.0 - alpha)
        signal = diffusion.diffuse(x0, 0.0 * noise, abar, levels(1, t)).item()
        deviation = diffusion.diffuse(0.0 * x0, noise, abar, levels(1, t)).item()
        assert signal == pytest.approx(mean, rel=1e-9)
        assert deviation**2 == pytest.approx(variance, rel=1e-9)


@pytest.mark.parametrize(("s", "t"), [(1, 2), (9, 10), (20, 60), (0, 30)])
def test_posterior_is_gaussian_conditioning(s: int, t: int) -> None:
    abar = diffusion.cosine_schedule(60)
    x0, x_t = 0.7, -1.3
    a_s, a_t = abar[s].item(), abar[t].item()
    # Given x_0: Var x_s = 1 - a_s, Var x_t = 1 - a_t, Cov = sqrt(a_t / a_s) (1 - a_s).
    covariance = math.sqrt(a_t / a_s) * (1 - a_s)
    mean = math.sqrt(a_s) * x0 + covariance / (1 - a_t) * (x_t - math.sqrt(a_t) * x0)
    variance = (1 - a_s) - covariance**2 / (1 - a_t)
    got_mean, got_variance = diffusion.posterior(
        torch.full((1, 1), x0, dtype=torch.float64),
        torch.full((1, 1), x_t, dtype=torch.float64),
        abar,
        levels(1, s),
        levels(1, t),
    )
    assert got_mean.item() == pytest.approx(mean, abs=1e-9)
    assert got_variance.item() == pytest.approx(variance, abs=1e-9)


@pytest.mark.parametrize("target", ["noise", "v", "x0"])
def test_targets_stand_for_the_clean_example(target: Target) -> None:
    abar = diffusion.cosine_schedule(100)
    generator = torch.Generator().manual_seed(0)
    t = torch.tensor([1, 7, 50, 90])
    x0, noise = (torch.randn(4, 1, 2, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    x_t = diffusion.diffuse(x0, noise, abar, t)
    prediction = diffusion.target_of(target, x0, noise, abar, t)
    assert torch.allclose(diffusion.x0_from(target, prediction, x_t, abar, t), x0, atol=1e-9)
    assert torch.allclose(diffusion.noise_from_x0(x0, x_t, abar, t), noise, atol=1e-9)


@pytest.mark.parametrize("target", ["noise", "v", "x0"])
def test_guiding_any_target_guides_the_noise(target: Target) -> None:
    abar = diffusion.cosine_schedule(100)
    generator = torch.Generator().manual_seed(0)
    t = levels(4, 60)
    x_t, without, given = (torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(3))

    def noise_of(prediction: Tensor) -> Tensor:
        x0 = diffusion.x0_from(target, prediction, x_t, abar, t)
        return diffusion.noise_from_x0(x0, x_t, abar, t)

    guided = noise_of(guide(without, given, 3.0))
    expected = noise_of(without) + 3.0 * (noise_of(given) - noise_of(without))
    assert torch.allclose(guided, expected, atol=1e-8)
    assert torch.equal(guide(without, given, 0.0), without)
    assert torch.allclose(guide(without, given, 1.0), given)


def test_the_bound_is_below_the_density_of_a_gaussian_and_tight(oracle: Oracle) -> None:
    generator = torch.Generator().manual_seed(0)
    x0 = MEAN + DEVIATION * torch.randn(20_000, 1, generator=generator)
    negative_entropy = -0.5 * math.log(2 * math.pi * math.e * DEVIATION**2)
    gaps = {}
    for variance in ("posterior", "forward"):
        abar = diffusion.cosine_schedule(300)
        kl, drawn = diffusion.stratified_step_kl(
            oracle(abar, MEAN, DEVIATION),
            x0,
            abar,
            first=2,
            count=15,
            variance=variance,
            generator=generator,
        )
        assert drawn <= 15
        t = levels(len(x0), 1)
        x_1 = diffusion.diffuse(x0, torch.randn(x0.shape, generator=generator), abar, t)
        decoder = torch.distributions.Normal(oracle(abar, MEAN, DEVIATION)(x_1, t), float((1 - abar[1]).sqrt()))
        bound = decoder.log_prob(x0)[:, 0] - kl - diffusion.prior_kl(x0, abar)
        gaps[variance] = negative_entropy - bound.mean().item()
        error = bound.std().item() / math.sqrt(len(x0))
        assert gaps[variance] > -3 * error
    # Smooth data: the forward kernel's variance is the right one, the posterior's costs at the first levels.
    assert gaps["forward"] < 0.03
    assert gaps["forward"] < gaps["posterior"] < 0.6


@pytest.mark.parametrize("variance", ["posterior", "forward"])
def test_step_kl_is_the_divergence_of_its_gaussians(variance: diffusion.Variance) -> None:
    abar = diffusion.cosine_schedule(80)
    x0, estimate, x_t = (torch.tensor([[a, b]], dtype=torch.float64) for a, b in ((0.3, -1.0), (0.1, 0.4), (1.0, 2.0)))
    for t in (2, 30, 80):
        s_, t_ = levels(1, t - 1), levels(1, t)
        mean_q, variance_q = diffusion.posterior(x0, x_t, abar, s_, t_)
        mean_p, _ = diffusion.posterior(estimate, x_t, abar, s_, t_)
        variance_p = diffusion.step_variance(variance, abar, s_, t_, x_t)
        q = torch.distributions.Normal(mean_q, variance_q.sqrt())
        p = torch.distributions.Normal(mean_p, variance_p.sqrt())
        expected = torch.distributions.kl_divergence(q, p).sum().item()
        assert diffusion.step_kl(x0, estimate, abar, t_, variance).item() == pytest.approx(expected, rel=1e-6)


def test_prior_kl_is_the_divergence_of_its_gaussians() -> None:
    abar = diffusion.linear_schedule(10)
    x0 = torch.tensor([[0.3, -2.0]], dtype=torch.float64)
    last = abar[-1].item()
    q = torch.distributions.Normal(math.sqrt(last) * x0, math.sqrt(1.0 - last))
    p = torch.distributions.Normal(torch.zeros_like(x0), 1.0)
    expected = torch.distributions.kl_divergence(q, p).sum().item()
    assert diffusion.prior_kl(x0, abar).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("first", "last", "count"), [(2, 100, 15), (7, 500, 15), (2, 5, 15), (2, 2, 1), (3, 1000, 1)])
def test_strata_partition_the_levels(first: int, last: int, count: int) -> None:
    runs = diffusion.strata(first, last, count)
    covered = [t for low, high in runs for t in range(low, high)]
    assert covered == list(range(first, last + 1))
    assert len(runs) <= count


def test_stratified_estimate_is_unbiased() -> None:
    abar = diffusion.cosine_schedule(200)
    x0 = torch.zeros(30_000, 1)

    def wrong_by_a_known_amount(x_t: Tensor, t: Tensor) -> Tensor:
        return (0.01 * t.to(x_t.dtype)).view(-1, 1)

    generator = torch.Generator().manual_seed(0)
    estimate, _ = diffusion.stratified_step_kl(wrong_by_a_known_amount, x0, abar, first=2, count=8, generator=generator)
    t = torch.arange(2, 201)
    exact = diffusion.step_kl(torch.zeros(199, 1), 0.01 * t[:, None].float(), abar, t).sum().item()
    error = estimate.std().item() / math.sqrt(len(x0))
    assert estimate.mean().item() == pytest.approx(exact, abs=4 * error)


@pytest.mark.parametrize("levels_", [2, 17, 256])
@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 0.3), (-1.4, 0.05), (0.97, 0.004), (0.2, 3.0)])
def test_discretised_gaussian_sums_to_1(levels_: int, mean: float, deviation: float) -> None:
    k = torch.arange(levels_)
    log_prob = diffusion.discretised_gaussian_log_prob(k, torch.full((levels_,), mean), deviation, levels_)
    assert torch.isfinite(log_prob).all()
    assert log_prob.exp().sum().item() == pytest.approx(1.0, abs=1e-5)


def test_discretised_gaussian_keeps_its_digits_far_out() -> None:
    k = torch.tensor([1, 15])
    far = diffusion.discretised_gaussian_log_prob(k, torch.zeros(2), 0.02, 17)
    # The near edge is 40.6 deviations out: the log of that tail is about -z^2 / 2 - log(z sqrt(2 pi)).
    z = (1 - 2 / 16 - 1 / 16) / 0.02
    assert far[0].item() == pytest.approx(-(z**2) / 2 - math.log(z * math.sqrt(2 * math.pi)), abs=0.01)
    assert far[0].item() == pytest.approx(far[1].item(), rel=1e-6)


def test_the_first_level_follows_the_lattice() -> None:
    abar = diffusion.linear_schedule(1000)
    assert diffusion.first_level(abar, None) == 1
    assert diffusion.first_level(abar, 256) == 1  # the paper's own case
    first = diffusion.first_level(abar, 17)
    spacing = 2 / 16
    assert (1 - abar[first]).sqrt().item() < 0.4 * spacing <= (1 - abar[first + 1]).sqrt().item()


def test_the_decoder_is_narrower_than_the_noise_where_a_lattice_is_visible_alone() -> None:
    abar = diffusion.linear_schedule(1000)
    for levels in (None, 256):
        assert diffusion.decoder_deviation(abar, levels) == pytest.approx(float((1 - abar[1]).sqrt()))
    first = diffusion.first_level(abar, 17)
    assert diffusion.decoder_deviation(abar, 17) == pytest.approx(0.6 * float((1 - abar[first]).sqrt()))


@pytest.mark.parametrize("target", ["noise", "v", "x0"])
def test_weights_ask_for_the_same_error_of_the_example_whatever_the_target(target: Target) -> None:
    abar = diffusion.linear_schedule(100)
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(1, 101)
    x0, noise, wrong = (torch.randn(100, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    x_t = diffusion.diffuse(x0, noise, abar, t)
    estimate = x0 + 0.1 * wrong
    implied = diffusion.target_of(target, estimate, diffusion.noise_from_x0(estimate, x_t, abar, t), abar, t)
    error = ((implied - diffusion.target_of(target, x0, noise, abar, t)) ** 2).sum(1)
    of_x0 = ((estimate - x0) ** 2).sum(1)
    wanted = {
        "bound": diffusion.step_kl(x0, estimate, abar, t),
        "min_snr": of_x0 * (abar[1:] / (1.0 - abar[1:])).clamp(max=5.0),
    }
    for weighting in WEIGHTINGS:
        weights = diffusion.loss_weights(weighting, target, abar, t).double()
        assert weights.mean().item() == pytest.approx(1.0, rel=1e-5)
        shares = (weights * error / wanted[weighting])[1:]  # of the bound, the first level is decoded
        assert torch.allclose(shares, shares[0].expand_as(shares), rtol=1e-3)
    assert torch.equal(diffusion.loss_weights("simple", target, abar, t), torch.ones(100))


def test_the_sigmoid_schedule_is_the_papers() -> None:
    abar = diffusion.sigmoid_schedule(1000)
    middle = (1.0 / (1.0 + math.exp(-3.0)) - 0.5) / (1.0 / (1.0 + math.exp(-3.0)) - 1.0 / (1.0 + math.exp(3.0)))
    assert abar[500].item() == pytest.approx(middle, rel=1e-6)
