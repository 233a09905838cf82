"""Scoring samples made elsewhere, as people and scripts meet it, and the cache of real features behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gentune.bench.commands.cli import main
from gentune.bench.data import load
from gentune.bench.data.examples import Column, Examples
from gentune.bench.evaluate import external_samples as module
from gentune.bench.evaluate.external_samples import evaluate
from gentune.bench.evaluators import Evaluator, default_cache, describe_cached, library, load_or_train
from gentune.bench.evaluators.networks import Raw
from gentune.bench.scoring.context import ScoringContext
from gentune.bench.scoring.references import evaluators_by_role, reference_batch
from gentune.bench.scoring.scorer import metric_names, score
from gentune.models.base import Batch
from gentune.models.data_spec import DataSpec

DIGITS = load("digits")
IMAGE_METRICS = ("fid", "kid", "inception_score", "precision", "recall", "density", "coverage", "mmd")


@pytest.fixture(scope="module", autouse=True)
def _quick_evaluators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Evaluators trained for an instant, in a cache of this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(library, "_FEWEST_STEPS", 60)
        patch.setattr(library, "_EPOCHS", 1)
        yield


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as end:
        main(["evaluate", *arguments])
    captured = capsys.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 0
    return json.loads(out)


def eight_bit(x: torch.Tensor) -> np.ndarray:
    return np.round(DIGITS.spec.to_levels(x).numpy() * (255 / 16)).astype(np.uint8)


def save_digits(path: Path, batch: Batch, *, labels: bool = False) -> str:
    if labels:
        assert batch.condition is not None
        np.savez(path, samples=eight_bit(batch.x), labels=batch.condition.numpy())
    else:
        np.save(path, eight_bit(batch.x))
    return str(path)


# Scores


def test_scores_are_those_that_runs_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = DIGITS.splits["validation"].all()
    path = save_digits(tmp_path / "a.npz", real, labels=True)
    for role in ("primary", "second"):
        evaluator = evaluators_by_role(DIGITS, default_cache())[role]
        expected = score(ScoringContext(DIGITS, "test", real, evaluator, default_cache()), metric_names("quick"))
        (row,) = rows(capsys, path, "--data", "digits", "--evaluator", role)
        assert row["path"] == path
        assert row["n"] == row["available"] == len(real) == 359
        assert row["evaluator"]["name"] == ("mixer" if role == "second" else "convolutional")
        assert row["evaluator"]["fingerprint"]
        assert set(row["metrics"]) >= {*IMAGE_METRICS, "condition_accuracy"}
        assert "nll" not in row["metrics"] and "train_seconds" not in row["metrics"]
        for name in (*IMAGE_METRICS, "condition_accuracy"):
            value = expected.values[name]
            assert tuple(row["metrics"][name][k] for k in ("value", "low", "high")) == (
                value.value,
                value.low,
                value.high,
            )
            assert row["metrics"][name]["unit"] == module.METRICS[name].unit
            # The samples are the floor's own examples.
            assert row["floor"]["metrics"][name]["value"] == pytest.approx(value.value, rel=1e-9, abs=1e-12)


def test_every_form_of_the_same_samples_scores_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch = DIGITS.splits["validation"][slice(0, 60)]
    pixels = eight_bit(batch.x)[:, 0]
    (tmp_path / "folder").mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "folder" / f"{i:03}.png")
    np.save(tmp_path / "last.npy", pixels[..., None].astype(np.int64))
    np.save(tmp_path / "float.npy", batch.x.numpy())
    np.savez(tmp_path / "one.npz", pixels)
    paths = [str(tmp_path / name) for name in ("folder", "last.npy", "float.npy", "one.npz")]
    found = rows(capsys, *paths, "--data", "digits", "--metrics", "fid,coverage")
    assert [row["path"] for row in found] == paths
    assert all(row["n"] == 60 and list(row["metrics"]) == ["fid", "coverage"] for row in found)
    assert all(row["metrics"] == found[0]["metrics"] for row in found)


def test_worse_samples_score_worse(tmp_path: Path) -> None:
    real = DIGITS.splits["validation"].x[:]
    generator = torch.Generator().manual_seed(0)
    noisy = (real + 0.5 * torch.randn(real.shape, generator=generator)).clamp(-1, 1)
    paths = [tmp_path / "real.npy", tmp_path / "noisy.npy"]
    for path, x in zip(paths, (real, noisy), strict=True):
        np.save(path, x.numpy())
    good, bad = (row.measured.values for row in evaluate(paths, "digits", metrics=["fid", "mmd", "coverage"]))
    assert bad["fid"].value > 5 * good["fid"].value
    assert bad["mmd"].value > good["mmd"].value
    assert bad["coverage"].value < good["coverage"].value


def test_labels_say_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = DIGITS.splits["validation"].all()
    assert real.condition is not None
    right = save_digits(tmp_path / "right.npz", real, labels=True)
    wrong = save_digits(tmp_path / "wrong.npz", Batch(real.x, (real.condition + 1) % 10), labels=True)
    without = save_digits(tmp_path / "without.npy", real)
    found = rows(capsys, right, wrong, without, "--data", "digits", "--metrics", "condition_accuracy,nll")
    accuracies = [row["metrics"]["condition_accuracy"] for row in found]
    assert accuracies[0]["value"] > 0.6 > 0.2 > accuracies[1]["value"]
    assert accuracies[0]["low"] < accuracies[0]["value"] < accuracies[0]["high"]
    assert accuracies[2] == {"undefined": "needs class conditions"}
    assert found[0]["metrics"]["nll"] == {"undefined": "needs a likelihood"}


def test_an_evaluator_without_classes_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_digits(tmp_path / "a.npz", DIGITS.splits["validation"].all(), labels=True)
    (row,) = rows(capsys, path, "--data", "digits", "--evaluator", "raw", "--metrics", "condition_accuracy,fid")
    assert row["metrics"]["condition_accuracy"] == {"undefined": "evaluator raw does not know the data's classes"}
    assert row["metrics"]["fid"]["value"] > 0


def test_vectors_are_in_original_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load("two_moons")
    real = reference_batch(data, "validation", 400)
    spec = data.spec
    original = real.x.double().numpy() * np.array(spec.deviation) + np.array(spec.mean)
    np.save(tmp_path / "a.npy", original)
    (row,) = rows(capsys, str(tmp_path / "a.npy"), "--data", "two_moons")
    evaluator = evaluators_by_role(data, default_cache())["primary"]
    expected = score(ScoringContext(data, "test", real, evaluator, default_cache()), metric_names("quick"))
    for name in ("mmd", "fid", "precision", "coverage"):
        assert row["metrics"][name]["value"] == pytest.approx(expected.values[name].value, rel=1e-4, abs=1e-9)
    assert row["n"] == 400
    assert "undefined" in row["metrics"]["inception_score"]


def test_the_larger_side_is_subsampled_by_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = save_digits(tmp_path / "many.npy", DIGITS.splits["train"].all())
    few = save_digits(tmp_path / "few.npy", DIGITS.splits["train"][slice(0, 100)])
    command = (many, few, "--data", "digits", "--metrics", "fid")
    first, again, other = (rows(capsys, *command, "--seed", seed) for seed in ("1", "1", "2"))
    assert [(row["n"], row["available"], row["seed"]) for row in first] == [(360, 1078, 1), (100, 100, 1)]
    assert [row["floor"]["n"] for row in first] == [359, 100]
    assert first == again
    for side in (0, 1):  # of many the samples differ, of few the reference
        assert first[side]["metrics"]["fid"]["value"] != other[side]["metrics"]["fid"]["value"]
    counted = rows(capsys, *command, "--count", "50")
    assert [row["n"] for row in counted] == [50, 50]
    validation = rows(capsys, *command, "--split", "validation")
    assert [row["n"] for row in validation] == [359, 100]
    assert validation[0]["split"] == "validation"


# What people see


def test_one_path_is_shown_with_its_intervals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_digits(tmp_path / "[bold]a.npz", DIGITS.splits["validation"].all(), labels=True)
    code, out, err = run(capsys, path, "--data", "digits", "--metrics", "condition_accuracy,nll")
    assert code == 0 and err == ""
    assert "359 samples against digits, test split" in " ".join(out.split())
    for word in ("condition_accuracy", "95% interval", "floor (n = 359)", "needs a likelihood", "[bold]"):
        assert word in out


def test_several_paths_give_a_leaderboard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    real = DIGITS.splits["validation"].x[:]
    for name, x in (
        ("noise", torch.rand(real.shape, generator=generator) * 2 - 1),
        ("real", real),
        ("blurred", (real + real.roll(1, -1)) / 2),
        ("fewer", real[:50]),
    ):
        np.save(f"{name}.npy", x.numpy())
    code, out, _ = run(capsys, "noise.npy", "blurred.npy", "real.npy", "--data", "digits")
    assert code == 0
    places = [out.index(name) for name in ("real.npy", "blurred.npy", "noise.npy", "floor")]
    assert places == sorted(places)
    assert "best fid first" in out
    assert "counts differ" not in out
    _, out, _ = run(capsys, "noise.npy", "blurred.npy", "real.npy", "--data", "digits", "--metrics", "coverage,nll")
    places = [out.index(name) for name in ("real.npy", "blurred.npy", "noise.npy", "floor")]
    assert places == sorted(places)  # the best has the highest coverage
    assert "not defined here: nll" in out
    _, out, _ = run(capsys, "fewer.npy", "real.npy", "--data", "digits")
    assert "counts differ" in out and "--count 50 makes them equal" in out


def test_notes_go_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    levels = DIGITS.spec.to_levels(DIGITS.splits["validation"].x[:]).numpy()
    np.save(tmp_path / "levels.npy", levels)
    code, out, err = run(capsys, str(tmp_path / "levels.npy"), "--data", "digits", "--metrics", "fid", "--json")
    assert code == 0
    assert json.loads(out)[0]["n"] == 359
    assert "integers are taken as 8-bit" in err and err.count("\n") == 1


# Whatever is wrong


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("good.npy",), "Missing option '--data'"),
        (("--data", "digits"), "Missing argument"),
        (("nowhere.npy", "--data", "digits"), "nowhere.npy is not there"),
        (("good.npy", "--data", "digit"), "unknown data set 'digit'; did you mean 'digits'?"),
        (("good.npy", "--data", "digits", "--metrics", "fdi"), "unknown metric 'fdi'; did you mean 'fid'?"),
        (
            ("good.npy", "--data", "digits", "--evaluator", "inception-v3"),
            "unknown evaluator 'inception-v3'; did you mean 'inception'?",
        ),
        (("good.npy", "--data", "digits", "--evaluator", "random_projection"), "looks at vectors"),
        (("good.npy", "--data", "digits", "--split", "train"), "unknown split 'train'"),
        (("good.npy", "--data", "digits", "--count", "1"), "a count of 1 was asked for; wanted at least 2"),
        (
            ("good.npy", "--data", "digits", "--weights", "w.pth"),
            "evaluator 'primary' takes no weights; pretrained ones do",
        ),
        (
            ("good.npy", "--data", "digits", "--evaluator", "inception-v3-compat", "--weights", "w.pth"),
            "w.pth are not there; wanted inception-v3-compat:FILE",
        ),
        (("good.npy", "--data", "two_moons"), "good.npy has shape (20, 8, 8); wanted (n, 2)"),
        (("good.npy", "wide.npy", "--data", "digits"), "wide.npy has shape (20, 8, 9); wanted (n, 1, 8, 8) or"),
        (("range.npy", "--data", "digits"), "range.npy has integers from 300 to 300; wanted 8-bit values, 0 to 255"),
        (("float.npy", "--data", "digits"), "float.npy has floats from 2 to 2; wanted [−1, 1]"),
        (("dtype.npy", "--data", "digits"), "dtype.npy holds numbers of type bool; wanted integers or floats"),
        (("nan.npy", "--data", "digits"), "nan.npy has 1280 of 1280 values NaN or infinite, the first in sample 0"),
        (("single.npy", "--data", "digits"), "single.npy holds 1 sample; wanted at least 2"),
        (("pickle.npz", "--data", "digits"), "pickle.npz holds Python objects (a pickle), which are never loaded"),
        (("labels.npz", "--data", "digits"), "labels.npz: labels have shape (3,); wanted (20,), one for each sample"),
        (("range.npz", "--data", "digits"), "range.npz: labels go from 10 to 10; data 'digits' has classes 0 to 9"),
        (("empty", "--data", "digits"), "empty holds no images"),
        (("mixed", "--data", "digits"), "1.png is 9 × 8 pixels (width × height); wanted 8 × 8"),
        (("broken", "--data", "digits"), "1.png is no image of a known kind, or is broken"),
    ],
)
def test_bad_input_gets_one_line_and_code_2(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    good = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    np.save("good.npy", good)
    np.save("wide.npy", np.zeros((20, 8, 9), np.uint8))
    np.save("range.npy", np.full((20, 8, 8), 300))
    np.save("float.npy", np.full((20, 8, 8), 2.0))
    np.save("dtype.npy", good > 9)
    np.save("nan.npy", np.full((20, 8, 8), np.nan))
    np.save("single.npy", good[:1])
    np.savez("pickle.npz", samples=np.array([{}] * 20))
    np.savez("labels.npz", samples=good, labels=np.zeros(3, int))
    np.savez("range.npz", samples=good, labels=np.full(20, 10))
    for name in ("empty", "mixed", "broken"):
        Path(name).mkdir()
    for name in ("mixed", "broken"):
        Image.new("L", (8, 8)).save(f"{name}/0.png")
    Image.new("L", (9, 8)).save("mixed/1.png")
    Path("broken/1.png").write_bytes(b"no picture")
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


# The cache of real features


class Counted(Evaluator):
    """Raw values, and how often they were computed."""

    def __init__(self, fingerprint: str = "f") -> None:
        super().__init__("counted", fingerprint, Raw(DataSpec("x", "vector", (3,))))
        self.calls = 0

    def describe(self, x: torch.Tensor | Column, *, chunk: int | None = None) -> Any:
        self.calls += 1
        return super().describe(x, chunk=chunk)


POINTS = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))


def test_features_are_kept(tmp_path: Path) -> None:
    first, second = Counted(), Counted()
    expected = describe_cached(first, POINTS, cache=tmp_path)
    found = describe_cached(second, POINTS.clone(), cache=tmp_path)
    assert (first.calls, second.calls) == (1, 0)
    assert torch.equal(found.features, expected.features)
    assert torch.equal(found.features, POINTS.double())
    assert found.probabilities is None
    assert len(list(tmp_path.rglob("*"))) == 2  # the folder and one file


def test_examples_in_a_file_have_the_same_features_read_in_parts(tmp_path: Path) -> None:
    """And are known by the same name, so that either finds what the other has kept."""
    column, asked = Examples.of_arrays(DataSpec("x", "vector", (3,)), POINTS).x, []

    class Watched(Column):
        def __getitem__(self, index: torch.Tensor | slice) -> torch.Tensor:
            part = super().__getitem__(index)
            asked.append(len(part))
            return part

    evaluator = Counted()
    evaluator.chunk = 6
    found = describe_cached(evaluator, Watched(column.stored, column.restore), cache=tmp_path)
    assert torch.equal(found.features, POINTS.double())
    assert [n for n in asked if n][-4:] == [6, 6, 6, 2]
    again = describe_cached(evaluator, POINTS, cache=tmp_path)
    assert evaluator.calls == 1
    assert torch.equal(again.features, found.features)


def test_probabilities_are_kept(tmp_path: Path) -> None:
    evaluator = load_or_train(DIGITS, "convolutional", cache=default_cache())
    x = DIGITS.splits["test"].x[:7]
    written, read = (describe_cached(evaluator, x, cache=tmp_path) for _ in range(2))
    assert written.probabilities is not None and read.probabilities is not None
    assert torch.equal(written.probabilities, read.probabilities)
    direct = evaluator.describe(x).probabilities
    assert direct is not None and torch.equal(read.probabilities, direct)


def test_other_examples_and_other_evaluators_have_their_own(tmp_path: Path) -> None:
    evaluator, other = Counted(), Counted("g")
    for x in (POINTS, POINTS[:10], POINTS.flip(0), POINTS.double()):
        describe_cached(evaluator, x, cache=tmp_path)
    describe_cached(other, POINTS, cache=tmp_path)
    assert (evaluator.calls, other.calls) == (4, 1)


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "text"])
def test_a_damaged_file_is_set_aside_and_made_again(damage: str, tmp_path: Path) -> None:
    evaluator = Counted()
    describe_cached(evaluator, POINTS, cache=tmp_path)
    (file,) = (tmp_path / "features").iterdir()
    content = file.read_bytes()
    flipped = content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]
    file.write_bytes({"flipped": flipped, "truncated": content[:-9], "empty": b"", "text": b"hello"}[damage])
    again = describe_cached(evaluator, POINTS, cache=tmp_path)
    assert evaluator.calls == 2
    assert torch.equal(again.features, POINTS.double())
    names = sorted(path.name for path in (tmp_path / "features").iterdir())
    assert names[0] == file.name and names[1].startswith(f"{file.name}.damaged-") and len(names) == 2
    assert file.read_bytes() == content


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file where the folder would be")
    evaluator = Counted()
    found = describe_cached(evaluator, POINTS, cache=tmp_path)
    assert torch.equal(found.features, POINTS.double())
    assert evaluator.calls == 1
