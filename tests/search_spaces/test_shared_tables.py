"""`extends`: cards over shared tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from gentune.search_spaces import CardError, load_card, shipped_cards
from gentune.search_spaces.card import parse_card
from gentune.search_spaces.shared_tables import SHARED

FAMILY = """
[family]
name = "mine"
group = "tests"
summary = "a toy"
class = "mine:Mine"
kinds = ["vector"]
"""

SIZES = """
training = ["batch_size"]
[training_defaults]
batch_size = 64
[train.width]
type = "int"
low = 8
high = 64
scale = "log"
default = 16
summary = "units"
source = "somewhere"
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
default = 1.0
"""

RATE = """
[train.rate]
type = "float"
low = 1e-4
high = 1e-2
scale = "log"
default = 1e-3
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    (tmp_path / "sizes.toml").write_text(SIZES)
    return tmp_path / "mine.toml"


def test_a_card_has_what_it_extends(card: Path) -> None:
    card.write_text('extends = ["sizes.toml"]' + FAMILY)
    extended = load_card(card)
    written_out = SIZES.replace("[training_defaults]", FAMILY + "[training_defaults]")
    assert extended.space == parse_card(written_out, "whole.toml").space
    assert extended.space.names == ("width", "norm", "momentum", "temperature", "batch_size")
    assert extended.loop["batch_size"].default == 64


def test_an_override_changes_only_the_keys_that_it_has(card: Path) -> None:
    card.write_text('extends = ["sizes.toml"]\ntraining = []' + FAMILY + "[train.width]\ndefault = 32\nhigh = 128\n")
    width = load_card(card).space["width"]
    assert (width.low, width.high, width.default, width.log) == (8, 128, 32, True)
    assert (width.summary, width.source) == ("units", "somewhere")
    assert load_card(card).space.names == ("width", "norm", "momentum", "temperature")


def test_new_parameters_come_last_or_before_another(card: Path) -> None:
    card.write_text('extends = ["sizes.toml"]' + FAMILY + RATE)
    assert load_card(card).space.only("train").names == ("width", "norm", "momentum", "rate")
    placed = (
        RATE
        + 'before = "norm"\n'
        + RATE.replace("rate", "decay")
        + 'before = "norm"\n[train.momentum]\ndefault = 0.2\n'
    )
    card.write_text('extends = ["sizes.toml"]' + FAMILY + placed)
    assert load_card(card).space.only("train").names == ("width", "rate", "decay", "norm", "momentum")


def test_a_shared_parameter_can_be_moved_and_dropped(card: Path) -> None:
    card.write_text('extends = ["sizes.toml"]\ndrop = ["momentum"]' + FAMILY + '[train.norm]\nbefore = "width"\n')
    assert load_card(card).space.only("train").names == ("norm", "width")
    # Dropped and stated: nothing of the shared table is left.
    card.write_text('extends = ["sizes.toml"]\ndrop = ["width"]' + FAMILY + RATE.replace("rate", "width"))
    width = load_card(card).space["width"]
    assert (width.kind, width.summary) == ("float", "")
    assert load_card(card).space.only("train").names == ("norm", "momentum", "width")


def test_tables_are_laid_over_one_another_in_order_and_once(card: Path) -> None:
    """Two files that extend a third: it comes first, and neither undoes what the other overrides."""
    (card.parent / "narrow.toml").write_text('extends = ["sizes.toml"]\n[train.width]\ndefault = 8\nhigh = 32\n')
    (card.parent / "plain.toml").write_text('extends = ["sizes.toml"]\n[train.norm]\ndefault = "none"\n')
    card.write_text('extends = ["narrow.toml", "plain.toml"]' + FAMILY + "[train.width]\ndefault = 9\n")
    space = load_card(card).space
    assert (space["width"].default, space["width"].high, space["norm"].default) == (9, 32, "none")


def test_a_card_in_a_plug_in_extends_shipped_tables_and_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "rate.toml").write_text(RATE.replace("rate", "noise_rate"))
    text = 'extends = ["gan", "rate.toml"]' + FAMILY
    gan = next(load_card(path) for path in shipped_cards() if path.stem == "gan")
    mine = parse_card(text, str(tmp_path / "plugin.py"))
    assert mine.space.names == (*gan.space.names[1:9], "noise_rate", *gan.space.names[9:])
    assert mine.space["truncation"] == gan.space["truncation"]


def test_shared_tables_that_change_are_read_again(card: Path) -> None:
    card.write_text('extends = ["sizes.toml"]' + FAMILY)
    assert load_card(card).space["width"].default == 16
    (card.parent / "sizes.toml").write_text(SIZES.replace("default = 16", "default = 24"))
    assert load_card(card).space["width"].default == 24


@pytest.mark.parametrize(
    ("head", "tables", "said"),
    [
        ('extends = ["gna"]', "", "extends: unknown tables 'gna'; did you mean 'gan'?"),
        ('extends = ["size.toml"]', "", "extends: unknown tables 'size.toml'; did you mean 'sizes.toml'?"),
        ('extends = "gan"', "", "extends: wanted a list of names, got 'gan'"),
        ('extends = ["other_card.toml"]', "", "'other_card.toml' is a card; wanted shared tables"),
        (
            'extends = ["sizes.toml"]\ndrop = ["widht"]',
            "",
            "no extended table has a parameter 'widht'; did you mean 'width'?",
        ),
        ('drop = ["width"]', "", "drop: no extended table has a parameter 'width'"),
        ('extends = ["sizes.toml"]', "[train.widht]\ndefault = 8", "train.widht.type: missing; did you mean 'width'?"),
        (
            'extends = ["sizes.toml"]',
            '[train.norm]\nbefore = "widht"',
            "train.norm.before: no other parameter is called",
        ),
        ('extends = ["sizes.toml"]', '[train.norm]\nbefore = "norm"', "no other parameter is called 'norm'"),
        (
            'extends = ["sizes.toml"]',
            "[train.width]\ndefault = 7",
            "train.width: parameter 'width' has a default out of",
        ),
        (
            'extends = ["sizes.toml"]',
            '[train.norm]\nbefore = "temperature"',
            "no other parameter is called 'temperature'",
        ),
        (
            'extends = ["sizes.toml"]\ndrop = ["norm"]',
            "",
            "`when` of 'momentum' names 'norm', which is no parameter before",
        ),
        ('extends = ["sizes.toml"]', "[train]\nwidth = 8", "train.width: wanted a table, got 8"),
        ("train = 8", "", "train: wanted a table, got 8"),
    ],
)
def test_a_wrong_card_is_told_by_file_and_key(card: Path, head: str, tables: str, said: str) -> None:
    (card.parent / "other_card.toml").write_text(FAMILY)
    card.write_text(head + FAMILY + tables)
    with pytest.raises(CardError) as error:
        load_card(card)
    assert str(error.value).startswith(f"{card}: ")
    assert said in str(error.value)


def test_a_wrong_shared_file_is_told_by_its_own_name(card: Path) -> None:
    shared = card.parent / "sizes.toml"
    card.write_text('extends = ["sizes.toml"]' + FAMILY)
    for old, new, said in (
        ("low = 8", "lo = 8", "train.width.lo: unknown key; did you mean 'low'?"),
        ("default = 16", "default = 128", "train.width: parameter 'width' has a default out of range: 128"),
        ("[train.width]", "[trian.width]", "trian: unknown key; did you mean 'train'?"),
    ):
        shared.write_text(SIZES.replace(old, new))
        with pytest.raises(CardError) as error:
            load_card(card)
        assert str(error.value).startswith(f"{shared}: {said}")


def test_a_circle_is_refused(card: Path) -> None:
    (card.parent / "a.toml").write_text('extends = ["b.toml"]')
    (card.parent / "b.toml").write_text('extends = ["a.toml"]')
    card.write_text('extends = ["a.toml"]' + FAMILY)
    with pytest.raises(CardError) as error:
        load_card(card)
    assert str(error.value) == (
        f"{card.parent / 'b.toml'}: extends: 'a.toml' leads back to itself: a.toml -> b.toml -> a.toml"
    )


# --- what ships ---------------------------------------------------------------------------------------------


def test_shared_files_are_no_cards_and_all_are_used() -> None:
    shared = {path.stem for path in SHARED.glob("*.toml")}
    assert shared
    assert SHARED not in {path.parent for path in shipped_cards()}
    files = [*shipped_cards(), *SHARED.glob("*.toml")]
    heads = "\n".join(line for path in files for line in path.read_text().splitlines() if line.startswith("extends"))
    assert {name for name in shared if f'"{name}"' in heads} == shared


def test_cards_of_every_group_are_found() -> None:
    """Every TOML file in a group's folder is a card; there are no others but the shared tables and the loop's."""
    root = SHARED.parent
    elsewhere = {*SHARED.glob("*.toml"), root / "training.toml"}
    assert set(shipped_cards()) == set(root.rglob("*.toml")) - elsewhere
    assert len({path.parent for path in shipped_cards()}) > 1


_OPTIMISERS = "learning_rate_generator learning_rate_discriminator beta1 discriminator_steps"
_SIZES = "width depth weight_decay"


@pytest.mark.parametrize(
    ("family", "parameters"),
    [
        ("gan", f"loss {_OPTIMISERS} discriminator_norm latent_dim width depth truncation"),
        ("wgan", f"{_OPTIMISERS} discriminator_norm clip latent_dim width depth truncation"),
        ("stylegan", f"{_OPTIMISERS} r1 style_mixing mapping_layers latent_dim width depth truncation"),
        ("denoising_autoencoder", f"learning_rate latent_dim noise code_density components {_SIZES} temperature"),
        ("beta_vae", f"learning_rate latent_dim beta kl_warmup pixels {_SIZES} temperature output"),
        (
            "vq_vae",
            f"learning_rate codes code_dim commitment codebook_decay downsampling pixels {_SIZES} "
            "prior_learning_rate prior_width prior_layers dropout temperature output",
        ),
    ],
)
def test_the_order_of_parameters_stays(family: str, parameters: str) -> None:
    """Proposals are drawn in this order: another one is another study."""
    (path,) = (path for path in shipped_cards() if path.stem == family)
    assert load_card(path).space.only("train", "sample").names == tuple(parameters.split())
