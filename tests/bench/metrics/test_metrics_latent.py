"""Codes: mutual information gap, disentanglement, path length; closed forms, torch-fidelity, edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch import Tensor

from gentune.bench._torchvision import make_importable
from gentune.bench.metrics import UndefinedError
from gentune.bench.metrics.latent import (
    _steps,
    dci,
    dci_scores,
    disentanglement_and_completeness,
    interpolate,
    mig,
    path_length,
)


def path_ends(n: int, dimensions: int, epsilon: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Standard normal codes z, and a step of ε from them to independent ones (Karras et al., arXiv:1812.04948)."""
    generator = torch.Generator().manual_seed(seed)
    z, other = torch.randn(2, n, dimensions, generator=generator, dtype=torch.float64).unbind()
    return z, interpolate(z, other, epsilon)


def factors(n: int = 1_200) -> Tensor:
    """All of 5 × 4 × 3 values, equally often: independent factors."""
    index = torch.arange(n)
    return torch.stack([index % 5, index // 5 % 4, index // 20 % 3], dim=1)


def noise(n: int, c: int, seed: int) -> Tensor:
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


V = factors()
ROTATION = torch.linalg.qr(noise(3, 3, 0)).Q
ALIGNED = V.double() / V.double().std(0)
CASES = {"aligned": ALIGNED, "rotated": ALIGNED @ ROTATION, "random": noise(1_200, 3, 1)}


# MIG


def test_mig_of_a_code_for_each_factor_is_one() -> None:
    assert mig(ALIGNED, V).value == pytest.approx(1.0, rel=1e-9)
    assert mig(ALIGNED[:, :1], V[:, :1]).value == pytest.approx(1.0, rel=1e-9)


def test_mig_falls_with_rotation_and_noise() -> None:
    aligned, rotated, random = (mig(CASES[name], V).value for name in ("aligned", "rotated", "random"))
    assert aligned > rotated + 0.3
    assert random < 0.03


def test_mig_of_a_doubled_code_is_zero() -> None:
    assert mig(torch.cat([ALIGNED, ALIGNED], dim=1), V).value == pytest.approx(0.0, abs=1e-12)


def test_mig_by_scikit_learns_mutual_information() -> None:
    codes = CASES["rotated"] + 0.2 * noise(1_200, 3, 3)
    gaps = []
    for factor in V.T.numpy():
        of_codes = sorted(
            mutual_info_score(np.digitize(code, np.linspace(code.min(), code.max(), 21)[1:-1]), factor)
            for code in codes.T.numpy()
        )
        gaps.append((of_codes[-1] - of_codes[-2]) / mutual_info_score(factor, factor))
    assert mig(codes, V).value == pytest.approx(np.mean(gaps), rel=1e-6)


def test_steps_are_equal_and_hold_both_ends() -> None:
    assert _steps(np.arange(20.0)).tolist() == list(range(20))
    assert _steps(np.array([0.0, 0.049, 0.051, 1.0])).tolist() == [0, 0, 1, 19]
    assert _steps(np.ones(3)).tolist() == [0, 0, 0]


def test_constant_factors_and_dead_codes_are_left_out() -> None:
    wider = torch.cat([V, torch.full((1_200, 1), 7)], dim=1)
    dead = torch.cat([ALIGNED, torch.ones(1_200, 1, dtype=torch.float64)], dim=1)
    assert mig(dead, wider).value == pytest.approx(1.0, rel=1e-9)
    assert dci(dead, wider, 0).value == pytest.approx(1.0, abs=1e-9)


# DCI


def test_dci_of_a_code_for_each_factor_is_one() -> None:
    result = dci_scores(ALIGNED, V, 0)
    assert (result.disentanglement, result.completeness, result.informativeness) == pytest.approx((1.0, 1.0, 1.0))
    assert dci(ALIGNED, V, 0).value == result.disentanglement


def test_dci_falls_with_rotation_and_noise() -> None:
    aligned, rotated, random = (dci_scores(CASES[name], V, 0) for name in ("aligned", "rotated", "random"))
    assert aligned.disentanglement > rotated.disentanglement + 0.3 > random.disentanglement + 0.3
    assert random.disentanglement < 0.05
    assert rotated.informativeness > random.informativeness + 0.3
    assert random.informativeness == pytest.approx((1 / 5 + 1 / 4 + 1 / 3) / 3, abs=0.06)


def test_a_code_of_several_factors_is_complete_but_not_disentangled() -> None:
    joint = (V[:, 0] + 5 * V[:, 1])[:, None].double()
    result = dci_scores(joint, V[:, :2], 0)
    assert result.disentanglement == pytest.approx(0.0, abs=1e-9)  # the one code is as important for either
    assert result.completeness == pytest.approx(1.0)
    assert result.informativeness == pytest.approx(1.0)


def test_disentanglement_and_completeness_closed_form() -> None:
    importances = np.array([[0.8, 0.2], [0.0, 0.5], [0.2, 0.3], [0.0, 0.0]])

    def h(p: list[float], base: int) -> float:
        return -sum(q * math.log(q) for q in p if q) / math.log(base)

    disentanglement = 0.5 * (1 - h([0.8, 0.2], 2)) + 0.25 * 1.0 + 0.25 * (1 - h([0.4, 0.6], 2))
    completeness = 0.5 * (1 - h([0.8, 0.2], 4)) + 0.5 * (1 - h([0.2, 0.5, 0.3], 4))
    assert disentanglement_and_completeness(importances) == pytest.approx((disentanglement, completeness), rel=1e-12)
    assert disentanglement_and_completeness(np.zeros((3, 2))) == (0.0, 0.0)


def test_the_seed_settles_dci() -> None:
    codes = CASES["rotated"]
    assert dci(codes, V, 3) == dci(codes, V, 3)
    assert dci(codes, V, 3) != dci(codes, V, 4)


@pytest.mark.parametrize("metric", [mig, lambda codes, factors: dci(codes, factors, 0)])
def test_undefined_codes_and_factors(metric: object) -> None:
    assert callable(metric)
    for codes, of, reason in (
        (ALIGNED[:50], V[:50], "at least 100"),
        (torch.ones(1_200, 3), V, "codes are equal"),
        (ALIGNED * math.nan, V, "not finite"),
        (ALIGNED, torch.ones(1_200, 2).long(), "no factor varies"),
    ):
        with pytest.raises(UndefinedError, match=reason):
            metric(codes, of)
    with pytest.raises(ValueError, match="integers"):
        metric(ALIGNED, V.double())
    with pytest.raises(ValueError, match="wanted"):
        metric(ALIGNED, V[:5])


def test_dci_needs_two_factors() -> None:
    with pytest.raises(UndefinedError, match="2 factors"):
        dci(ALIGNED, V[:, :1], 0)


# Path length


def test_path_length_of_a_linear_decoder() -> None:
    """|A(z' - z)|² on the way from z to z': the mean over all pairs is 2 tr(AᵀA), but for the trimming."""
    decoder = noise(4, 6, 5)
    a, b = path_ends(20_000, 4, 1e-4, 0)
    result = path_length(a @ decoder, b @ decoder, 1e-4)
    exact = 2 * float((decoder.T @ decoder).trace())
    assert 0.93 * exact < result.value < exact  # the longest 1% weigh more than the shortest
    assert path_length(2 * a @ decoder, 2 * b @ decoder, 1e-4).value == pytest.approx(4 * result.value, rel=1e-9)
    assert result.low is not None
    assert result.low < result.value


def test_path_length_by_torch_fidelity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own run over a generator, with squared pixel distances in place of LPIPS."""
    make_importable()
    percentile = np.percentile  # torch-fidelity 0.4 names the method as numpy did before version 2.4
    monkeypatch.setattr(np, "percentile", lambda x, q, interpolation: percentile(x, q, method=interpolation))
    from torch_fidelity.generative_model_modulewrapper import GenerativeModelModuleWrapper
    from torch_fidelity.metric_ppl import KEY_METRIC_PPL_MEAN, calculate_ppl
    from torch_fidelity.registry import register_sample_similarity
    from torch_fidelity.sample_similarity_base import SampleSimilarityBase

    class Squared(SampleSimilarityBase):
        def __init__(self, name: str, **_: object) -> None:
            super().__init__(name)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (a.double() - b.double()).square().sum(dim=(1, 2, 3))

    class Decoder(torch.nn.Module):
        seen: list[Tensor]

        def forward(self, z: Tensor) -> Tensor:
            weights = noise(4, 12, 6)
            pictures = (z.double() @ weights).tanh().reshape(-1, 3, 2, 2)
            self.seen.append(pictures)
            return pictures

    register_sample_similarity("squared-pixels-of-this-test", Squared)
    decoder = Decoder()
    decoder.seen = []
    oracle = calculate_ppl(
        1,
        input1=GenerativeModelModuleWrapper(decoder, 4, "normal", 0),
        input1_model_num_samples=300,
        ppl_sample_similarity="squared-pixels-of-this-test",
        ppl_epsilon=1e-2,
        batch_size=300,
        cuda=False,
        verbose=False,
        rng_seed=3,
    )[KEY_METRIC_PPL_MEAN]
    monkeypatch.undo()
    a, b = decoder.seen[-1].flatten(1).chunk(2)
    assert path_length(a, b, 1e-2).value == pytest.approx(oracle, rel=1e-6)


def test_path_length_prefers_the_smoother_decoder() -> None:
    a, b = path_ends(500, 4, 1e-3, 1)
    rough, smooth = (path_length((k * a).sin(), (k * b).sin(), 1e-3) for k in (20.0, 1.0))
    assert smooth.high is not None
    assert rough.low is not None
    assert smooth.high < rough.low


def test_path_length_interval_holds_the_truth_as_often_as_it_says() -> None:
    def one(n: int, seed: int) -> tuple[Tensor, Tensor]:
        return path_ends(n, 3, 1e-3, seed)

    truth = path_length(*one(400_000, 999), 1e-3).value
    held = 0
    for seed in range(300):
        result = path_length(*one(400, seed), 1e-3)
        assert result.low is not None
        assert result.high is not None
        held += result.low < truth < result.high
    assert 0.91 < held / 300 < 0.98


def test_a_lattice_has_no_path_length() -> None:
    a, b = path_ends(500, 4, 1e-4, 1)
    with pytest.raises(UndefinedError, match="lattice"):
        path_length((8 * a).round(), (8 * b).round(), 1e-4)


def test_undefined_paths() -> None:
    a = noise(10, 3, 0)
    with pytest.raises(UndefinedError, match="2 pairs"):
        path_length(a[:1], a[:1], 1e-4)
    with pytest.raises(UndefinedError, match="not finite"):
        path_length(a * math.nan, a, 1e-4)
    with pytest.raises(ValueError, match="more than 0"):
        path_length(a, a, 0.0)
    with pytest.raises(ValueError, match="wanted"):
        path_length(a, a[:5], 1e-4)


@pytest.mark.parametrize(("mode", "theirs"), [("lerp", "lerp"), ("slerp", "slerp_any")])
def test_interpolation_by_torch_fidelity(mode: str, theirs: str) -> None:
    make_importable()
    from torch_fidelity.utils import batch_interp

    a, b = noise(20, 5, 1), noise(20, 5, 2)
    a[0] = 3 * b[0]  # on one line, where the angle is zero
    for t in (0.0, 1e-4, 0.3, 1.0):
        ours = interpolate(a, b, t, mode=mode)  # type: ignore[arg-type]
        assert torch.allclose(ours, batch_interp(a.clone(), b.clone(), t, theirs), rtol=1e-9, atol=1e-12)


def test_slerp_keeps_to_the_sphere() -> None:
    a, b = (torch.nn.functional.normalize(noise(50, 5, seed)) for seed in (1, 2))
    assert torch.allclose(interpolate(a, b, 0.4, mode="slerp").norm(dim=1), torch.ones(50, dtype=torch.float64))
