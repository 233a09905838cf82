"""`gentune latent`: what its pictures show, of models whose codes are known, and what it says of wrong input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor

from gentune.bench.artifacts import latent_pictures
from gentune.bench.artifacts.latent_pictures import picture_codes
from gentune.bench.commands.cli import main
from gentune.bench.data import DataRef, DataSet, load
from gentune.bench.data.examples import Examples
from gentune.bench.evaluators import Evaluator, default_cache
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.study_file import StudyFile
from gentune.bench.scoring.context import ScoringContext
from gentune.bench.scoring.latent_codes import EPSILON, decoded, drawn_codes, path_examples
from gentune.bench.scoring.references import evaluators_by_role, reference_batch
from gentune.bench.scoring.scorer import score
from gentune.bench.training.checkpoints import ModelCard, save_model
from gentune.models import Batch, ConditionSpec, DataSpec, GenerativeModel
from gentune.models.adversarial.wgan_gp import WGANGP
from gentune.models.autoencoders.autoencoder import Autoencoder
from gentune.models.diffusion.ddpm import DDPM
from gentune.models.flows.realnvp import RealNVP
from gentune.reports import write_report

SPEC = DataSpec("squares", "image", (1, 2, 2), levels=201, condition=ConditionSpec("label", classes=3))
_CENTRES = torch.tensor([[0.5, -0.5, -0.5, 0.0], [-0.5, 0.5, -0.5, 0.0], [-0.5, -0.5, 0.5, 0.0]])


def _squares() -> DataSet:
    """Images whose first three pixels tell the class; the fourth varies by itself."""
    splits = {}
    for seed, name in enumerate(("train", "validation", "test")):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(90) % 3
        noise = 0.05 * torch.randn(90, 4, generator=generator) * torch.tensor([1.0, 1.0, 1.0, 6.0])
        splits[name] = Examples.of_arrays(SPEC, SPEC.to_levels((_CENTRES[labels] + noise).view(-1, 1, 2, 2)), labels)
    return DataSet(SPEC, splits)  # type: ignore[arg-type]


class Identity(GenerativeModel):
    """Codes are the pixels, and one more that does nothing."""

    latent_dim = 5

    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator) -> Tensor:
        return self.data.to_lattice(self.decode(self.draw_codes(n, generator)))

    def draw_codes(self, n: int, generator: Generator) -> Tensor:
        return 0.5 * torch.randn(n, 5, generator=generator) * torch.tensor([0.5, 0.5, 0.5, 1.0, 1.0])

    def encode(self, batch: Batch) -> Tensor:
        return torch.cat([batch.x.flatten(1), torch.zeros(len(batch), 1)], dim=1)

    def decode(self, z: Tensor) -> Tensor:
        return z[:, :4].reshape(-1, 1, 2, 2).clamp(-1.0, 1.0)


class DecoderAlone(GenerativeModel):
    """Standard normal codes, decoded as they are."""

    latent_dim = 4

    def decode(self, z: Tensor) -> Tensor:
        return z.reshape(-1, 1, 2, 2).tanh()


class _Judge:
    """Takes the brightest of the first three pixels for the class."""

    def probabilities(self, x: Tensor) -> Tensor:
        return torch.softmax(20.0 * x.flatten(1)[:, :3], dim=1).double()


def _pictures(model: GenerativeModel, data: DataSet, folder: Path) -> dict[str, Any]:
    return picture_codes(model, data, folder, "it", maker="test", seed=0, judge=lambda: cast(Evaluator, _Judge()))


def _cells(path: Path, columns: int) -> np.ndarray:
    """Values in [-1, 1] (rows, columns, 4) of a sheet of 2 x 2 images, each pixel 16 wide."""
    pixels = np.asarray(Image.open(path), dtype=np.float64) / 127.5 - 1.0
    rows = (pixels.shape[0] - 1) // 33
    middles = [1 + 33 * i + 8 + 16 * j for i in range(max(rows, columns)) for j in range(2)]
    picked = pixels[np.ix_(middles[: 2 * rows], middles[: 2 * columns])]
    return picked.reshape(rows, 2, columns, 2).transpose(0, 2, 1, 3).reshape(rows, columns, 4)


def test_paths_lead_from_one_example_to_another(tmp_path: Path) -> None:
    data = _squares()
    content = _pictures(Identity(SPEC), data, tmp_path)
    assert content["interpolation"]["ends"] == "test examples"
    straight = _cells(tmp_path / "it-interpolation-linear.png", 10)
    round_ = _cells(tmp_path / "it-interpolation-spherical.png", 10)
    assert straight.shape == (6, 10, 4)
    test = data.splits["test"].x[:].flatten(1).numpy()
    for row in straight:
        assert np.abs(test - row[0]).max(1).min() < 0.01  # the ends are test examples
        assert np.abs(test - row[-1]).max(1).min() < 0.01
        assert np.abs(row - np.linspace(row[0], row[-1], 10)).max() < 0.02
    assert np.abs(straight[:, [0, -1]] - round_[:, [0, -1]]).max() < 0.01
    # Around a centre near zero a great circle keeps the length of codes, a straight line does not.
    assert (np.linalg.norm(round_[:, 5], axis=1) > 1.1 * np.linalg.norm(straight[:, 5], axis=1)).all()


def test_codes_that_change_more_come_first(tmp_path: Path) -> None:
    content = _pictures(Identity(SPEC), _squares(), tmp_path)["traversals"]
    assert content["shown"][0] == 3  # twice the deviation of the others
    assert content["shown"][-1] == 4  # does nothing
    assert content["change"][-1] == 0.0
    assert content["change"][0] == pytest.approx(4 * 0.5 / 4, rel=0.1)  # four deviations, in one of four pixels
    cells = _cells(tmp_path / "it-traversals.png", 10)
    assert np.ptp(cells[0, :, 3]) > 1.8
    assert np.ptp(cells[0, :, :3], axis=0).max() < 0.01
    assert np.ptp(cells[-1], axis=0).max() < 0.01


def test_arithmetic_moves_examples_to_every_class(tmp_path: Path) -> None:
    data = _squares()
    content = _pictures(Identity(SPEC), data, tmp_path)["arithmetic"]
    assert content["classes"] == [0, 1, 2]
    assert (content["accuracy"], content["examples"]) == (1.0, 90)
    cells = _cells(tmp_path / "it-arithmetic.png", 3)
    assert (cells[:, :, :3].argmax(2) == [0, 1, 2]).all()
    assert np.ptp(cells[:, :, 3], axis=1).max() < 0.1  # what is not of the class stays
    test = data.splits["test"].x[:].flatten(1).numpy()
    for row, own in zip(cells, content["own"], strict=True):
        assert np.abs(test - row[own]).max(1).min() < 0.01  # its own class leaves it as it is


def test_class_means_of_many_codes_are_those_of_some_examples_of_each_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0

    class Counting(Identity):
        def encode(self, batch: Batch) -> Tensor:
            nonlocal seen
            seen += len(batch)
            return super().encode(batch)

    monkeypatch.setattr(latent_pictures, "_MOST_NUMBERS", 31 * 5)  # of 31 examples with 5 codes each
    content = _pictures(Counting(SPEC), _squares(), tmp_path)["arithmetic"]
    assert seen == 90 + 3 * 10  # the test split, and ten of each class
    assert content["accuracy"] == 1.0


def test_the_plane_keeps_classes_together(tmp_path: Path) -> None:
    content = _pictures(Identity(SPEC), _squares(), tmp_path)["tsne"]
    points, labels = np.array(content["points"]), np.array(content["labels"])
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(len(points))
    assert (labels[distances.argmin(1)] == labels).mean() > 0.95
    assert len(set(content["colours"])) == 3
    with Image.open(tmp_path / content["picture"]) as picture:
        assert picture.text["Synthetic"] == "yes"  # type: ignore[attr-defined]
        assert picture.text["Made by"] == "test"  # type: ignore[attr-defined]


def test_without_an_encoder_codes_are_drawn(tmp_path: Path) -> None:
    content = _pictures(DecoderAlone(SPEC), _squares(), tmp_path)
    assert content["interpolation"]["ends"] == "drawn codes"
    assert content["tsne"] == {"undefined": "the family does not encode"}
    assert content["arithmetic"] == {"undefined": "the family does not encode"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "it-interpolation-linear.png",
        "it-interpolation-spherical.png",
        "it-traversals.png",
    ]


def test_a_model_that_decodes_with_a_label_keeps_it_along_a_path(tmp_path: Path) -> None:
    class Labelled(DecoderAlone):
        def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
            assert condition is not None
            return condition.view(-1, 1, 1, 1) / 2 + 0.0 * z.reshape(-1, 1, 2, 2)

    torch.manual_seed(0)
    model = Labelled(SPEC)
    drawn = decoded(model, torch.zeros(700, 4), torch.arange(700) % 3)
    assert torch.equal(drawn[:, 0, 0, 0], (torch.arange(700) % 3) / 2)
    with pytest.raises(AssertionError):
        decoded(model, torch.zeros(2, 4))
    picture = _only_paths(model, tmp_path)
    assert np.abs(picture - (np.arange(6) % 3 / 2)[:, None, None]).max() < 0.01


def _only_paths(model: GenerativeModel, folder: Path) -> np.ndarray:
    from gentune.bench.artifacts.latent_pictures import _drawn_rows, _Subject, _Writer

    data = _squares()
    subject = _Subject(
        model, data, data.splits["test"].all(), None, torch.zeros(4, 4), 0, _Writer(folder, "it", "test")
    )
    _drawn_rows(subject, "paths", torch.zeros(6, 10, 4))
    return _cells(folder / "it-paths.png", 10)


def test_codes_of_an_inverted_map_are_as_many_as_the_data_has_numbers() -> None:
    spec = DataSpec("plane", "vector", (2,))
    model = RealNVP(spec, hidden=8, transforms=2)
    codes = drawn_codes(model, 300, 0)
    assert codes.shape == (300, 2)
    pair = path_examples(model.eval(), 20)
    assert pair is not None
    assert pair[0].shape == (20, 2)


def test_paths_of_points_in_the_plane_are_in_original_units(tmp_path: Path) -> None:
    class Plane(GenerativeModel):
        latent_dim = 2

        def decode(self, z: Tensor) -> Tensor:
            return z

    data = load("eight_gaussians")
    content = _pictures(Plane(data.spec), data, tmp_path)
    path = np.array(content["interpolation"]["linear"]["values"])
    assert path.shape == (6, 10, 2)
    drawn = drawn_codes(Plane(data.spec), 1000, _codes_seed()).numpy()
    assert data.spec.mean is not None
    assert data.spec.deviation is not None
    ends = drawn[:12:2] * np.array(data.spec.deviation) + np.array(data.spec.mean)
    assert np.abs(path[:, 0] - ends).max() < 1e-4
    assert content["arithmetic"] == {"undefined": "the family does not encode"}


def _codes_seed() -> int:
    from gentune.bench.seeds import derive

    return derive(0, "codes")


# --- what metrics are given --------------------------------------------------------------------------------------


def test_path_ends_are_continuous_and_a_small_step_apart() -> None:
    pair = path_examples(Identity(SPEC), 500)
    assert pair is not None
    a, b = pair
    assert not torch.equal(a, SPEC.to_lattice(a))
    step = (a - b)[:, 0, 0, 0] / EPSILON  # |z - z'|² of independent codes has twice their variance as its mean
    assert step.square().mean().item() == pytest.approx(2 * 0.25**2, rel=0.2)
    assert path_examples(None, 5) is None


def test_runs_measure_control_where_there_are_factors_and_say_why_not() -> None:
    digits = load("digits")
    torch.manual_seed(0)
    model = Autoencoder(digits.spec, width=8, depth=1, latent_dim=4).eval()
    generated = reference_batch(digits, "test", 120)
    wanted = ("mig", "dci", "path_length")
    evaluator = evaluators_by_role(digits, default_cache())["primary"]
    measured: list[Any] = []
    for factors in (None, {n: (e.x[:][:, 0, 2:4, 3] > 0).long() for n, e in digits.splits.items()}):
        names = () if factors is None else ("upper", "lower")
        data = replace(digits, factors=factors, factor_names=names)
        context = ScoringContext(data, "test", generated, evaluator, default_cache(), model=model)
        measured.append(score(context, wanted))
    without, with_factors = measured
    assert without.undefined["mig"] == "needs data with known factors"
    assert "path_length" in without.values
    assert without.values["path_length"].value > 0.0
    assert {"mig", "dci", "path_length"} <= with_factors.values.keys()
    assert with_factors.values["path_length"] == without.values["path_length"]
    other = score(replace(context, model=DDPM(digits.spec, width=16)), wanted)
    assert other.undefined["path_length"] == "needs a decoder"
    assert other.undefined["mig"] == "needs codes"


# --- the command -------------------------------------------------------------------------------------------------


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["latent", *arguments])
    captured = capsys.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


@pytest.fixture
def run_folder(tmp_path: Path) -> RunFolder:
    """A run with kept models of three families, untrained but small."""
    study = StudyFile(
        data=DataRef("digits"), families=("autoencoder", "wgan_gp", "ddpm"), trainings=1, objective=("fid",)
    )
    folder = RunFolder.create_or_match(tmp_path / "run", study)
    data = load("digits")
    kept: tuple[tuple[str, type[GenerativeModel], int], ...] = (
        ("autoencoder", Autoencoder, 8),
        ("wgan_gp", WGANGP, 8),
        ("ddpm", DDPM, 16),
    )
    for family, model, width in kept:
        torch.manual_seed(0)
        card = ModelCard(family, DataRef("digits"), data.fingerprint, {"width": width}, 0)
        for number in range(2):
            save_model(folder.artifact("models", f"final-{family}-0-0-00{number}"), model(data.spec, width=width), card)  # type: ignore[call-arg]
    return folder


def test_the_command_writes_what_it_prints_and_the_report_shows_it(
    run_folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Codes on a plane" not in write_report(run_folder).read_text(encoding="utf-8")
    code, out, _ = _run(capsys, str(run_folder.path), "--family", "autoencoder", "--json")
    assert code == 0
    content = json.loads(out)
    assert content["model"] == "final-autoencoder-0-0-000"
    assert content == run_folder.read_json(f"latent/{content['model']}.json")
    page = (run_folder.report_path / "index.html").read_text(encoding="utf-8")
    assert "Codes on a plane" in page
    assert 'href="#latent"' in page

    arguments = ("--family", "wgan_gp", "--model", "final-wgan_gp-0-0-001")
    code, out, _ = _run(capsys, str(run_folder.path), *arguments)
    assert code == 0
    files = [Path(line) for line in out.splitlines()]
    assert [file.name for file in files] == [
        "final-wgan_gp-0-0-001.json",
        "final-wgan_gp-0-0-001-interpolation-linear.png",
        "final-wgan_gp-0-0-001-interpolation-spherical.png",
        "final-wgan_gp-0-0-001-traversals.png",
    ]
    assert all(file.is_file() for file in files)
    page = (run_folder.report_path / "index.html").read_text(encoding="utf-8")
    assert "Not defined: the family does not encode." in page
    before = files[0].read_text(encoding="utf-8"), files[1].read_bytes()
    _run(capsys, str(run_folder.path), *arguments)
    assert before == (files[0].read_text(encoding="utf-8"), files[1].read_bytes())  # the same again


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--family", "autoencodr"), "unknown family 'autoencodr'; did you mean 'autoencoder'?"),
        (("--family", "realnvp"), "has kept no model of 'realnvp'; known: autoencoder, ddpm, wgan_gp"),
        (("--family", "ddpm"), "family 'ddpm' has no codes: it does not decode"),
        (("--family", "wgan_gp", "--model", "final-wgan_gp-0-0-002"), "did you mean 'final-wgan_gp-0-0-00"),
        ((), "Missing option '--family'"),
    ],
)
def test_wrong_input_gives_one_line_and_exit_code_2(
    run_folder: RunFolder, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = _run(capsys, str(run_folder.path), *arguments)
    assert code == 2
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_run_without_models_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = StudyFile(data=DataRef("digits"), families=("vae",), trainings=1, objective=("fid",))
    folder = RunFolder.create_or_match(tmp_path / "run", study)
    code, _, err = _run(capsys, str(folder.path), "--family", "vae")
    assert code == 2
    assert "has kept no models yet" in err
    code, _, err = _run(capsys, str(tmp_path / "nowhere"), "--family", "vae")
    assert code == 2
    assert "is not there" in err
