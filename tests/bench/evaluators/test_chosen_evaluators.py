"""The evaluators that a study names: their form, what is refused before any work, and what the networks see."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gentune.bench import registry
from gentune.bench._torchvision import make_importable
from gentune.bench.commands.cli import main
from gentune.bench.errors import UsageError
from gentune.bench.evaluators import check_content, load_evaluator, load_pretrained
from gentune.bench.evaluators.hub_models import file_hash
from gentune.models.data_spec import ConditionSpec, DataSpec

from .test_evaluators import picture_set, point_set

COLOUR = DataSpec("colour", "image", (3, 20, 24), levels=256)
DIGITS = DataSpec("grey", "image", (1, 8, 8), levels=17, condition=ConditionSpec("label", classes=10))
POINTS = DataSpec("points", "vector", (2,))
WORDS = DataSpec("words", "sequence", (5,), vocabulary=9)


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv2 of 12-dimensional features with drawn weights, as transformers saves it."""
    make_importable()
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=12, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    place = tmp_path_factory.mktemp("dinov2")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Dinov2Model(config).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP model of 8-dimensional embeddings for 32 × 32 pixels, without files of its preprocessing."""
    make_importable()
    from transformers import CLIPConfig, CLIPModel

    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**tower, "vocab_size": 10, "max_position_embeddings": 4},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    place = tmp_path_factory.mktemp("clip")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(place)
    return place


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """No host can be reached and no cache holds anything; gives the hosts that were tried."""
    tried: list[str] = []

    def refuse(address: tuple[str, int], **_: object) -> None:
        tried.append(address[0])
        raise OSError("no route to host")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    for name in ("TORCH_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    yield tried


def pictures(n: int = 3) -> torch.Tensor:
    return torch.randint(256, (n, 3, 20, 24), generator=torch.Generator().manual_seed(1))


# What they see


def test_dinov2_sees_what_its_paper_s_program_shows_it(dinov2: Path) -> None:
    """Pillow's bicubic interpolation to 224 pixels, ImageNet's mean and deviation, the class token."""
    from transformers import Dinov2Model

    levels = pictures()
    evaluator = load_pretrained("dinov2", COLOUR, weights=dinov2)
    seen = evaluator.describe(COLOUR.from_levels(levels))
    rows = [
        Image.fromarray(row.permute(1, 2, 0).byte().numpy()).resize((224, 224), Image.Resampling.BICUBIC)
        for row in levels
    ]
    values = torch.from_numpy(np.stack([np.asarray(row) for row in rows])).double().permute(0, 3, 1, 2) / 255
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    model = Dinov2Model.from_pretrained(dinov2).eval()
    with torch.no_grad():
        inputs = ((values - mean.reshape(3, 1, 1)) / deviation.reshape(3, 1, 1)).float()
        wanted = model(inputs).last_hidden_state[:, 0]
    assert torch.allclose(seen.features.float(), wanted, atol=1e-5)
    assert seen.features.dtype == torch.float64
    assert seen.probabilities is None
    assert torch.allclose(evaluator.describe(COLOUR.from_levels(levels), chunk=1).features, seen.features, atol=1e-5)


def test_clip_sees_what_its_embedder_sees_at_its_own_length(clip: Path) -> None:
    from gentune.bench.evaluators.clip import load_clip

    x = COLOUR.from_levels(pictures())
    seen = load_pretrained("clip", COLOUR, weights=clip).describe(x)
    assert torch.allclose(seen.features, load_clip(clip, texts=False).images(x), atol=1e-6)
    assert seen.features.shape == (3, 8)
    assert float((seen.features.norm(dim=1) - 1).abs().max()) > 0.01  # raw, as a Fréchet distance wants them


def test_the_weights_are_told_by_their_files_hash(dinov2: Path, clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, folder in (("dinov2", dinov2), ("clip", clip)):
        evaluator = load_pretrained(name, COLOUR, weights=folder)
        assert evaluator.weights is not None
        assert evaluator.weights.source == str(folder)
        assert evaluator.weights.sha256 == file_hash(folder / "model.safetensors")
        assert f"{name}:{folder}" == str(registry.chosen(f"{name}:{folder}"))
    assert capfd.readouterr() == ("", "")


def test_in_domain_and_raw_are_chosen_by_the_same_names(tmp_path: Path) -> None:
    x = picture_set().splits["test"].x[:]
    assert torch.equal(load_evaluator(picture_set(), "raw", cache=tmp_path).features(x), x.flatten(1).double())
    assert load_evaluator(point_set(), "random_projection", cache=tmp_path).name == "random_projection"


# Their form in a study


def test_paths_of_a_study_file_start_at_its_folder(tmp_path: Path) -> None:
    (tmp_path / "w.pth").touch()
    assert registry.with_absolute_path("inception:w.pth", tmp_path) == f"inception:{tmp_path / 'w.pth'}"
    assert registry.with_absolute_path("clip:openai/clip-vit-base-patch32", tmp_path) == (
        "clip:openai/clip-vit-base-patch32"
    )
    assert registry.with_absolute_path("clip:./openai", tmp_path) == f"clip:{tmp_path / 'openai'}"
    assert registry.with_absolute_path("mixer", tmp_path) == "mixer"


def test_naming_the_default_ones_makes_no_other_study() -> None:
    assert registry.default_evaluators(DIGITS) == ("convolutional", "mixer")
    assert registry.normal_form(("convolutional", "mixer"), DIGITS) is None
    assert registry.normal_form(("mixer", "convolutional"), DIGITS) == ("mixer", "convolutional")


@pytest.mark.parametrize(
    ("metric", "spec", "evaluators", "reason"),
    [
        ("inception_score", DIGITS, None, None),
        ("inception_score", COLOUR, None, "needs labels"),
        ("inception_score", COLOUR, ("inception",), None),
        ("inception_score", DIGITS, ("clip",), "needs an evaluator that classifies"),
        ("inception_score", POINTS, None, "is defined for image data"),
        ("condition_accuracy", DIGITS, ("inception",), "the first evaluator has its own"),
        ("condition_accuracy", DIGITS, ("mixer", "inception"), None),
        ("fid", WORDS, None, "needs a feature evaluator"),
        ("fid", COLOUR, ("dinov2",), None),
    ],
)
def test_objectives_follow_the_first_evaluator(
    metric: str, spec: DataSpec, evaluators: tuple[str, ...] | None, reason: str | None
) -> None:
    found = registry.undefined_through(metric, spec, evaluators)
    assert (found is None) if reason is None else (found is not None and reason in found)


# What is refused


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("inceptoin,mixer", "unknown evaluator 'inceptoin'; did you mean 'inception'?"),
        ("inception:,mixer", "evaluator 'inception:' has no path after the colon; wanted inception:FILE"),
        ("mixer,mixer", "wanted two different evaluators"),
        ("raw,mixer,convolutional", "wanted one evaluator or two, got 3"),
        ("random_projection", "evaluator 'random_projection' looks at vectors; data 'digits' is image; for it there"),
        ("mixer:w.pth", "evaluator 'mixer' takes no weights; pretrained ones do, such as inception:FILE"),
        ("inception:w.pth", "w.pth are not there; did you mean 'w.pt'?; wanted inception:FILE"),
        ("inception:folder", "folder are a folder; wanted inception:FILE"),
        ("dinov2:w.pt", "w.pt are a file; wanted dinov2:FOLDER"),
        ("dinov2:./w.p", "w.p are not there; did you mean 'w.pt'?; wanted dinov2:FOLDER"),
        ("dinov2:folder", "config.json cannot be read (FileNotFoundError); wanted dinov2:FOLDER"),
        ("clip:other", "other has a model of type 'bert'; wanted clip"),
        ("inception", "weights-inception-2015-12-05-6726825d.pth are in no cache and cannot be downloaded (github.com"),
        ("dinov2", "its weights facebook/dinov2-large are in no cache and cannot be downloaded (huggingface.co"),
        ("clip:me/mine", "its weights me/mine are in no cache"),
    ],
)
def test_wrong_evaluators_end_in_one_line(
    given: str,
    said: str,
    offline: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pt").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    command = ["compare", "--data", "digits", "--families", "gaussian", "--trainings", "2", "--evaluators", given]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--out", "run"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
    assert not (tmp_path / "run").exists()


def test_what_is_in_a_cache_is_not_asked_for(offline: list[str], tmp_path: Path) -> None:
    checkpoints = tmp_path / "TORCH_HOME" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "weights-inception-2015-12-05-6726825d.pth").touch()
    snapshot = tmp_path / "HF_HOME" / "hub" / "models--facebook--dinov2-large" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    registry.check_evaluators(["inception", "dinov2"], COLOUR)
    assert offline == []


def test_a_proxy_is_trusted_to_reach_the_host(offline: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "http://proxy:3128"})
    registry.check_evaluators(["inception", "clip"], COLOUR)
    assert offline == []


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", ["text", "other tensors", "truncated"])
def test_damaged_weights_are_told_before_libraries_are_imported(damage: str, tmp_path: Path, dinov2: Path) -> None:
    path = tmp_path / "w.pth"
    if damage == "text":
        path.write_text("hello")
    else:
        torch.save({"fc.weight": torch.zeros(2, 2) if damage == "other tensors" else torch.zeros(1_008, 2_048)}, path)
    if damage == "truncated":
        _truncated(path)
    with pytest.raises(UsageError, match=r"w\.pth are not such as evaluator 'inception' reads") as error:
        check_content(f"inception:{path}")
    assert "\n" not in str(error.value)


def test_half_a_folder_is_told(dinov2: Path, tmp_path: Path) -> None:
    for file in dinov2.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    check_content(f"dinov2:{tmp_path}")
    _truncated(tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match="are not such as evaluator 'dinov2' reads"):
        check_content(f"dinov2:{tmp_path}")


def test_weights_that_a_file_lacks_are_not_drawn(dinov2: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    (tmp_path / "config.json").write_text((dinov2 / "config.json").read_text())
    weights = load_file(dinov2 / "model.safetensors")
    lost = weights.popitem()[0]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=f"its files lack 1 weights, such as {lost}"):
        load_pretrained("dinov2", COLOUR, weights=tmp_path)


def test_choosing_costs_no_torch() -> None:
    code = (
        "import sys; from gentune.bench import registry; registry.chosen('inception:x');"
        "assert 'torch' not in sys.modules and 'huggingface_hub' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
