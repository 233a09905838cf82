"""Files of tables: what is read of them, how they are split and written again, and one line for what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from gentune.bench.data import DataRef, DataSet, describe_data, load, locate, open_data
from gentune.bench.data.sources.tables import Tables
from gentune.bench.data.tables.codec import decode
from gentune.bench.data.tables.columns import frame_of
from gentune.bench.data.tables.files import read_csv
from gentune.bench.errors import UsageError
from gentune.testing import DataContract

PASSENGERS = """\
id,age,fare,sex,class,survived,left,cabin
1,22,7.25,male,3,no,1912-04-10,
2,38,71.28,female,1,yes,1912-04-10,C85
3,26,7.92,female,3,yes,,
4,35,53.1,female,1,yes,1912-04-11,C123
5,,8.05,male,3,no,1912-04-10,
"""


def passengers(folder: Path, copies: int = 40) -> Path:
    """Passengers in CSV, each several times with another fare and age."""
    head, *rows = PASSENGERS.splitlines()
    random = np.random.default_rng(5)
    lines = []
    for i in range(copies * len(rows)):
        _, age, fare, *rest = rows[i % len(rows)].split(",")
        new_age = "" if not age else str(int(age) + random.integers(0, 9))
        lines.append(",".join([str(i + 1), new_age, f"{float(fare) + random.integers(0, 500) / 100:.2f}", *rest]))
    path = folder / "passengers.csv"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def plain(path: Path, **options: Any) -> pd.DataFrame:
    """A table as pandas reads it with the types that are meant."""
    return read_csv(
        path,
        **{"separator": "", "encoding": "utf-8", "decimal": ".", "header": True, "missing_values": (), **options},
    )


class TestTables(DataContract):
    """The contract, on a table with every kind of column."""

    reader = Tables()

    @pytest.fixture(autouse=True, scope="class")
    def file(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        type(self).options = {"path": str(passengers(tmp_path_factory.mktemp("tables"))), "label": "survived"}


def test_columns_have_their_kinds_types_and_ranges(tmp_path: Path) -> None:
    table = describe_data(locate(str(passengers(tmp_path)))).table
    assert table is not None
    found = {c.name: (c.kind, c.dtype, c.missing, c.decimals) for c in table.columns}
    assert found == {
        "age": ("number", "Int64", True, 0),
        "fare": ("number", "float64", False, 2),
        "sex": ("category", "str", False, None),
        "class": ("number", "int64", False, 0),
        "survived": ("category", "str", False, None),
        "left": ("time", "str", True, 0),
        "cabin": ("category", "str", True, None),
    }
    assert table.dimensions == 2 + 1 + 1 + 1 + 1 + 2 + 3


def decoded(data: DataSet) -> list[pd.DataFrame]:
    """The rows of each split."""
    table, mean, deviation = data.spec.table, data.spec.mean, data.spec.deviation
    assert table is not None
    assert mean is not None
    assert deviation is not None
    return [
        frame_of(table, decode(table, split.x[:].double().numpy() * np.array(deviation) + np.array(mean)))
        for split in data.splits.values()
    ]


def test_a_data_set_decodes_to_the_rows_of_the_file(tmp_path: Path) -> None:
    path = passengers(tmp_path)
    data = open_data(locate(str(path)))
    wanted = plain(path).drop(columns="id")
    order = ["fare", "age", "cabin", "left"]
    again = pd.concat(decoded(data)).sort_values(order, ignore_index=True)
    assert_frame_equal(again, wanted.sort_values(order, ignore_index=True), check_exact=True)
    assert "column 'id' is left out: it counts the rows" in data.notes


def test_a_label_becomes_the_condition_with_its_values(tmp_path: Path) -> None:
    data = open_data(DataRef.of("table", path=str(passengers(tmp_path)), label="survived", drop=("cabin",)))
    assert data.spec.condition.kind == "label"
    assert data.spec.classes == 2
    assert data.spec.table is not None
    assert data.spec.table.label_column is not None
    assert data.spec.table.label_column.categories == ("no", "yes")
    assert [column.name for column in data.spec.table.modelled] == ["age", "fare", "sex", "class", "left"]
    share = [float(split.labels.double().mean()) for split in data.splits.values() if split.labels is not None]
    assert share == pytest.approx([0.6] * 3, abs=0.03)  # stratified


def test_columns_of_numbers_may_be_categories(tmp_path: Path) -> None:
    ref = DataRef.of("table", path=str(passengers(tmp_path)), columns=("class", "fare"), categorical=("class",))
    table = describe_data(ref).table
    assert table is not None
    assert [(c.name, c.kind, c.categories) for c in table.columns] == [
        ("fare", "number", ()),
        ("class", "category", (1, 3)),
    ]


def test_no_group_stands_in_two_splits(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    patients = np.repeat(np.arange(40), 10)
    frame = pd.DataFrame({"patient": patients, "pressure": patients + random.integers(0, 10**6, 400) / 10**6})
    path = tmp_path / "visits.csv"
    frame.to_csv(path, index=False)
    data = open_data(DataRef.of("table", path=str(path), group="patient"))
    assert data.spec.shape == (1,), "the group itself is not modelled"
    seen = [set(np.floor(rows["pressure"]).astype(int)) for rows in decoded(data)]
    assert set.union(*seen) == set(range(40))
    assert sum(map(len, seen)) == 40


def test_rows_with_gaps_may_be_left_out(tmp_path: Path) -> None:
    path = passengers(tmp_path)
    data = open_data(DataRef.of("table", path=str(path), missing="drop", drop=("cabin",)))
    assert sum(map(len, data.splits.values())) == 120
    assert "80 of 200 rows are left out: a value is missing" in data.notes
    assert data.spec.table is not None
    assert not any(column.missing for column in data.spec.table.columns)


def test_equal_rows_stand_in_one_split_whatever_their_noise(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    frame = pd.DataFrame(random.integers(0, 10**4, (300, 3)), columns=["a", "b", "c"])
    path = tmp_path / "copies.csv"
    pd.concat([frame, frame.head(60)]).sample(frac=1, random_state=3).to_csv(path, index=False)
    data = open_data(locate(str(path)))
    assert any(note.startswith("copies of other examples: 60 of 360") for note in data.notes)
    values = [{tuple(row)[1:] for row in rows.itertuples()} for rows in decoded(data)]
    assert not values[0] & values[1]
    assert not (values[0] | values[1]) & values[2]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
def test_formats_hold_the_same_table(tmp_path: Path, name: str) -> None:
    frame = plain(passengers(tmp_path))
    path = tmp_path / name
    if name == "t.parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if name == "t.tsv" else ";")
    spec = describe_data(locate(str(path)))
    known = describe_data(locate(str(tmp_path / "passengers.csv")))
    assert spec.table is not None
    assert known.table is not None
    assert [(c.name, c.kind, c.low, c.high) for c in spec.table.columns] == [
        (c.name, c.kind, c.low, c.high) for c in known.table.columns
    ]


def test_european_numbers_and_other_encodings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("größe;ort\n1,5;Köln\n2,25;Bonn\n1,75;Köln\n", encoding="latin-1")
    frame = plain(path, encoding="latin-1", decimal=",")
    assert frame["größe"].tolist() == [1.5, 2.25, 1.75]
    assert frame["ort"].tolist() == ["Köln", "Bonn", "Köln"]


def test_post_codes_keep_their_zeros(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("code,n\n" + "01067,1.5\n99423,2.5\n" * 30, encoding="utf-8")
    table = describe_data(locate(str(path))).table
    assert table is not None
    assert table.columns[0].categories == ("01067", "99423")


def test_a_constant_column_is_told_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("unit,n\n" + "".join(f"kg,{i * i}\n" for i in range(60)), encoding="utf-8")
    data = open_data(locate(str(path)))
    assert data.spec.shape == (1,)
    assert data.spec.table is not None
    assert frame_of(data.spec.table, decode(data.spec.table, np.zeros((2, 1))))["unit"].tolist() == ["kg", "kg"]
    assert any("'unit' is constant" in note for note in data.notes)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_a_built_in_table_decodes_to_scikit_learns(name: str) -> None:
    from sklearn import datasets

    x, target = getattr(datasets, f"load_{name}")(return_X_y=True, **({"scaled": False} if name == "diabetes" else {}))
    rows = pd.concat(decoded(load(name))).to_numpy(np.float64)
    wanted = np.column_stack([x, target]) if name == "diabetes" else x
    assert np.array_equal(rows[np.lexsort(rows.T)], wanted[np.lexsort(wanted.T)])


def _rows(*lines: str, n: int = 20) -> str:
    return "\n".join([lines[0], *(lines[1:] * n)]) + "\n"


# Content of a CSV file, options, and what the line says.
BAD: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "empty": ("", {}, "is empty"),
    "no rows": ("a,b\n", {}, "has no rows"),
    "one row": ("a,b\n1,2\n", {}, "no column that varies"),
    "three rows": ("a,b\n1,2\n2,7\n5,5\n", {}, "wanted at least 5 in each split"),
    "blank first line": ("\na,b\n1,2\n", {}, "begins with an empty line"),
    "no names": (_rows("1,2", "3,4"), {}, "header = false"),
    "two columns of one name": (_rows("a,b,a", "1,2,3"), {}, "two columns called 'a'"),
    "a column without a name": (_rows("a,,b", "1,2,3"), {}, "column 2 has no name"),
    "a million columns": (",".join(f"c{i}" for i in range(10**6)) + "\n1\n", {}, "columns; wanted at most 4,096"),
    "a longer row": ("a,b\n1,2\n1,2,3\n", {}, "is no regular table"),
    "an open quote": ('a,b\n1,2\n"x,3\n', {}, "is no regular table"),
    "wrong encoding": ("a,b\nß,2\n".encode("latin-1"), {}, 'encoding, such as "latin-1"'),
    "unknown encoding": ("a,b\n1,2\n", {"encoding": "klingon"}, "unknown encoding 'klingon'"),
    "no text": (b"\x00\x01\x02" * 50, {}, "is no text"),
    "long separator": ("a,b\n1,2\n", {"separator": "::"}, "wanted one character"),
    "constant": (_rows("a,b", "1,x"), {}, "has no column that varies"),
    "names alone": ("a\n" + "".join(f"w{i}\n" for i in range(50)), {}, "every row has another text"),
    "infinite": (_rows("a,b", "1,2", "inf,3"), {}, "holds inf in row 2"),
    "huge": (_rows("a,b", "1e300,2", "1,5"), {}, "wanted finite numbers up to 1e+100"),
    "huge whole number": (_rows("a,b", "1,2", f"{10**30},3"), {}, "too large to be exact"),
    "a word among numbers": (_rows("a,b", "1,2", "4,5", "7,8", "n.a.,5"), {}, "missing_values = ['n.a.']"),
    "decimal commas": (_rows("a;b", "1;2", "3;5", "4;6", "1,5;3"), {}, 'decimal = ","'),
    "no such day": (_rows("d,b", "2021-02-30,2", "2021-03-01,3"), {}, "a date that does not exist"),
    "unknown label": (_rows("age,b", "1,2", "2,2"), {"label": "agee"}, "no column 'agee'; did you mean 'age'?"),
    "unknown column": (_rows("age,b", "1,2", "2,2"), {"drop": ("c",)}, "no column 'c'"),
    "one class": (_rows("a,y", "1,k", "2,k"), {"label": "y"}, "wanted at least two classes"),
    "label with gaps": (_rows("a,y", "1,k", "2,m", "3,"), {"label": "y"}, 'missing = "drop"'),
    "label with many values": (
        "a,y\n" + "".join(f"{i % 7},{i}.5\n" for i in range(1_500)),
        {"label": "y"},
        "cannot be a class",
    ),
    "every row has a gap": (_rows("a,b", "1,", ",2"), {"missing": "drop"}, "a value is missing in every row"),
    "wrong way with gaps": (_rows("a,b", "1,2"), {"missing": "mean"}, "wanted model or drop"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    content, options, said = BAD[case]
    path = tmp_path / "bad.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as refused:
        open_data(DataRef.of("table", path=str(path), **options))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.write_bytes(b"PAR1 but no more"), "is no Parquet file, or is damaged"),
        (lambda path: pd.DataFrame({"a": []}).to_parquet(path), "has no rows"),
        (lambda path: pd.DataFrame({"a": [[1], [2]]}).to_parquet(path), "column 'a' holds"),
        (
            lambda path: pd.DataFrame({"a": pd.to_datetime(["2020-01-01", "2021-01-01"], utc=True)}).to_parquet(path),
            "time zone",
        ),
    ],
)
def test_a_bad_parquet_file_is_refused_in_one_line(tmp_path: Path, write: Callable[[Path], Any], said: str) -> None:
    path = tmp_path / "bad.parquet"
    write(path)
    with pytest.raises(UsageError, match=said) as refused:
        open_data(DataRef.of("table", path=str(path)))
    assert "\n" not in str(refused.value)
