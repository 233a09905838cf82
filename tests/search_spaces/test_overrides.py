"""What a study changes in cards: what comes of it, what is said of it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from gentune.search_spaces import FamilyCard
from gentune.search_spaces.card import parse_card
from gentune.search_spaces.overrides import OverrideError, changed_cards, start_setting

TEXT = """
training = ["ema_half_life"]
[family]
name = "toy"
group = "test"
summary = "a toy"
class = "toy:Toy"
kinds = ["vector"]
[family.steps]
vector = 50
[train.width]
type = "int"
low = 8
high = 64
scale = "log"
default = 16
[train.rate]
type = "float"
low = 1e-4
high = 1e-1
scale = "log"
default = 0.01
likely = [1e-3, 3e-2]
[train.norm]
type = "categorical"
choices = ["none", "layer", "batch"]
default = "batch"
[train.momentum]
type = "float"
low = 0.0
high = 1.0
default = 0.1
when = { norm = ["batch", "layer"] }
[sample.temperature]
type = "float"
low = 0.5
high = 1.2
default = 1.0
"""
FITTED = TEXT.replace("toy", "fitted").replace('training = ["ema_half_life"]', "").replace("vector = 50", "")
FITTED = FITTED.replace("[family.steps]", "").replace("[train.rate]", "[train.speed]")


def card_with(changes: dict[str, Any]) -> FamilyCard:
    return changed_cards({"toy": parse_card(TEXT, "toy.toml")}, {"toy": changes})["toy"].card


def test_without_changes_a_card_stays_as_it_is() -> None:
    card = parse_card(TEXT, "toy.toml")
    assert changed_cards({"toy": card}, {})["toy"].card is card


def test_a_range_is_narrowed_and_what_falls_out_of_it_moves_to_its_end() -> None:
    card = parse_card(TEXT, "toy.toml")
    changed = changed_cards({"toy": card}, {"toy": {"rate": {"low": 0.02, "high": 0.05, "scale": "linear"}}})["toy"]
    rate = changed.card.space["rate"]
    assert (rate.low, rate.high, rate.log, rate.default, rate.likely) == (0.02, 0.05, False, 0.02, (0.02, 0.03))
    assert changed.told == ("rate: float from 0.02 to 0.05; default 0.02, since 0.01 is out of this range",)
    assert changed.beyond == ()
    assert card_with({"rate": {"low": 0.05}}).space["rate"].likely == ()  # nothing of it is left
    assert card_with({"width": {"choices": [8, 20, 32]}}).space["width"].default == 20
    assert card_with({"norm": {"choices": ["layer", "none"]}}).space["norm"].default == "layer"


def test_a_fixed_parameter_has_one_value_in_every_setting() -> None:
    space = card_with({"width": {"fix": 32}, "norm": {"fix": "layer"}, "temperature": {"fix": 1}}).space
    assert space.default() | {"width": 32, "norm": "layer", "temperature": 1.0} == space.default()
    for name in ("width", "norm", "temperature"):
        others = [v for v in (8, 64, "none", "batch", 0.5) if space[name].contains(v)]
        assert others == []
    assert isinstance(space["temperature"].default, float)
    assert card_with({"rate": {"fix": 0}}).space["rate"].default == 0.0  # a log scale of one value needs no logarithm


def test_parameters_of_the_training_loop_can_be_changed_whether_or_not_the_card_searches_them() -> None:
    searched = card_with({"batch_size": {"choices": [16, 32]}})
    assert searched.space["batch_size"].role == "loop"
    assert searched.space.default()["batch_size"] == 32
    fixed = card_with({"batch_size": {"fix": 64}, "ema_half_life": {"fix": 0.1}})
    assert fixed.space.default()["batch_size"] == 64
    assert fixed.space["ema_half_life"].high == 0.1
    moved = card_with({"batch_size": {"default": 64}})
    assert "batch_size" not in moved.space
    assert moved.loop.default()["batch_size"] == 64


def test_what_a_fixed_choice_rules_out_leaves_the_space() -> None:
    changed = changed_cards({"toy": parse_card(TEXT, "toy.toml")}, {"toy": {"norm": {"fix": "none"}}})["toy"]
    assert "momentum" not in changed.card.space
    assert "momentum: left out, since it needs norm = batch or layer" in changed.told
    assert card_with({"norm": {"choices": ["none", "layer"]}}).space["momentum"].when == {"norm": ("layer",)}
    # The constructor's own default is known all the same: by it kept trainings are found.
    assert changed.card.constructor["momentum"] == 0.1


def test_changes_for_all_lie_below_those_for_one_family_and_reach_the_families_that_have_the_parameter() -> None:
    cards = {"toy": parse_card(TEXT, "toy.toml"), "fitted": parse_card(FITTED, "fitted.toml")}
    given: dict[str, dict[str, Any]] = {
        "all": {"width": {"low": 16, "high": 32}, "rate": {"fix": 0.02}, "batch_size": {"fix": 32}},
        "toy": {"width": {"high": 48}, "rate": {"high": 0.03}},
        "fitted": {"width": {"fix": 20}},
    }
    found = {name: changed.card for name, changed in changed_cards(cards, given).items()}
    assert [(c.space["width"].low, c.space["width"].high) for c in found.values()] == [(16, 48), (20, 20)]
    assert (found["toy"].space["rate"].low, found["toy"].space["rate"].high) == (1e-4, 0.03)
    assert "batch_size" in found["toy"].space
    assert "batch_size" not in found["fitted"].space  # a family that trains by `fit` alone has no batches


def test_values_that_the_card_does_not_hold_are_listed() -> None:
    changes: dict[str, Any] = {
        "width": {"high": 128},
        "rate": {"fix": 1.0},
        "temperature": {"low": 0.7},
        "batch_size": {"fix": 8},
    }
    changed = changed_cards({"toy": parse_card(TEXT, "toy.toml")}, {"toy": changes})["toy"]
    assert changed.beyond == (("width", 128), ("rate", 1.0), ("batch_size", 8))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"toi": {"width": {"fix": 8}}}, "space.toi: no such family is compared; did you mean 'toy'?"),
        ({"toy": {"widht": {"fix": 8}}}, "space.toy.widht: unknown parameter; did you mean 'width'?"),
        ({"all": {"widht": {"fix": 8}}}, "space.all.widht: no family compared has it; did you mean 'width'?"),
        ({"toy": {"width": {"low": 64}}}, "space.toy.width: low 64 is not below high 64; wanted fix = 64"),
        ({"toy": {"width": {"low": 80}}}, "space.toy.width: low 80 is not below high 64"),
        ({"toy": {"width": {"low": 8.5}}}, "space.toy.width.low: wanted a whole number, got 8.5"),
        ({"toy": {"width": {"fix": True}}}, "space.toy.width.fix: wanted a number, got True"),
        ({"toy": {"width": {"default": 99}}}, "space.toy.width: parameter 'width' has a default out of range: 99"),
        ({"toy": {"rate": {"low": 0}}}, "space.toy.rate: parameter 'rate' is on a log scale but its low is 0"),
        ({"toy": {"rate": {"scale": "logg"}}}, "space.toy.rate.scale: 'logg' is not known; did you mean 'log'?"),
        ({"toy": {"rate": {"fix": 0.1, "low": 0.1}}}, "space.toy.rate: a fixed parameter has no low"),
        ({"toy": {"rate": {"likely": [0.2, 0.3]}}}, "space.toy.rate: parameter 'rate' has likely = [0.2, 0.3]"),
        ({"toy": {"rate": {"choices": []}}}, "space.toy.rate.choices: parameter 'rate' has no choices"),
        ({"toy": {"norm": {"fix": "bach"}}}, "space.toy.norm.fix: 'bach' is no choice; did you mean 'batch'?"),
        ({"toy": {"norm": {"low": 1}}}, "space.toy.norm.low: it is one of none, layer, batch; wanted choices or fix"),
        ({"toy": {"norm": {"choices": ["batch", "batch"]}}}, "space.toy.norm.choices: parameter 'norm' names a choice"),
        (
            {"toy": {"norm": {"fix": "none"}, "momentum": {"fix": 0.5}}},
            "space.toy.momentum: it never counts here; it needs norm = batch or layer",
        ),
    ],
)
def test_what_a_card_does_not_allow_is_told_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OverrideError) as error:
        changed_cards({"toy": parse_card(TEXT, "toy.toml")}, changes)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


def test_a_starting_setting_has_the_rest_from_the_default() -> None:
    card = card_with({"width": {"fix": 32}})
    assert start_setting(card, {"rate": 0.02}) == card.space.default() | {"rate": 0.02}
    without = start_setting(card, {"norm": "none"})
    assert "momentum" not in without
    refused: list[tuple[dict[str, Any], str]] = [
        ({"rat": 0.02}, "start.toy.rat: unknown parameter; did you mean 'rate'?"),
        ({"rate": 2}, "start.toy.rate: got 2.0; wanted float from 0.0001 to 0.1 (log)"),
        ({"width": 16}, "start.toy.width: got 16; wanted int from 32 to 32"),
        ({"norm": "none", "momentum": 0.2}, "start.toy.momentum: it does not count here; it needs norm = batch or"),
    ]
    for given, said in refused:
        with pytest.raises(OverrideError) as error:
            start_setting(card, given)
        assert str(error.value).startswith(said)
