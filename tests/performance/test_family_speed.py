"""The clock of `family_speed.py`, on calls whose speed is known, and that every pair does what it says."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType

import pytest

from gentune.models.diffusion.ddpm import DDPM


@pytest.fixture(scope="module")
def family_speed(performance_script: Callable[[str], ModuleType]) -> ModuleType:
    return performance_script("family_speed")


def test_a_call_of_half_the_time_has_half_the_ratio(family_speed: ModuleType) -> None:
    found = family_speed.compare(lambda: time.sleep(0.005), lambda: time.sleep(0.01), rounds=6, seconds=0.02)
    assert found["low"] <= found["ratio"] <= found["high"]
    assert 0.4 < found["ratio"] < 0.75
    assert found["ours_ms"] < found["theirs_ms"]


# Next to packages that developers need not install.
PEERS = {"autoencoder": "pythae", "vae": "pythae", "vq_vae": "pythae", "glow": "normflows"}
DIFFUSION = {f"ddpm-{side}": side for side in (8, 16, 32)}  # diffusers' import takes seconds
FULL_PASSES = ("gated_pixel_cnn", "transformer")  # samples by full passes, which take long


def test_every_pair_runs_on_both_sides(family_speed: ModuleType) -> None:
    names = [name for name in family_speed.PAIRS if name not in (*PEERS, *DIFFUSION, *FULL_PASSES)]
    assert len(names) >= 7
    for name in names:
        pair = family_speed.PAIRS[name]()
        assert "train" in pair.parts, name
        for ours, theirs in pair.parts.values():
            assert ours() is not None
            assert theirs() is not None


@pytest.mark.slow
def test_full_passes_give_the_same_samples(family_speed: ModuleType) -> None:
    for name in FULL_PASSES:
        ours, theirs = (side() for side in family_speed.PAIRS[name]().parts["sample"])
        assert (ours == theirs).flatten(1).all(1).float().mean() > 0.95, name  # but for round-off next to a uniform


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_pairs_with_optional_packages_run_on_both_sides(family_speed: ModuleType, name: str) -> None:
    pytest.importorskip(PEERS[name])
    pair = family_speed.PAIRS[name]()
    assert "train" in pair.parts
    for sides in pair.parts.values():
        for side in sides:
            side()


@pytest.mark.slow
def test_diffusers_model_has_as_many_parameters(
    family_speed: ModuleType, performance_script: Callable[[str], ModuleType]
) -> None:
    speed_diffusion = performance_script("speed_diffusion")
    for side in DIFFUSION.values():
        ours = DDPM(speed_diffusion.images_of(side))
        counts = [sum(p.numel() for p in model.parameters()) for model in (ours, speed_diffusion.rival(side))]
        assert counts[1] == pytest.approx(counts[0], rel=0.02)
    for sides in family_speed.PAIRS["ddpm-8"]().parts.values():
        for side in sides:
            assert side() is not None
