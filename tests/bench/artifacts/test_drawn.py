"""`gentune sample`: files that hold a model's samples, and one line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from gentune.bench import registry
from gentune.bench.artifacts.pictures import write_samples
from gentune.bench.artifacts.rows import rows_of
from gentune.bench.commands.cli import main
from gentune.bench.data import DataRef, load, open_data
from gentune.bench.errors import UsageError
from gentune.bench.evaluate.sample_files import read_samples
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.study_file import StudyFile
from gentune.bench.scoring.references import reference_batch
from gentune.bench.training.checkpoints import ModelCard, load_model, save_model

TABLE = "age,fare,sex\n" + "".join(
    f"{'' if i % 9 == 0 else 20 + i % 50},{(i * 37 % 500) / 100:.2f},{'male' if i % 3 else 'female'}\n"
    for i in range(120)
)


def _folder(tmp_path: Path, data: DataRef, family: str, plugins: tuple[str, ...] = ()) -> RunFolder:
    """A run that has kept one trained model of a closed-form family."""
    registry.load_plugins(plugins)
    study = StudyFile(data=data, families=(family,), trainings=1, objective=("nll",), plugins=plugins)
    folder = RunFolder.create_or_match(tmp_path / "run", study)
    read = open_data(data)
    model = registry.family(family).load()(read.spec)
    fit = model.stages()[0].fit
    assert fit is not None
    fit(read.splits["train"].all(), torch.Generator().manual_seed(0))
    name = f"final-{family}-0-0-000"
    save_model(folder.artifact("models", name), model, ModelCard(family, data, read.fingerprint, {}, 0))
    return folder


def _sample(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["sample", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


@pytest.fixture
def table(tmp_path: Path) -> RunFolder:
    path = tmp_path / "people.csv"
    path.write_text(TABLE, encoding="utf-8")
    return _folder(tmp_path, DataRef.of("table", path=str(path)), "histogram")


def test_samples_of_a_table_are_rows_of_it(
    table: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "drawn.csv"
    code, said, _ = _sample(capsys, table.path, "--family", "histogram", "--n", 500, "--out", out, "--json")
    assert code == 0
    about = json.loads(said)
    assert json.loads((tmp_path / "drawn.csv-metadata.json").read_text(encoding="utf-8")) == about
    assert about["synthetic"] is True
    assert about["made_by"] == "histogram"
    real, drawn = pd.read_csv(tmp_path / "people.csv"), pd.read_csv(out)
    assert list(drawn) == list(real)
    assert len(drawn) == 500
    assert set(drawn["sex"]) == {"male", "female"}
    assert abs((drawn["sex"] == "male").mean() - 2 / 3) < 0.1
    assert 0.04 < drawn["age"].isna().mean() < 0.2
    ages = drawn["age"].dropna()
    assert (ages == ages.round()).all()
    assert ages.between(20, 69).all()
    assert (drawn["fare"].round(2) == drawn["fare"]).all()

    same = tmp_path / "same.parquet"
    _sample(capsys, table.path, "--family", "histogram", "--n", 500, "--out", same)
    assert pd.read_parquet(same)["fare"].tolist() == drawn["fare"].tolist()
    other = tmp_path / "other.csv"
    _sample(capsys, table.path, "--family", "histogram", "--n", 500, "--out", other, "--seed", 1)
    assert pd.read_csv(other)["fare"].tolist() != drawn["fare"].tolist()


def test_arrays_are_what_evaluate_reads(table: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "drawn.npz"
    assert _sample(capsys, table.path, "--family", "histogram", "--n", 40, "--out", out)[0] == 0
    model, card = load_model(table.artifact("models", "final-histogram-0-0-000"))
    spec = open_data(card.data).spec
    found = read_samples(out, spec)
    assert found.batch.x.shape == (40, *spec.shape)
    with np.load(out) as content:
        assert json.loads(str(content["about"]))["made_by"] == "histogram"
    assert found.batch.x.abs().max() < 6.0, "standardised again"
    assert model.data == spec


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_are_what_evaluate_reads_again(
    table: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    out = tmp_path / f"drawn.{ending}"
    assert _sample(capsys, table.path, "--family", "histogram", "--n", 40, "--out", out)[0] == 0
    spec = open_data(DataRef.of("table", path=str(tmp_path / "people.csv"))).spec
    found = read_samples(out, spec)
    assert found.notes == ()
    again = rows_of(found.batch, spec)
    assert (
        again.to_csv()
        == (pd.read_csv(out, dtype={"age": "Int64"}) if ending == "csv" else pd.read_parquet(out)).to_csv()
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("age,fare\n20,1.5\n21,2.5\n", "has no column 'sex'"),
        ("age,fare,sex\n20,1.5,mail\n21,2.5,male\n", "holds 'mail' in row 1; did you mean 'male'?"),
        ("age,fare,sex\n20,,male\n21,2.5,male\n", "lacks values in 1 rows"),
        ("age,fare,sex\n20,old,male\n21,new,male\n", "holds no numbers"),
        ("age,fare,sex\n20,1.5,male\n", "1 sample"),
        ("", "is empty"),
    ],
)
def test_rows_that_the_table_cannot_have_are_one_line(
    table: RunFolder, tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "made.csv"
    path.write_text(content, encoding="utf-8")
    spec = open_data(DataRef.of("table", path=str(tmp_path / "people.csv"))).spec
    with pytest.raises(UsageError) as refused:
        read_samples(path, spec)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_images_come_as_a_sheet_or_as_arrays_with_their_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _folder(tmp_path, DataRef("digits"), "naive_bayes")
    sheet, arrays = tmp_path / "drawn.png", tmp_path / "drawn.npz"
    for out in (sheet, arrays):
        assert _sample(capsys, folder.path, "--family", "naive_bayes", "--n", 23, "--out", out)[0] == 0
    with Image.open(sheet) as image:
        assert image.size == (10 * 33 + 1, 3 * 33 + 1)
        assert image.info["Made by"] == "naive_bayes"
    found = read_samples(arrays, load("digits").spec)
    assert len(found.batch) == 23
    assert found.batch.labels is not None


def test_text_comes_back_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "words.txt"
    path.write_text("".join(f"word {i}\n" for i in range(10, 80)), encoding="utf-8")
    plugin = str(Path(__file__).parents[2] / "plugins" / "letters.py")
    folder = _folder(tmp_path, DataRef.of("text", path=str(path), lines=True), "letters", (plugin,))
    out = tmp_path / "drawn.txt"
    code, _, said = _sample(capsys, folder.path, "--family", "letters", "--n", 30, "--out", out)
    assert code == 0, said
    lines = out.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 30
    assert sum(line.startswith("word ") for line in lines) > 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--family", "histogramm", "--n", 5, "--out", "a.csv"), "did you mean 'histogram'?"),
        (("--family", "histogram", "--n", 5, "--out", "a.png"), "wanted .csv or .parquet or .npz"),
        (("--family", "histogram", "--n", 0, "--out", "a.csv"), "wanted 1 to 1,000,000"),
        (("--family", "histogram", "--n", 5, "--out", "a.csv", "--set", "temperature=1"), "the family has none"),
        (("--family", "histogram", "--n", 5, "--out", "a.csv", "--set", "bins=4"), "bins belongs to the training"),
        (("--family", "histogram", "--n", 5, "--out", "a.csv", "--set", "bins"), "wanted NAME=VALUE"),
        (("--family", "histogram", "--n", 5, "--out", "/proc/none/a.csv"), "cannot be written"),
    ],
)
def test_wrong_use_is_one_line(
    table: RunFolder, capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], said: str
) -> None:
    code, _, error = _sample(capsys, table.path, *arguments)
    assert code == 2
    assert said in error
    assert len(error.splitlines()) == 1


def test_samples_of_data_that_have_changed_are_refused(
    table: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "people.csv"
    path.write_text(TABLE.replace("69,", "68,"), encoding="utf-8")
    open_data(DataRef.of("table", path=str(path)), again=True)
    code, _, error = _sample(capsys, table.path, "--family", "histogram", "--n", 5, "--out", tmp_path / "a.csv")
    assert code == 2
    assert "have changed since final-histogram-0-0-000 was trained" in error


def test_artifacts_of_a_table_are_its_rows(tmp_path: Path) -> None:
    data = load("iris")
    batch = reference_batch(data, "test", 20)
    assert write_samples(tmp_path, "real", batch, data.spec, maker=None) is None
    rows = pd.read_csv(tmp_path / "real.csv")
    assert list(rows)[-1] == "species"
    assert rows["species"].isin(["setosa", "versicolor", "virginica"]).all()
    assert json.loads((tmp_path / "real.csv-metadata.json").read_text(encoding="utf-8"))["synthetic"] is False
