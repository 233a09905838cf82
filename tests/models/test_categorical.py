"""Draws from a softmax by inversion."""

from __future__ import annotations

import pytest
import torch

from gentune.models.nets.categorical import draw

LOGITS = torch.tensor([0.1, 0.2, 0.4, 0.3, 0.0]).log()[None]  # the last category has no mass


def shares(**cut: float) -> list[float]:
    """How often each category is drawn at uniforms on a grid."""
    uniforms = (torch.arange(1000) + 0.5) / 1000
    k = draw(LOGITS.expand(1000, -1), uniforms, **cut)  # type: ignore[arg-type]
    return (torch.bincount(k, minlength=5) / 1000).tolist()


def test_shares_are_the_softmax() -> None:
    assert shares() == pytest.approx([0.1, 0.2, 0.4, 0.3, 0.0], abs=1e-3)


def test_temperature_raises_probabilities_to_a_power() -> None:
    squares = [0.01 / 0.3, 0.04 / 0.3, 0.16 / 0.3, 0.09 / 0.3, 0.0]
    assert shares(temperature=0.5) == pytest.approx(squares, abs=1.1e-3)


def test_top_k_keeps_the_likeliest() -> None:
    assert shares(top_k=2) == pytest.approx([0.0, 0.0, 4 / 7, 3 / 7, 0.0], abs=1.1e-3)
    assert shares(top_k=1) == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert shares(top_k=9) == shares()


def test_top_p_keeps_the_fewest_that_reach_p() -> None:
    assert shares(top_p=0.69) == pytest.approx([0.0, 0.0, 4 / 7, 3 / 7, 0.0], abs=1.1e-3)
    assert shares(top_p=0.71) == pytest.approx([0.0, 2 / 9, 4 / 9, 3 / 9, 0.0], abs=1.1e-3)
    assert shares(top_p=1e-6) == [0.0, 0.0, 1.0, 0.0, 0.0]


def test_top_p_counts_what_top_k_leaves() -> None:
    assert shares(top_k=2, top_p=0.5) == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert shares(top_k=2, top_p=0.6) == pytest.approx([0.0, 0.0, 4 / 7, 3 / 7, 0.0], abs=1.1e-3)


def test_the_largest_uniform_draws_the_last_category_with_mass() -> None:
    largest = torch.nextafter(torch.ones(1), torch.zeros(1))
    assert draw(LOGITS, largest).item() == 3
    assert draw(LOGITS, torch.ones(1)).item() == 3
    assert draw(LOGITS, torch.zeros(1)).item() == 0


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        draw(LOGITS, torch.zeros(1), **wrong)  # type: ignore[arg-type]
