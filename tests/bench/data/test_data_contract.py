"""Built-in readers keep the contract, and the contract notices readers that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gentune.bench.data import DataReader, DataSet
from gentune.models import DataSpec
from gentune.testing import DataContract


class TestDigits(DataContract):
    reader = "digits"


class TestSprites(DataContract):
    reader = "sprites"


class TestCaptions(DataContract):
    reader = "captions"


class TestEightGaussians(DataContract):
    reader = "eight_gaussians"


class TestTwoMoons(DataContract):
    reader = "two_moons"


class TestCheckerboard(DataContract):
    reader = "checkerboard"


class TestGrammar(DataContract):
    reader = "grammar"
    repeats = True


class TestNoisyAr(DataContract):
    reader = "noisy_ar"
    repeats = True


class TestIris(DataContract):
    reader = "iris"


class TestDiabetes(DataContract):
    reader = "diabetes"


class Grid(DataReader):
    """Points of three levels; `fault` says what is wrong with them."""

    name = "grid"

    def describe(self, *, fault: str = "none") -> DataSpec:
        import torch  # the fault that all share

        assert torch is not None
        return DataSpec("grid", "image", (1, 2, 2), levels=1000)

    def read(self, spec: DataSpec, *, fault: str = "none") -> DataSet:
        from gentune.bench.data.examples import Examples

        drawn = np.random.default_rng(None if fault == "drawn again" else 3).permutation(1000)[:, None, None, None]
        k = drawn.repeat(2, axis=2).repeat(2, axis=3)
        train = k[:600]
        splits: dict[Any, Examples] = {
            "train": Examples.of_arrays(spec, train),
            "validation": Examples.of_arrays(spec, train[:5] if fault == "common" else k[600:800]),
            "test": Examples.of_arrays(spec, k[800:]),
        }
        if fault == "off the lattice":
            splits["test"] = Examples.of_arrays(spec, np.full((3, 1, 2, 2), 0.5003, dtype=np.float32))
        return DataSet(replace(spec, source="elsewhere") if fault == "another" else spec, splits)


def held(fault: str) -> DataContract:
    return type("Held", (DataContract,), {"reader": Grid(), "options": {"fault": fault}})()


@pytest.mark.parametrize(
    ("fault", "test", "said"),
    [
        ("none", DataContract.test_describing_imports_no_torch, "describing 'grid' imports"),
        ("another", DataContract.test_the_description_is_that_of_the_data, "differ in source"),
        ("common", DataContract.test_there_are_three_splits_without_common_examples, "stands in another split"),
        ("drawn again", DataContract.test_reading_again_gives_the_same, "gives other examples"),
        ("off the lattice", DataContract.test_values_are_those_that_the_description_allows, "lie on the lattice"),
    ],
)
def test_the_contract_notices(fault: str, test: Callable[[DataContract], None], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        test(held(fault))


def test_a_reader_of_a_test_keeps_the_rest() -> None:
    contract = held("none")
    contract.test_the_description_is_that_of_the_data()
    contract.test_there_are_three_splits_without_common_examples()
    contract.test_reading_again_gives_the_same()
    contract.test_values_are_those_that_the_description_allows()
    contract.test_conditions_are_those_that_the_description_allows()
    contract.test_any_process_opens_it_by_reference()
