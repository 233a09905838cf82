"""Pretrained evaluators: what the extractors see and give, their fingerprints, and weights that cannot be had."""

from __future__ import annotations

import pickle
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gentune.bench import registry
from gentune.bench.errors import UsageError
from gentune.bench.evaluators import describe_cached, load_pretrained, registered
from gentune.bench.evaluators.pretrained import to_rgb
from gentune.bench.metrics import measure
from gentune.models.data_spec import ConditionSpec, DataSpec

GREY = DataSpec("grey", "image", (1, 4, 4), levels=17, condition=ConditionSpec("label", classes=10))
COLOUR = DataSpec("colour", "image", (3, 4, 4), levels=256)
POINTS = DataSpec("points", "vector", (2,))


@pytest.fixture
def tiny() -> Iterator[str]:
    """An extractor of 48 pixel values, and 48 logits from weights of a file."""
    extractors = registered()  # imports the library where torchvision's wheel does not fit torch, too
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Tiny(FeatureExtractorBase):
        def __init__(
            self, name: str, features_list: list[str], feature_extractor_weights_path: str | None = None
        ) -> None:
            super().__init__(name, features_list)
            self.head = nn.Linear(48, 48)
            if feature_extractor_weights_path is None:
                torch.hub.load_state_dict_from_url("https://weights.invalid/tiny-of-gentune-tests.pth")
            assert feature_extractor_weights_path is not None
            self.head.load_state_dict(torch.load(feature_extractor_weights_path))

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            assert x.dtype == torch.uint8 and x.shape[1] == 3
            self.largest = max(getattr(self, "largest", 0), len(x))
            pixels = x.flatten(1).float()
            return tuple({"pixels": pixels, "logits": self.head(pixels)}[name] for name in self.features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return "pixels", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "pixels"

    extractors["tiny"] = Tiny
    yield "tiny"
    del extractors["tiny"]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def weights(path: Path, seed: int = 0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    state = {"weight": torch.randn(48, 48, generator=generator), "bias": torch.randn(48, generator=generator)}
    torch.save(state, path)
    return path


def test_levels_become_eight_bit_rgb() -> None:
    k = torch.arange(17).repeat(2)[:32].reshape(2, 1, 4, 4)
    rgb = to_rgb(GREY.from_levels(k), GREY)
    assert rgb.dtype == torch.uint8
    assert rgb.shape == (2, 3, 4, 4)
    expected = (k.double() * 255 / 16 + 0.5).floor().to(torch.uint8)
    assert torch.equal(rgb, expected.expand(-1, 3, -1, -1))
    values = torch.arange(240).reshape(5, 3, 4, 4)
    assert torch.equal(to_rgb(COLOUR.from_levels(values), COLOUR).long(), values)


def test_an_extractor_becomes_an_evaluator(tiny: str, tmp_path: Path) -> None:
    evaluator = load_pretrained(tiny, GREY, weights=weights(tmp_path / "w.pth"))
    x = GREY.from_levels(torch.randint(17, (70, 1, 4, 4), generator=torch.Generator().manual_seed(1)))
    seen = evaluator.describe(x)
    assert torch.equal(seen.features, to_rgb(x, GREY).flatten(1).double())
    assert seen.probabilities is not None
    assert seen.probabilities.dtype == torch.float64
    assert torch.allclose(seen.probabilities.sum(1), torch.ones(70, dtype=torch.float64))
    assert evaluator._module.largest == 32  # large networks see few images at a time
    assert not evaluator.knows_classes  # its 48 classes are not the data's ten
    assert torch.equal(evaluator.to("cpu").features(x), seen.features)
    again = describe_cached(evaluator, x, cache=tmp_path)
    assert torch.equal(again.features, seen.features)


def test_the_fingerprint_follows_the_weights_and_not_the_file(tiny: str, tmp_path: Path) -> None:
    paths = [weights(tmp_path / name, seed) for name, seed in (("a.pth", 0), ("b.pth", 0), ("c.pth", 1))]
    first, same, other = (load_pretrained(tiny, GREY, weights=path).fingerprint for path in paths)
    assert first == same != other


def test_the_fingerprint_follows_the_library(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights(tmp_path / "w.pth")
    first = load_pretrained(tiny, GREY, weights=path).fingerprint
    monkeypatch.setattr("gentune.bench.evaluators.pretrained.version", lambda _: "99")
    assert load_pretrained(tiny, GREY, weights=path).fingerprint != first


def test_what_cannot_be_looked_at_is_refused(tiny: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="looks at grey and RGB images; data 'points' is vector data"):
        load_pretrained(tiny, POINTS)
    with pytest.raises(UsageError, match="data 'two' has 2 channels"):
        load_pretrained(tiny, DataSpec("two", "image", (2, 4, 4), levels=2))
    with pytest.raises(UsageError, match=r"nowhere\.pth are not there"):
        load_pretrained(tiny, GREY, weights=tmp_path / "nowhere.pth")
    with pytest.raises(UsageError, match="unknown evaluator 'tony'"):
        load_pretrained("tony", GREY)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["inception-v3-compat", "clip-vit-b-32", "dinov2-vit-b-14", "tiny"])
def test_offline_is_told_in_one_line(name: str, tiny: str) -> None:
    assert name in (*registry.EVALUATORS, tiny)
    with pytest.raises(UsageError) as error:
        load_pretrained(name, COLOUR)
    said = str(error.value)
    assert f"evaluator {name!r}: its weights cannot be downloaded" in said
    assert "no route to host" in said or name.startswith("dinov2")
    assert f"{name}:FILE" in said
    assert "\n" not in said


@pytest.mark.parametrize("name", ["inception-v3-compat", "clip-vit-b-32", "vgg16", "tiny"])
@pytest.mark.parametrize("content", ["text", "other tensors", "pickle"])
def test_foreign_weights_are_told_in_one_line(
    name: str, content: str, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.pth"
    if content == "text":
        path.write_text("hello")
    elif content == "other tensors":
        torch.save({"a": torch.zeros(2)}, path)
    else:
        path.write_bytes(pickle.dumps(_Harmful()))
    with pytest.raises(UsageError, match=r"w\.pth are not such as evaluator") as error:
        load_pretrained(name, COLOUR, weights=path)
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["w.pth"]  # nothing in the file was run


class _Harmful:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        return Path.touch, (Path("harm.txt"),)


def test_dinov2_takes_a_file_beside_the_code_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    network = nn.Sequential(nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(12, 6))
    torch.save(network.state_dict(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match="a file of weights needs DINOv2's code next to it"):
        load_pretrained("dinov2-vit-b-14", COLOUR, weights=tmp_path / "w.pth")
    code = tmp_path / "torch" / "hub" / "facebookresearch_dinov2_main"
    code.mkdir(parents=True)
    (code / "hubconf.py").write_text(
        "from torch import nn\n"
        "def dinov2_vitb14(pretrained=True):\n"
        "    assert not pretrained\n"
        "    return nn.Sequential(nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(12, 6))\n"
    )
    evaluator = load_pretrained("dinov2-vit-b-14", COLOUR, weights=tmp_path / "w.pth")
    flat = COLOUR.from_levels(torch.tensor([0, 255]).reshape(2, 1, 1, 1).expand(2, 3, 4, 4))
    seen = evaluator.describe(flat)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    inputs = torch.stack([-mean / deviation, (1 - mean) / deviation]).repeat_interleave(4, dim=1)  # (2, 12)
    expected = network[2](inputs).detach().double()
    assert torch.allclose(seen.features, expected, atol=1e-5)
    assert seen.probabilities is None  # it has no classes


def _random_inception(path: Path) -> nn.Module:
    """torch-fidelity's Inception with drawn weights, saved to a file."""
    registered()
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Drawn(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: Any, **__: Any) -> Any:
            return None

    placeholder = path.with_name("placeholder.pth")
    torch.save({}, placeholder)
    torch.manual_seed(0)
    network = Drawn("inception-v3-compat", ["2048", "logits_unbiased"], str(placeholder))
    torch.save(network.state_dict(), path)
    return network


def test_inception_is_read_from_a_file(tmp_path: Path) -> None:
    network = _random_inception(tmp_path / "w.pth")
    evaluator = load_pretrained("inception-v3-compat", GREY, weights=tmp_path / "w.pth")
    x = GREY.from_levels(torch.randint(17, (3, 1, 4, 4), generator=torch.Generator().manual_seed(1)))
    seen = evaluator.describe(x)
    features, logits = network(to_rgb(x, GREY))
    assert seen.features.shape == (3, 2_048)
    assert torch.equal(seen.features, features.double())
    assert seen.probabilities is not None
    assert torch.equal(seen.probabilities, logits.double().softmax(1))
    one_by_one = evaluator.describe(x, chunk=1)
    assert torch.allclose(one_by_one.features, seen.features, rtol=1e-4, atol=1e-5 * float(seen.features.abs().max()))


@pytest.mark.slow
def test_fid_through_inception_is_what_torch_fidelity_computes_of_the_same_images(tmp_path: Path) -> None:
    """Its own programme on uint8 images, against ours on the levels of a grey data set."""
    _random_inception(tmp_path / "w.pth")
    from torch_fidelity import calculate_metrics

    class Pictures(torch.utils.data.Dataset[Tensor]):
        def __init__(self, rgb: Tensor) -> None:
            self.rgb = rgb

        def __len__(self) -> int:
            return len(self.rgb)

        def __getitem__(self, index: int) -> Tensor:
            return self.rgb[index]

    levels = torch.randint(17, (2, 12, 1, 8, 8), generator=torch.Generator().manual_seed(2))
    levels[1] = levels[1] // 2
    spec = DataSpec("grey", "image", (1, 8, 8), levels=17)
    x, y = (spec.from_levels(k) for k in levels)
    theirs = calculate_metrics(
        input1=Pictures(to_rgb(x, spec)),
        input2=Pictures(to_rgb(y, spec)),
        fid=True,
        cuda=False,
        cache=False,
        batch_size=6,
        save_cpu_ram=True,  # loads in this process
        verbose=False,
        feature_extractor_weights_path=str(tmp_path / "w.pth"),
    )
    evaluator = load_pretrained("inception", spec, weights=tmp_path / "w.pth")
    inputs = {"generated_features": evaluator.features(x), "real_features": evaluator.features(y), "seed": 0}
    ours = measure(["fid"], inputs).values["fid"].value
    assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
