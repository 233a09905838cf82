"""The feature networks: training once, finding again, damage, and what they compute."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gentune.bench.data import DataSet, load
from gentune.bench.data.base import Split
from gentune.bench.data.examples import Examples
from gentune.bench.evaluators import Evaluator, default_cache, evaluators_for, library, load_or_train, networks
from gentune.bench.training import loop as training
from gentune.models.base import Batch
from gentune.models.data_spec import ConditionSpec, DataSpec

TRAINED = ("convolutional", "mixer")


def bars(n: int, shape: tuple[int, int, int], seed: int, noise: float = 0.3) -> Batch:
    """Noisy images with a bright half: the upper one in class 0, the left one in class 1."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (n,), generator=generator)
    x = noise * torch.randn(n, *shape, generator=generator)
    x[labels == 0, :, : shape[1] // 2] += 0.5
    x[labels == 1, :, :, : shape[2] // 2] += 0.5
    return Batch(x.clamp(-1, 1), labels)


def picture_set(shape: tuple[int, int, int] = (1, 8, 8), *, labels: bool = True, seed: int = 0) -> DataSet:
    condition = ConditionSpec("label", classes=2) if labels else ConditionSpec()
    spec = DataSpec("bars", "image", shape, levels=256, condition=condition)
    names: tuple[Split, ...] = ("train", "validation", "test")
    splits = {name: bars(n, shape, seed + i) for i, (name, n) in enumerate(zip(names, (96, 40, 40), strict=True))}
    if not labels:
        splits = {name: Batch(batch.x) for name, batch in splits.items()}
    return DataSet(spec, {name: Examples.of(batch, spec) for name, batch in splits.items()})


def point_set() -> DataSet:
    names: tuple[Split, ...] = ("train", "validation", "test")
    spec = DataSpec("points", "vector", (3,))
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    return DataSet(spec, {name: Examples.of_arrays(spec, x) for name in names})


@pytest.fixture(autouse=True)
def _short_training(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "slow" not in request.keywords:
        monkeypatch.setattr(library, "_FEWEST_STEPS", 30)


def folders(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


# Names and places


def test_images_and_vectors_have_two_evaluators_and_sequences_none() -> None:
    assert evaluators_for(picture_set()) == TRAINED
    assert evaluators_for(point_set()) == ("raw", "random_projection")
    tokens = DataSet(DataSpec("words", "sequence", (5,), vocabulary=9), {})
    assert evaluators_for(tokens) == ()
    with pytest.raises(ValueError, match="at least 4 x 4 pixels"):
        evaluators_for(picture_set((1, 3, 8)))


def test_wrong_names_and_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="convolution'"):
        load_or_train(picture_set(), "convolution", cache=tmp_path)
    with pytest.raises(ValueError, match="takes image data"):
        load_or_train(point_set(), "mixer", cache=tmp_path)
    with pytest.raises(ValueError, match="looks at vectors"):
        load_or_train(picture_set(), "random_projection", cache=tmp_path)


def test_default_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENTUNE_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "own"
    monkeypatch.delenv("GENTUNE_CACHE")
    assert default_cache() == tmp_path / "xdg" / "gentune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "gentune"


# Training and finding again


@pytest.mark.parametrize("name", TRAINED)
def test_training_twice_gives_the_same_evaluator(name: str, tmp_path: Path) -> None:
    data = picture_set()
    first = load_or_train(data, name, cache=tmp_path / "a")
    torch.rand(7)  # the process's own random state must not matter
    second = load_or_train(data, name, cache=tmp_path / "b")
    assert first.fingerprint == second.fingerprint
    assert first.accuracy == second.accuracy
    x = data.splits["test"].x[:]
    assert torch.equal(first.features(x), second.features(x))


@pytest.mark.parametrize("name", TRAINED)
def test_it_learns_to_classify(name: str, tmp_path: Path) -> None:
    data = picture_set()
    evaluator = load_or_train(data, name, cache=tmp_path)
    assert evaluator.accuracy is not None
    assert evaluator.accuracy > 0.9
    probabilities = evaluator.probabilities(data.splits["validation"].x[:])
    labels = data.splits["validation"].labels
    assert probabilities is not None
    assert _share(probabilities, labels) == evaluator.accuracy


def test_a_kept_evaluator_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture_set()
    first = load_or_train(data, "convolutional", cache=tmp_path)
    assert len(folders(tmp_path)) == 1  # and no draft next to it
    monkeypatch.setattr(training, "train", None)
    again = load_or_train(data, "convolutional", cache=tmp_path)
    assert again.fingerprint == first.fingerprint
    assert again.accuracy == first.accuracy
    assert torch.equal(again.features(data.splits["test"].x[:]), first.features(data.splits["test"].x[:]))


def test_training_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    load_or_train(picture_set(), "convolutional", cache=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_only_the_train_split_is_learned_from(tmp_path: Path) -> None:
    data, other = picture_set(seed=0), picture_set(seed=50)
    mixed = DataSet(data.spec, {**other.splits, "train": data.splits["train"]})
    for each in (data, mixed):
        load_or_train(each, "convolutional", cache=tmp_path)
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in folders(tmp_path)]
    assert len(weights) == 2
    assert weights[0] == weights[1]


def test_the_fingerprint_tells_data_names_and_code_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [load_or_train(picture_set(seed=s), "convolutional", cache=tmp_path).fingerprint for s in (0, 9)]
    seen.append(load_or_train(picture_set(), "mixer", cache=tmp_path).fingerprint)
    monkeypatch.setattr(library, "_SETTINGS", replace(library._SETTINGS, batch_size=32))
    seen.append(load_or_train(picture_set(), "convolutional", cache=tmp_path).fingerprint)
    changed = tmp_path / "networks.py"
    changed.write_text(Path(str(networks.__file__)).read_text() + "\n")
    monkeypatch.setattr(networks, "__file__", str(changed))
    seen.append(load_or_train(picture_set(), "convolutional", cache=tmp_path).fingerprint)
    assert len(set(seen)) == 5


@pytest.mark.parametrize("damage", ["flipped", "truncated", "no weights", "no card", "card is not JSON"])
def test_a_damaged_evaluator_is_set_aside_and_trained_again(damage: str, tmp_path: Path) -> None:
    data = picture_set()
    first = load_or_train(data, "convolutional", cache=tmp_path)
    (key,) = folders(tmp_path)
    weights, card = tmp_path / key / "weights.safetensors", tmp_path / key / "card.json"
    if damage == "flipped":
        content = bytearray(weights.read_bytes())
        content[-5] ^= 1
        weights.write_bytes(bytes(content))
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "card is not JSON":
        card.write_text("{")
    else:
        (weights if damage == "no weights" else card).unlink()
    again = load_or_train(data, "convolutional", cache=tmp_path)
    assert again.fingerprint == first.fingerprint
    kept, aside = folders(tmp_path)
    assert kept == key
    assert aside.startswith(f"{key}.damaged-")


def test_where_two_train_at_once_the_first_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, real_train = picture_set(), library._train
    written: list[str] = []

    def train_while_another_finishes(*args: object) -> object:
        result = real_train(*args)  # type: ignore[arg-type]
        if not written:
            written.append("other")
            written.append(load_or_train(data, "convolutional", cache=tmp_path).fingerprint)
            (key,) = folders(tmp_path)
            written.append((tmp_path / key / "card.json").read_text())
        return result

    monkeypatch.setattr(library, "_train", train_while_another_finishes)
    mine = load_or_train(data, "convolutional", cache=tmp_path)
    (key,) = folders(tmp_path)
    assert mine.fingerprint == written[1]
    assert (tmp_path / key / "card.json").read_text() == written[2]


def test_the_card_says_what_was_trained(tmp_path: Path) -> None:
    evaluator = load_or_train(picture_set(), "mixer", cache=tmp_path)
    (key,) = folders(tmp_path)
    card = json.loads((tmp_path / key / "card.json").read_text())
    assert card["name"] == "mixer"
    assert card["data"] == "bars"
    assert card["quality"]["value"] == evaluator.accuracy
    assert card["steps"] == 30


# What they compute


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 12, 8), (1, 28, 28), (3, 64, 64), (1, 14, 14), (3, 17, 23), (1, 4, 5)]
)
@pytest.mark.parametrize("architecture", [networks.Convolutional, networks.Mixer])
def test_networks_take_any_channels_and_sides(
    architecture: type[networks.FeatureNetwork], shape: tuple[int, int, int]
) -> None:
    spec = DataSpec("x", "image", shape, levels=256, condition=ConditionSpec("label", classes=7))
    network = architecture(spec)  # type: ignore[call-arg]
    features = network.features(torch.zeros(2, *shape))
    assert features.shape == (2, networks.FEATURES)
    assert network.logits_from_features(features).shape == (2, 7)


@pytest.mark.parametrize("name", TRAINED)
def test_features_do_not_depend_on_the_chunks(name: str, tmp_path: Path) -> None:
    data = picture_set()
    evaluator = load_or_train(data, name, cache=tmp_path)
    x = data.splits["train"].x[:]
    whole, parts = evaluator.describe(x), evaluator.describe(x, chunk=7)
    assert whole.features.shape == (96, networks.FEATURES)
    assert whole.features.dtype == torch.float64
    assert whole.probabilities is not None and parts.probabilities is not None
    scale = float(whole.features.abs().max())
    assert torch.allclose(whole.features, parts.features, rtol=0, atol=1e-12 * scale)
    assert torch.allclose(whole.probabilities, parts.probabilities, rtol=0, atol=1e-12)
    assert torch.allclose(whole.probabilities.sum(1), torch.ones(96, dtype=torch.float64))
    assert torch.equal(evaluator.features(x), whole.features)
    assert not whole.features.requires_grad


def test_the_two_networks_see_differently(tmp_path: Path) -> None:
    data = picture_set()
    x = data.splits["test"].x[:]
    first, second = (load_or_train(data, name, cache=tmp_path).features(x) for name in TRAINED)
    assert not torch.allclose(first, second, atol=0.1)


def test_images_without_labels_are_seen_by_autoencoders(tmp_path: Path) -> None:
    data = picture_set(labels=False)
    x = data.splits["test"].x[:]
    for name in evaluators_for(data):
        evaluator = load_or_train(data, name, cache=tmp_path)
        assert evaluator.accuracy is None
        assert evaluator.probabilities(x) is None
        assert evaluator.features(x).shape == (40, networks.FEATURES)
        assert load_or_train(data, name, cache=tmp_path).fingerprint == evaluator.fingerprint
    with pytest.raises(ValueError, match="no labels"):
        networks.Mixer(data.spec).logits_from_features(torch.zeros(1, networks.FEATURES))


def test_autoencoders_learn_the_pictures() -> None:
    pictures = Batch(bars(96, (1, 8, 8), 0, noise=0.05).x)
    torch.manual_seed(0)
    network = networks.Convolutional(picture_set(labels=False).spec)
    training.train(network, pictures, library._SETTINGS, steps=100, seed=0)
    with torch.no_grad():
        found = network.loss(pictures, torch.Generator())
    by_the_mean = (pictures.x - pictures.x.mean(0)).square().mean()
    assert float(found.parts["unexplained"] * pictures.x.var()) < 0.3 * float(by_the_mean)


def test_vectors_are_seen_raw_and_through_a_fixed_projection(tmp_path: Path) -> None:
    data = point_set()
    x = data.splits["test"].x[:]
    raw, projection = (load_or_train(data, name, cache=tmp_path) for name in evaluators_for(data))
    assert not list(tmp_path.iterdir())  # nothing is trained, nothing kept
    assert torch.equal(raw.features(x), x.double())
    assert raw.probabilities(x) is None and raw.accuracy is None
    seen = projection.features(x)
    assert seen.shape == (50, networks.FEATURES)
    assert torch.linalg.matrix_rank(seen - seen.mean(0)) == networks.FEATURES
    assert torch.equal(seen, load_or_train(data, "random_projection", cache=tmp_path).features(x))
    assert raw.fingerprint != projection.fingerprint
    wider = DataSet(replace(data.spec, shape=(4,)), data.splits)
    assert load_or_train(wider, "raw", cache=tmp_path).fingerprint != raw.fingerprint


def test_an_evaluator_can_move() -> None:
    spec = DataSpec("points", "vector", (3,))
    evaluator = Evaluator("raw", "f", networks.Raw(spec))
    moved = evaluator.to("cpu")
    assert moved.fingerprint == "f"
    assert torch.equal(moved.features(torch.ones(2, 3)), torch.ones(2, 3, dtype=torch.float64))
    assert "raw" in repr(moved)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_digits_are_recognised(name: str, tmp_path: Path) -> None:
    data = load("digits")
    evaluator = load_or_train(data, name, cache=tmp_path)
    assert evaluator.accuracy is not None
    assert evaluator.accuracy >= 0.97
    test = data.splits["test"].all()
    probabilities = evaluator.probabilities(test.x)
    assert probabilities is not None
    assert _share(probabilities, test.condition) >= 0.96


def _share(probabilities: Tensor, labels: Tensor | None) -> float:
    assert labels is not None
    return float((probabilities.argmax(1) == labels).double().mean())
