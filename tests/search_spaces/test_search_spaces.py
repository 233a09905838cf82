"""Spaces and cards: what is valid, and what an error says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gentune.search_spaces import CardError, DataSize, FamilyCard, Fit, Parameter, SearchSpace, load_card, shipped_cards
from gentune.search_spaces.card import parse_card

GOOD = """
training = ["batch_size"]
[family]
name = "toy"
group = "test"
summary = "a toy"
class = "toy:Toy"
kinds = ["image", "vector"]
conditional = "label"
likelihood = { image = "dequantised", vector = "exact" }
papers = ["arXiv:0000.00000"]
[family.steps]
image = 100
vector = 50
[train.width]
type = "int"
low = 8
high = 64
scale = "log"
default = 16
[train.norm]
type = "categorical"
choices = ["none", "batch"]
default = "batch"
[train.momentum]
type = "float"
low = 0.0
high = 1.0
default = 0.1
when = { norm = "batch" }
[sample.temperature]
type = "float"
low = 0.5
high = 1.2
default = 1
"""


def test_a_card_reads_as_written() -> None:
    card = parse_card(GOOD, "toy.toml")
    assert card.space.names == ("width", "norm", "momentum", "temperature", "batch_size")
    assert [p.role for p in card.space] == ["train", "train", "train", "sample", "loop"]
    assert card.likelihood == {"image": "dequantised", "vector": "exact"}
    assert card.full_steps(DataSize("image", 8.0)) == 100
    assert card.full_steps(DataSize("vector", 2.0, 10_000)) == 50
    assert card.space["width"].log
    assert card.space["temperature"].default == 1.0
    assert isinstance(card.space["temperature"].default, float)


def _card(conditional: str, requires: bool = False) -> FamilyCard:
    lines = f"conditional = {conditional}\nrequires_condition = {str(requires).lower()}"
    return parse_card(GOOD.replace('conditional = "label"', lines), "toy.toml")


def test_a_card_names_the_conditions_that_it_takes() -> None:
    assert (_card('"none"').conditions, _card('"none"').conditional) == ((), "none")
    assert (_card('"text"').conditions, _card('"text"').conditional) == (("text",), "text")
    both = _card('["image", "label"]', requires=True)
    assert (both.conditions, both.conditional, both.requires_condition) == (("image", "label"), "image,label", True)


_EITHER = "requires image or text conditions, and the data have label conditions"


@pytest.mark.parametrize(
    ("conditional", "requires", "kind", "condition", "wanted"),
    [
        ('"none"', False, "image", "none", Fit("none")),
        ('"none"', False, "image", "label", Fit("none")),
        ('"label"', False, "image", "none", Fit("none")),
        ('"label"', False, "vector", "label", Fit("label")),
        ('"image"', False, "image", "label", Fit("none")),
        ('["label", "text"]', False, "image", "text", Fit("text")),
        ('"image"', True, "image", "image", Fit("image")),
        ('"none"', False, "sequence", "none", "takes image and vector data, and the data are of kind sequence"),
        ('"none"', False, "image", "image", "takes no conditions, and the data have image conditions"),
        (
            '["label", "text"]',
            False,
            "image",
            "image",
            "takes label and text conditions, and the data have image conditions",
        ),
        ('"image"', True, "image", "none", "requires image conditions, and the data have no conditions"),
        ('["image", "text"]', True, "image", "label", _EITHER),
        ('"label"', True, "image", "text", "requires label conditions, and the data have text conditions"),
    ],
)
def test_one_rule_says_what_fits(
    conditional: str, requires: bool, kind: str, condition: str, wanted: Fit | str
) -> None:
    expected = wanted if isinstance(wanted, Fit) else Fit(reason=wanted)
    assert _card(conditional, requires).fit(kind, condition) == expected


def test_a_family_can_move_a_shared_default() -> None:
    card = parse_card(GOOD + "[training_defaults]\nbatch_size = 64\ngradient_clip = 1.0\n", "toy.toml")
    assert card.space["batch_size"].default == 64
    assert card.loop.default()["gradient_clip"] == 1.0
    assert "gradient_clip" not in card.space


def test_an_average_is_no_part_of_a_training() -> None:
    searched = parse_card(GOOD.replace('["batch_size"]', '["batch_size", "ema_half_life"]'), "toy.toml")
    assert [p.role for p in searched.space][-2:] == ["loop", "average"]
    assert searched.loop.only("average").names == ("ema_half_life",)
    by_default = parse_card(GOOD + "[training_defaults]\nema_half_life = 0.05\n", "toy.toml")
    assert "ema_half_life" not in by_default.space
    assert [card.averaged for card in (searched, by_default, parse_card(GOOD, "toy.toml"))] == [True, True, False]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('group = "test"', 'grup = "test"', "family.grup: unknown key; did you mean 'group'?"),
        ("low = 8", "low = 80", "train.width: parameter 'width' has an empty range"),
        ("default = 16", "default = 128", "train.width: parameter 'width' has a default out of range: 128"),
        ("default = 16", "default = 16.5", "default out of range: 16.5, wanted int from 8 to 64 (log)"),
        ("low = 8", "low = 0", "is on a log scale but its low is 0"),
        ("low = 8", "lo = 8", "train.width.lo: unknown key; did you mean 'low'?"),
        ("when = { norm = ", "when = { nrm = ", "names 'nrm', which is no parameter before it; did you mean 'norm'?"),
        ('when = { norm = "batch"', 'when = { norm = "layer"', "wants norm = 'layer', which is not one of none, batch"),
        ('training = ["batch_size"]', 'training = ["batchsize"]', "unknown parameter 'batchsize'; did you mean"),
        ('"image", "vector"]', '"image", "vektor"]', "'vektor' is not known; did you mean 'vector'?"),
        ('type = "int"', 'type = "integer"', "train.width.type: 'integer' is not known; did you mean 'int'?"),
        ('scale = "log"', 'scale = "logarithmic"', "train.width.scale"),
        ("default = 16\n", "", "train.width.default: missing"),
        ("image = 100", "image = 0", "family.steps.image: wanted a whole number of at least 1, got 0"),
        ("image = 100", "digits = 100", "family.steps.digits: wanted a kind of data; known: image, vector; a size"),
        (
            'conditional = "label"',
            'conditional = "labels"',
            "family.conditional: 'labels' is not known; did you mean 'label'",
        ),
        ('conditional = "label"', 'conditional = ["label", "imgae"]', "'imgae' is not known; did you mean 'image'?"),
        ('conditional = "label"', "requires_condition = true", "requires_condition: family.conditional names no kind"),
        ('conditional = "label"', 'requires_condition = "yes"', "requires_condition: wanted true or false, got 'yes'"),
        ("[family]", "[family", "not valid TOML"),
        ('choices = ["none", "batch"]', "choices = []", "has no choices"),
        ('choices = ["none", "batch"]', 'choices = ["none", "batch", "none"]', "names a choice twice"),
        ('vector = "exact"', 'vector = "guess"', "family.likelihood.vector: 'guess' is not known"),
    ],
)
def test_a_wrong_card_is_told_by_file_and_key(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(CardError) as error:
        parse_card(GOOD.replace(old, new, 1), "toy.toml")
    assert str(error.value).startswith("toy.toml: ")
    assert said in str(error.value)


def test_a_card_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="cannot be read"):
        load_card(tmp_path / "none.toml")


def space() -> SearchSpace:
    return parse_card(GOOD, "toy.toml").space


def test_inactive_parameters_are_not_part_of_a_setting() -> None:
    assert space().activate({"norm": "none", "momentum": 0.5, "width": 8}) == {
        "width": 8,
        "norm": "none",
        "temperature": 1.0,
        "batch_size": 128,
    }
    assert space().default()["momentum"] == 0.1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 100}, "'width' is 100; wanted int from 8 to 64"),
        ({"width": 16.0}, "'width' is 16.0"),
        ({"width": True}, "'width' is True"),
        ({"wdth": 16}, "unknown parameter 'wdth'; did you mean 'width'?"),
        ({"norm": "none"}, "'momentum' is not active"),
    ],
)
def test_validate_says_what_is_wrong(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match="parameter") as error:
        space().validate({**space().default(), **change})  # type: ignore[dict-item]
    assert said in str(error.value)


def test_validate_misses_nothing() -> None:
    setting = space().default()
    space().validate(setting)
    del setting["width"]
    with pytest.raises(ValueError, match="'width' is missing"):
        space().validate(setting)


def test_roles_can_be_taken_apart() -> None:
    assert space().only("sample").names == ("temperature",)
    assert "momentum" in space().only("train").names


def test_true_is_not_the_number_one() -> None:
    parameter = Parameter("flag", "categorical", True, choices=(True, False))
    assert parameter.contains(True)
    assert not parameter.contains(1)


def test_a_card_says_where_good_settings_usually_lie_and_how_far_trainings_differ() -> None:
    likely = "default = 16\nlikely = [16, 32]\n", 'default = "batch"\nlikely = ["none"]\n'
    text = GOOD.replace("default = 16\n", likely[0]).replace('default = "batch"\n', likely[1])
    text = text.replace("[family.steps]", "[family.noise]\nfid = 0.1\n[family.steps]")
    card = parse_card(text + "[training_likely]\nbatch_size = [32, 64]\n", "toy.toml")
    known = {p.name: p.likely for p in card.space}
    assert known == {"width": (16, 32), "norm": ("none",), "momentum": (), "temperature": (), "batch_size": (32, 64)}
    assert card.noise == {"fid": 0.1}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("default = 16\n", "default = 16\nlikely = [32, 16]\n", "train.width: parameter 'width' has likely = [32, 16]"),
        ("default = 16\n", "default = 16\nlikely = [4, 16]\n", "wanted values that are int from 8 to 64"),
        ("default = 16\n", "default = 16\nlikely = [8, 16, 32]\n", "wanted two numbers"),
        ("default = 16\n", "default = 16\nlikely = 8\n", "train.width.likely: wanted a list of likely values"),
        ('default = "batch"\n', 'default = "batch"\nlikely = ["batch", "none"]\n', "and not all of them"),
        ('default = "batch"\n', 'default = "batch"\nlikely = ["layer"]\n', "wanted values that are one of none, batch"),
        ("[family.steps]", "[training_likely]\nbatch = [1, 2]\n[family.steps]", "training_likely.batch: unknown"),
        ("[family.steps]", "[training_likely]\nbatch_size = [1, 64]\n[family.steps]", "training_likely.batch_size:"),
        ("[family.steps]", "[family.noise]\nfid = 0\n[family.steps]", "family.noise.fid: wanted a deviation above 0"),
    ],
)
def test_what_a_card_expects_is_checked(old: str, new: str, said: str) -> None:
    with pytest.raises(CardError) as error:
        parse_card(GOOD.replace(old, new, 1), "toy.toml")
    assert said in str(error.value)


@pytest.mark.parametrize("path", list(shipped_cards()), ids=lambda p: p.stem)
def test_shipped_cards_are_whole(path: Path) -> None:
    card = load_card(path)
    assert card.name == path.stem
    assert card.papers
    assert all(p.source for p in card.space), [p.name for p in card.space if not p.source]
    assert card.space.default()
