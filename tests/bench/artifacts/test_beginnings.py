"""`gentune sample --complete`: what is there stays, the rest is drawn, and one line says what cannot be completed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gentune.bench import registry
from gentune.bench.artifacts.beginnings import read_beginnings
from gentune.bench.commands.cli import main
from gentune.bench.data import DataRef, open_data
from gentune.bench.errors import UsageError
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.study_file import StudyFile
from gentune.bench.training.checkpoints import ModelCard, save_model
from gentune.models import DataSpec

GREY = DataSpec("grey", "image", (1, 4, 2), levels=3)
WORDS = DataSpec("words", "sequence", (4,), vocabulary=3, symbols=("a", "b", ""), padding=2)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that has kept an untrained model."""
    families = ("gated_pixel_cnn", "histogram")
    study = StudyFile(data=DataRef("digits"), families=families, trainings=1, objective=("fid",))
    folder = RunFolder.create_or_match(tmp_path / "run", study)
    data = open_data(DataRef("digits"))
    torch.manual_seed(0)
    for family in families:
        model = registry.family(family).load()(data.spec)
        card = ModelCard(family, DataRef("digits"), data.fingerprint, {}, 0)
        save_model(folder.artifact("models", f"final-{family}-0-0-000"), model, card)
    return folder


def _complete(run: RunFolder, family: str, known: Path, out: Path) -> int:
    command = ["sample", run.path, "--family", family, "--n", 3, "--complete", known, "--out", out]
    with pytest.raises(SystemExit) as end:
        main([str(part) for part in command])
    return int(end.value.code or 0)


def test_the_upper_half_of_an_image_is_kept_and_the_lower_drawn(run: RunFolder, tmp_path: Path) -> None:
    levels = (np.arange(64).reshape(8, 8) % 17 * 255 / 16).round().astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "known.png")
    assert _complete(run, "gated_pixel_cnn", tmp_path / "known.png", tmp_path / "out.npz") == 0
    samples = np.load(tmp_path / "out.npz")["samples"]
    assert samples.shape == (3, 1, 8, 8)
    expected = np.arange(32).reshape(4, 8) % 17 / 8.0 - 1.0
    assert np.allclose(samples[:, 0, :4], expected)
    assert not np.array_equal(samples[0, 0, 4:], samples[1, 0, 4:])


def test_samples_and_labels_come_in_turn(run: RunFolder, tmp_path: Path) -> None:
    samples = np.stack([np.full((1, 8, 8), v, np.float32) for v in (-1.0, 1.0)])
    missing = np.zeros(samples.shape, bool)
    missing[..., 7, 7] = True
    np.savez(tmp_path / "known.npz", samples=samples, missing=missing, labels=[3, 7])
    assert _complete(run, "gated_pixel_cnn", tmp_path / "known.npz", tmp_path / "out.npz") == 0
    out = np.load(tmp_path / "out.npz")
    assert out["labels"].tolist() == [3, 7, 3]
    there = ~missing[0]
    assert [s[there].mean() for s in out["samples"]] == [-1.0, 1.0, -1.0]


def test_a_family_that_draws_whole_examples_says_so(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _complete(run, "histogram", tmp_path / "known.png", tmp_path / "out.npz") == 2
    assert "histogram cannot complete examples" in capsys.readouterr().err


def test_lines_of_text_are_beginnings(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    path.write_text("ab\nbbbb\n", encoding="utf-8")
    known, missing = read_beginnings(path, WORDS, 3)
    assert known.x.tolist() == [[0, 1, 2, 2], [1, 1, 1, 1], [0, 1, 2, 2]]
    assert missing.tolist() == [[False, False, True, True], [False] * 4, [False, False, True, True]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("abaab", "line 1 has 5 characters; wanted at most 4"),
        ("a\nac", "line 2 has 'c', which data 'words' never has"),
        ("", "is empty"),
    ],
)
def test_text_that_does_not_fit_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "known.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        read_beginnings(path, WORDS, 1)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros(1)}, "holds x; wanted samples"),
        ({"samples": np.zeros((1, 4, 2))}, r"wanted \(n, 1, 4, 2\)"),
        ({"samples": np.full((1, 1, 4, 2), 2.0)}, "values outside"),
        ({"samples": np.zeros((1, 1, 4, 2)), "missing": np.zeros(3, bool)}, r"wanted bool \(1, 1, 4, 2\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "known.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=said):
        read_beginnings(tmp_path / "known.npz", GREY, 1)


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    Image.new("L", (3, 4)).save(tmp_path / "known.png")
    with pytest.raises(UsageError, match=r"3 × 4 pixels .* wanted 2 × 4"):
        read_beginnings(tmp_path / "known.png", GREY, 1)
    with pytest.raises(UsageError, match=r"wanted \.txt or \.npz"):
        read_beginnings(tmp_path / "known.png", WORDS, 1)
