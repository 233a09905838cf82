"""What every metric keeps: the contract between a card, its function and the inputs that it names."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import ClassVar

import pytest
import torch

from gentune.bench.metrics import INPUTS, METRICS, MetricCard, MetricValue, UndefinedError


class MetricContract:
    """Derive from it in a test module, name the card, plant inputs, and pytest runs the contract:

        class TestMine(MetricContract):
            card = MINE             # a MetricCard, or the name of a registered metric

            @classmethod
            def better(cls):        # inputs by name, `seed` among them where the metric draws
                return {"generated_x": REAL, "real_x": REAL, "seed": 0}

            @classmethod
            def worse(cls):
                return {"generated_x": NOISE, "real_x": REAL, "seed": 0}

            @classmethod
            def degenerate(cls):    # cases in which the metric is undefined, each with a name
                return {"one sample": {"generated_x": REAL[:1], "real_x": REAL, "seed": 0}}

    A metric without a better side gives any two inputs.
    """

    card: ClassVar[MetricCard | str]

    @classmethod
    def better(cls) -> Mapping[str, object]:
        """Inputs of samples that are clearly better than those of `worse`."""
        raise NotImplementedError(f"{cls.__name__} plants no better inputs")

    @classmethod
    def worse(cls) -> Mapping[str, object]:
        """Inputs of samples that are clearly worse than those of `better`."""
        raise NotImplementedError(f"{cls.__name__} plants no worse inputs")

    @classmethod
    def degenerate(cls) -> Mapping[str, Mapping[str, object]]:
        """Inputs of which the metric says nothing, by what is wrong with them."""
        raise NotImplementedError(f"{cls.__name__} names no inputs of which its metric is undefined")

    def test_the_card_needs_what_the_function_takes(self) -> None:
        card = self.the_card()
        assert tuple(inspect.signature(card.load()).parameters) == card.needs
        assert card.unit
        assert card.summary.endswith(".")

    def test_every_need_is_a_known_input(self) -> None:
        unknown = [need for need in self.the_card().needs if need not in INPUTS]
        assert not unknown, f"nothing provides {', '.join(unknown)}"

    def test_the_direction_is_right(self) -> None:
        better, worse = (self._value(inputs).value for inputs in (self.better(), self.worse()))
        direction = self.the_card().direction
        if direction == "lower":
            assert better < worse, f"lower is better, but the better inputs have {better:g}, the worse {worse:g}"
        elif direction == "higher":
            assert better > worse, f"higher is better, but the better inputs have {better:g}, the worse {worse:g}"

    def test_the_value_is_finite_and_lies_in_its_interval(self) -> None:
        for inputs in (self.better(), self.worse()):
            result = self._value(inputs)
            assert isinstance(result, MetricValue)
            assert math.isfinite(result.value)
            assert (result.low is None) == (result.high is None)
            if result.low is not None and result.high is not None:
                assert result.low <= result.value <= result.high

    def test_the_inputs_and_the_seed_decide(self) -> None:
        with torch.random.fork_rng(devices=[]):
            found = []
            for state in (1, 2):  # of the generator that all share, which no metric may draw from
                torch.manual_seed(state)
                before = torch.get_rng_state()
                found.append(self._value(self.worse()))
                assert torch.equal(torch.get_rng_state(), before), "the metric draws from the shared generator"
        assert found[0] == found[1]

    def test_degenerate_inputs_have_a_reason_and_no_number(self) -> None:
        assert self.degenerate(), "no degenerate inputs are given"
        for case, inputs in self.degenerate().items():
            try:
                result = self._value(inputs)
            except UndefinedError as reason:
                assert str(reason), f"{case}: undefined without a reason"
            else:
                pytest.fail(f"{case}: a value of {result.value:g}, where UndefinedError was wanted")

    @classmethod
    def the_card(cls) -> MetricCard:
        return METRICS[cls.card] if isinstance(cls.card, str) else cls.card

    def _value(self, inputs: Mapping[str, object]) -> MetricValue:
        card = self.the_card()
        return card.load()(**{need: inputs[need] for need in card.needs})
