"""The family contract over every family that ships."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from gentune.models import Batch, DataSpec, GenerativeModel, Likelihood, LikelihoodKind, Stage
from gentune.models.likelihoods import standard_normal_log_prob
from gentune.search_spaces import load_card, shipped_cards
from gentune.search_spaces.card import parse_card
from gentune.testing import FamilyContract

for _path in shipped_cards():
    _card = load_card(_path)
    _name = "Test" + _card.name.title().replace("_", "")
    globals()[_name] = type(_name, (FamilyContract,), {"card": _card, "__module__": __name__})


# --- the contract itself: a family that breaks it is caught -------------------------------------------------

_CARD = """
[family]
name = "constant"
group = "tests"
summary = "the same value everywhere"
class = "nowhere:Constant"
kinds = ["vector"]
likelihood = "exact"

[train.scale]
type = "float"
low = 0.5
high = 2.0
default = 1.0
"""


class _Sound(GenerativeModel):
    """A Gaussian whose deviation is fixed."""

    def __init__(self, data: DataSpec, *, scale: float = 1.0) -> None:
        super().__init__(data)
        self.scale = scale

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("nothing", fit=lambda data, generator: 0.0),)

    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator) -> Tensor:
        return self.scale * torch.randn(n, *self.data.shape, generator=generator)

    def log_likelihood(self, batch: Batch) -> Likelihood:
        log_prob = standard_normal_log_prob(batch.x / self.scale) - self.data.dimensions * math.log(self.scale)
        return Likelihood(log_prob, LikelihoodKind.EXACT)


class _OtherDefault(_Sound):
    def __init__(self, data: DataSpec, *, scale: float = 1.5) -> None:
        super().__init__(data, scale=scale)


class _NotNormalised(_Sound):
    def log_likelihood(self, batch: Batch) -> Likelihood:
        return Likelihood(-0.5 * batch.x.square().sum(1), LikelihoodKind.EXACT)


class _OwnRandomness(_Sound):
    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator) -> Tensor:
        return torch.randn(n, *self.data.shape)


class TestSound(FamilyContract):
    card = parse_card(_CARD, "constant.toml")
    family = _Sound


def _contract(family: type[GenerativeModel]) -> FamilyContract:
    contract = type("Contract", (FamilyContract,), {"card": TestSound.card, "family": family})
    return contract()


def test_another_default_is_caught() -> None:
    with pytest.raises(AssertionError, match="scale: defaults differ"):
        _contract(_OtherDefault).test_constructor_takes_what_the_card_lists()


def test_a_density_that_is_not_normalised_is_caught() -> None:
    with pytest.raises(AssertionError):
        _contract(_NotNormalised).test_exact_densities_integrate_to_one()


def test_global_randomness_is_caught() -> None:
    contract = _contract(_OwnRandomness)
    with pytest.raises(AssertionError):
        contract.test_samples_are_determined_by_the_generator(contract.specs()[0])
