"""Which checks of the family contract are slow: a family's other checks take at most 4 s together."""

from __future__ import annotations

import pytest

# Trainings that are kept and continued, for every family; tests of the driver cover the same path with tiny families.
_SLOW_CHECKS = ("test_continued_training_equals_an_unbroken_one", "test_stages_depend_on_what_they_say")
# Networks whose operations take long to count, whose densities to integrate, or that sample in many ways.
_EXPENSIVE = (
    "TestDdpm",
    "TestMaf",
    "TestNeuralSplineFlow",
    "TestProgressiveGan",
    "TestRealnvp",
    "TestStylegan",
    "TestTransformer",
    "TestVqVae",
)
_SLOW_IF_EXPENSIVE = (
    "test_its_operations_can_be_counted",
    "test_exact_densities_integrate_to_one",
    "test_every_sampling_choice_works",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks checks before `-m` selects by marks."""
    for item in items:
        owner, name = getattr(item, "cls", None), getattr(item, "originalname", item.name)
        if owner is None or item.path.name != "test_families.py":
            continue
        if name in _SLOW_CHECKS or (owner.__name__ in _EXPENSIVE and name in _SLOW_IF_EXPENSIVE):
            item.add_marker(pytest.mark.slow)
