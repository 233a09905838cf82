"""Sizes of data: what a card states for a few of them, and what comes of it for all others."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from gentune.search_spaces import CardError, DataSize, FamilyCard, Parameter, load_card, shipped_cards
from gentune.search_spaces.card import parse_card
from gentune.search_spaces.sizes import REACH, STEEPEST, along, number_at

TEXT = """
training = ["batch_size"]
[family]
name = "toy"
group = "test"
summary = "a toy"
class = "toy:Toy"
kinds = ["image", "vector"]
steps = { vector = 50 }
[train.width]
type = "int"
low = 8
high = 64
scale = "log"
default = 16
likely = [8, 32]
width = true
[train.rate]
type = "float"
low = 1e-4
high = 1e-1
scale = "log"
default = 0.01
likely = [1e-3, 3e-2]
[train.norm]
type = "categorical"
choices = ["none", "batch"]
default = "batch"
[sample.steps]
type = "int"
low = 10
high = 100
default = 20
[sizes.small]
image = 8
examples = 1_000
steps = 200
[sizes.large]
image = 32
examples = 2_000
steps = 3_200
train.width = 64
train.rate = { high = 1e-2, default = 1e-3 }
train.norm = "none"
sample.steps = { high = 500 }
training.batch_size = 256
[sizes.largest]
image = 32
examples = 50_000
steps = 20_000
train.width = { low = 16, high = 256, default = 128 }
train.norm = "none"
"""


def toy(change: str = "", old: str = "", new: str = "") -> FamilyCard:
    assert old in TEXT
    return parse_card(TEXT.replace(old, new, 1) + change, "toy.toml")


def at(extent: float, examples: int | None = None, scale: float = 1.0) -> FamilyCard:
    return toy().sized(DataSize("image", extent, examples), scale)


def steps(extent: float, examples: int | None = None, kind: str = "image") -> int:
    return toy().full_steps(DataSize(kind, extent, examples))


def test_a_stated_size_has_what_is_stated() -> None:
    assert [steps(8, 1_000), steps(32, 2_000), steps(32, 50_000), steps(2, kind="vector")] == [200, 3_200, 20_000, 50]
    assert at(8, 1_000).space == toy().space, "what the parameters' own tables say"
    large = at(32, 2_000)
    assert large.space.default() == {"width": 64, "rate": 1e-3, "norm": "none", "steps": 20, "batch_size": 256}
    assert large.loop.default()["batch_size"] == 256
    assert [(large.space[n].low, large.space[n].high) for n in ("width", "rate", "steps")] == [
        *[(8, 64), (1e-4, 1e-2), (10, 500)]
    ]
    assert toy().sized(DataSize("vector", 32, 2_000)).space == toy().space, "sizes of images are none of vectors"


def test_between_sizes_values_follow_power_laws() -> None:
    assert steps(16, 1_500) == 800, "16 times the steps for 4 times the side"
    assert steps(32, 10_000) == round(3_200 * (20_000 / 3_200) ** (math.log(5) / math.log(25)))
    assert steps(16, 10_000) == round(math.sqrt(200 * steps(32, 10_000))), "first along examples, then along the side"
    halfway = at(16, 2_000).space
    assert halfway["width"].default == 32 and halfway["width"].likely == (16, 45), "likely values go along, in range"
    assert halfway["rate"].default == pytest.approx(10**-2.5)
    assert halfway["rate"].likely[0] == pytest.approx(1e-3 * 10**-0.5)
    assert [at(side, 2_000).space["norm"].default for side in (8, 16, 17)] == ["batch", "batch", "none"]


def test_beyond_the_ends_the_rule_is_bounded() -> None:
    assert (steps(4, 100), steps(8, None), steps(1, 10)) == (200, 200, 200), "below: as at the smallest"
    assert steps(64, 2_000) == steps(1_024, 2_000) == 3_200 * REACH**STEEPEST, (
        "above: no power beyond 1, and no further"
    )
    power = math.log(20_000 / 3_200) / math.log(25)
    assert steps(32, 75_000) == round(20_000 * 1.5**power)
    assert steps(32, 10**9) == steps(32, 100_000) == round(20_000 * 2.0**power)
    assert at(64, 2_000).space["rate"].default == pytest.approx(1e-3 / 2)


def test_values_are_monotone_bounded_and_exact(draws: int = 300) -> None:
    generator = np.random.default_rng(0)
    for _ in range(draws):
        points = sorted(zip(np.exp(generator.uniform(0, 9, 4)), np.exp(generator.uniform(-9, 9, 4)), strict=True))
        assert [along(points, x) for x, _ in points] == [y for _, y in points]
        for (left, low), (right, high) in itertools.pairwise(points):
            inside = [along(points, x) for x in np.geomspace(left, right, 9)[1:-1]]
            assert inside in (sorted(inside), sorted(inside, reverse=True))
            assert min(low, high) <= min(inside) and max(inside) <= max(low, high)
        x, y = points[-1]
        beyond = [along(points, x * more) / y for more in (1.5, 2, 100)]
        assert all(1 / REACH**STEEPEST <= ratio <= REACH**STEEPEST * (1 + 1e-12) for ratio in beyond)
        assert beyond[1] == beyond[2]
        assert along(points, points[0][0] / 3) == along(points, None) == points[0][1]


def test_a_value_of_zero_lies_on_a_straight_line() -> None:
    assert along([(8.0, 0.0), (32.0, 0.2)], 16.0) == pytest.approx(0.1)
    assert along([(8.0, 0.2), (32.0, 0.0)], 64.0) == 0.0


@pytest.mark.parametrize("scale", [1.0, 1 / 64, 64])
@pytest.mark.parametrize("card", [toy(), *map(load_card, shipped_cards())], ids=lambda card: card.name)
def test_spaces_of_all_sizes_are_whole(card: FamilyCard, scale: float) -> None:
    for kind, extent, examples in itertools.product(card.kinds, (1, 7, 11.3, 30, 500), (20, 9_000, 10**6)):
        size = DataSize(kind, extent, examples)
        own = card.sized(size, scale)  # whose parameters check that defaults and likely values are in range
        assert own.space.names == card.space.names
        own.space.validate(own.space.default())
        assert own.full_steps(size) >= 1
        assert all(own.loop[p.name] == p for p in own.space if p.role in ("loop", "average"))


def test_one_size_holds_for_all_data_of_its_kind() -> None:
    card = parse_card(
        TEXT.split("[sizes.small]")[0].replace("steps = { vector = 50 }", "steps = 70")
        + "[sizes.any]\nimage = 16\ntrain.width = 24\n",
        "toy.toml",
    )
    for size in (DataSize("image", 4, 10), DataSize("image", 16), DataSize("image", 99, 10**6)):
        assert (card.full_steps(size), card.sized(size).space["width"].default) == (70, 24)
    assert card.sized(DataSize("vector", 16)).space["width"].default == 16


def test_size_scales_steps_and_widths() -> None:
    whole, quarter, four = (at(32, 2_000, scale) for scale in (1.0, 0.25, 4.0))
    size = DataSize("image", 32, 2_000)
    assert [card.full_steps(size) for card in (whole, quarter, four)] == [3_200, 800, 12_800]
    widths = [card.space["width"] for card in (quarter, four)]
    assert [(w.low, w.default, w.high, w.likely) for w in widths] == [(4, 32, 32, (16, 32)), (16, 128, 128, (64, 128))]
    assert all(whole.space[n] == four.space[n] for n in ("rate", "norm", "steps", "batch_size"))
    tiny = at(8, 1_000, 1 / 64).space["width"]
    assert (tiny.low, tiny.default, tiny.high) == (1, 2, 8)
    assert at(8, 1_000, 1e-9).full_steps(DataSize("image", 8, 1_000)) == 1


def test_shared_sizes_are_laid_under_a_cards_own(tmp_path: Path) -> None:
    shared = TEXT.split("[train.width]")[1]
    (tmp_path / "base.toml").write_text("[train.width]" + shared + "[sizes.text]\nsequence = 9\nsteps = 3\n")
    own = (
        TEXT.split("training =")[0]
        + 'extends = ["base.toml"]\ndrop = ["rate"]\n[family]\n'
        + (
            TEXT.split("[family]")[1].split("[train.width]")[0]
            + "[sizes.large]\nsteps = 99\ntrain.width = { high = 80 }\n"
        )
    )
    (tmp_path / "toy.toml").write_text(own)
    card = load_card(tmp_path / "toy.toml")
    size = DataSize("image", 32, 2_000)
    assert card.full_steps(size) == 99 and card.full_steps(DataSize("image", 8)) == 200
    width = card.sized(size).space["width"]
    assert (width.default, width.high) == (64, 80), "single keys are overridden"
    assert "rate" not in card.space


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("image = 8", "image = -8", "sizes.small: data of extent -8 with 1000 examples; wanted more than none"),
        ("image = 8", "imge = 8", "sizes.small.imge: unknown key; did you mean 'image'?"),
        ("image = 8\n", "", "sizes.small: wanted one of image, vector, sequence, got none"),
        ("image = 8", "image = 8\nvector = 2", "got image and vector"),
        ("image = 8", 'image = "8"', "sizes.small.image: wanted a number, got '8'"),
        ("image = 8", "sequence = 8", "sizes.small.sequence: the family takes image and vector data"),
        ("examples = 1_000", "examples = 0.5", "sizes.small.examples: wanted a whole number of at least 1, got 0.5"),
        ("steps = 200\n", "", "sizes: some of image data state no steps, and family.steps has none for them"),
        ("steps = 200", "steps = 0", "sizes.small.steps: wanted a whole number of at least 1, got 0"),
        ("examples = 50_000", "examples = 2_000", "sizes.largest: another size is of the same extent and examples"),
        ("examples = 50_000\n", "", "sizes: image data of 32 are stated for any number of examples, too"),
        ("train.width = 64", "train.wdth = 64", "sizes.large.train.wdth: unknown parameter; did you mean 'width'?"),
        (
            "train.width = 64",
            "train.width = 65",
            "sizes.large.train.width: parameter 'width' has a default out of range",
        ),
        ("train.width = 64", "sample.width = 64", "sizes.large.sample.width: unknown parameter"),
        ("steps = 200", "steps = 200\ntrain = 64", "sizes.small: train: wanted a table, got 64"),
        ("{ high = 500 }", "{ hi = 500 }", "sizes.large.sample.steps.hi: unknown key"),
        ('train.norm = "none"', 'train.norm = { choices = ["none"] }', "sizes.large.train.norm.choices: unknown key"),
        ("width = true", 'width = "yes"', "train.width.width: wanted true or false, got 'yes'"),
        ('default = "batch"\n', 'default = "batch"\nwidth = true\n', "train.norm: parameter 'norm' is a width"),
    ],
)
def test_a_wrong_size_is_told_by_file_and_key(old: str, new: str, said: str) -> None:
    with pytest.raises(CardError) as error:
        toy(old=old, new=new)
    assert str(error.value).startswith("toy.toml: ")
    assert said in str(error.value)


def test_sizes_that_are_none() -> None:
    with pytest.raises(ValueError, match="wanted more than none"):
        DataSize("image", 8, 0)


def test_what_golden_figures_rest_on() -> None:
    """Digits and points in the plane have what the parameters' tables say, but for realnvp's base, and these steps."""
    digits, plane = DataSize("image", 8.0, 1_078), DataSize("vector", 2.0, 10_000)
    expected = {"gan": (440, 3_000), "dcgan": (900, 1), "vae": (520, 4_500), "vq_vae": (1_000, 2_500)}
    expected |= {"ddpm": (270, 2_500), "realnvp": (220, 2_000), "gaussian": (1, 1), "autoencoder": (520, 3_000)}
    cards = {card.name: card for card in map(load_card, shipped_cards())}
    assert {name: (cards[name].full_steps(digits), cards[name].full_steps(plane)) for name in expected} == expected
    # These, and what else the golden comparison tunes; families that came later may differ between digits and points.
    for name in (*expected, "gaussian_mixture", "naive_bayes", "beta_vae", "wgan_gp", "cgan"):
        for size in (digits, plane):
            own, stated = cards[name].sized(size), cards[name]
            differ = {parameter.name for parameter in own.space if parameter != stated.space[parameter.name]}
            assert differ == ({"components"} if name == "realnvp" else set()), name
            assert own.loop == stated.loop, name


def test_numbers_of_one_extent_are_by_examples_alone() -> None:
    sizes = [(DataSize("image", 8, 10), 1.0), (DataSize("image", 8, 1_000), 100.0)]
    assert number_at(sizes, DataSize("image", 50, 100)) == pytest.approx(10.0)


def test_a_width_is_a_number_above_zero() -> None:
    with pytest.raises(ValueError, match="is a width; wanted a number above 0"):
        Parameter("width", "int", 4, low=0, high=8, width=True)
