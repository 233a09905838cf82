"""Arrays in files of numpy's: which kind they are taken for, and one line for whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gentune.bench.data import DataSet, locate, open_data
from gentune.bench.data.sources.array_files import array_members
from gentune.bench.errors import UsageError
from gentune.testing import DataContract

RANDOM = np.random.default_rng(5)
GREY = RANDOM.integers(0, 256, (60, 8, 12), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (60, 3, 8, 12), dtype=np.uint8)
LABELS = np.arange(60) % 3
POINTS = RANDOM.normal(5.0, 2.0, (60, 3))


def opened(path: Path, **options: Any) -> DataSet:
    return open_data(locate({"path": str(path), **options}), again=True)


def saved(path: Path, array: np.ndarray | None = None, **members: Any) -> Path:
    """An .npy of one array, or an .npz of named ones."""
    if array is None:
        np.savez_compressed(path, **members)
    else:
        np.save(path, array)
    return path


def rows(data: DataSet) -> list[bytes]:
    """Every example's levels or tokens, sorted."""
    x = torch.cat([split.x[:] for split in data.splits.values()])
    x = data.spec.to_levels(x) if data.spec.kind == "image" else x
    return sorted(row.numpy().astype(np.int64).tobytes() for row in x)


def wanted(values: np.ndarray) -> list[bytes]:
    return sorted(np.ascontiguousarray(row, np.int64).tobytes() for row in values)


class TestImagesContract(DataContract):
    """Labelled images, of 17 levels, mirrored."""

    @pytest.fixture(scope="class", autouse=True)
    def _file(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        path = saved(tmp_path_factory.mktemp("a") / "a.npz", images=COLOUR, labels=LABELS)
        type(self).reader, type(self).options = "arrays", {"path": str(path), "levels": 17, "flip": True}


class TestVectorsContract(DataContract):
    @pytest.fixture(scope="class", autouse=True)
    def _file(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        path = saved(tmp_path_factory.mktemp("a") / "a.npy", POINTS)
        type(self).reader, type(self).options = "arrays", {"path": str(path), "subset": 50}


class TestSequencesContract(DataContract):
    @pytest.fixture(scope="class", autouse=True)
    def _file(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        path = saved(tmp_path_factory.mktemp("a") / "a.npy", RANDOM.integers(0, 9, (60, 14), dtype=np.uint16))
        type(self).reader, type(self).options = "arrays", {"path": str(path)}


@pytest.mark.parametrize(
    ("array", "shape"),
    [(GREY, (1, 8, 12)), (GREY[:, None], (1, 8, 12)), (GREY[..., None], (1, 8, 12)), (COLOUR, (3, 8, 12))],
)
def test_levels_survive_a_round_trip(array: np.ndarray, shape: tuple[int, ...], tmp_path: Path) -> None:
    first = array if array.ndim == 4 and array.shape[1] in (1, 3) else array.reshape(60, *shape)
    for name, form in (("a.npy", array), ("b.npz", np.asfortranarray(array))):
        path = saved(tmp_path / name, form) if name == "a.npy" else saved(tmp_path / name, x=form)
        data = opened(path)
        assert (data.spec.kind, data.spec.shape, data.spec.levels) == ("image", shape, 256)
        assert rows(data) == wanted(first)
    last = opened(saved(tmp_path / "c.npy", first.transpose(0, 2, 3, 1)))
    assert rows(last) == wanted(first)


@pytest.mark.parametrize(
    ("array", "options", "levels", "note"),
    [
        (GREY / 255, {}, GREY, "0 (black) to 1"),
        ((GREY / 127.5 - 1).astype(np.float32), {}, GREY, "−1 (black) to 1"),
        (GREY.astype(np.float32), {}, GREY, ""),
        (GREY.astype(">i4"), {}, GREY, ""),
        (GREY.astype(np.uint16) * 257, {}, GREY, ""),
        (GREY > 127, {}, GREY > 127, ""),
        (GREY // 16, {"levels": 16}, GREY // 16, ""),
        (GREY // 16, {}, GREY // 16, "no value is above 15 of 255; levels = 16 would take them as levels"),
        (GREY, {"levels": 18}, (GREY.astype(int) * 34 + 255) // 510, ""),
    ],
)
def test_numbers_become_levels(
    array: np.ndarray, options: dict[str, Any], levels: np.ndarray, note: str, tmp_path: Path
) -> None:
    data = opened(saved(tmp_path / "a.npy", array), **options)
    assert rows(data) == wanted(levels[:, None])
    assert note in " ".join(data.notes)
    assert bool(note) == bool(data.notes)


def test_images_are_made_grey_cropped_and_resized_as_files_are(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", COLOUR)
    grey = np.stack([np.array(Image.fromarray(image.transpose(1, 2, 0)).convert("L")) for image in COLOUR])
    assert rows(opened(path, grey=True)) == wanted(grey[:, None])
    folder = tmp_path / "f"
    folder.mkdir()
    for i, image in enumerate(COLOUR):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{i:03}.png")
    options = {"crop": "square", "resize": 4, "levels": 100}
    assert rows(opened(path, **options)) == rows(opened(folder, **options))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (LABELS, ("0", "1", "2")),
        (LABELS[:, None].astype(float) * 5 - 5, ("-5", "0", "5")),
        (np.array(["cat", "dog", "eel"])[LABELS], ("cat", "dog", "eel")),
        (np.eye(3)[LABELS], ("0", "1", "2")),
    ],
)
def test_labels_come_in_many_forms(labels: np.ndarray, names: tuple[str, ...], tmp_path: Path) -> None:
    data = opened(saved(tmp_path / "a.npz", samples=GREY, labels=labels))
    assert (data.spec.classes, data.class_names) == (3, names)
    first = {image.astype(np.int64).tobytes(): label for image, label in zip(GREY, LABELS, strict=True)}
    train = data.splits["train"]
    assert train.labels is not None
    for image, label in zip(data.spec.to_levels(train.x[:]), train.labels, strict=True):
        assert first[image.numpy().tobytes()] == label
    assert opened(tmp_path / "a.npz", label="none").spec.classes == 0


@pytest.mark.parametrize(
    ("x", "y"), [("x_{}", "y_{}"), ("{}_images", "{}_labels"), ("{}", "labels_{}"), ("X_{}", "{}_y")]
)
def test_arrays_of_splits_are_found_by_their_names(x: str, y: str, tmp_path: Path) -> None:
    cuts = {"train": slice(0, 40), "val": slice(40, 50), "test": slice(50, 60)}
    arrays: dict[str, np.ndarray] = {x.format(name): GREY[cut] for name, cut in cuts.items()}
    arrays |= {y.format(name): LABELS[cut] for name, cut in cuts.items()}
    data = opened(saved(tmp_path / "a.npz", **arrays))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 40, "validation": 10, "test": 10}
    assert data.splits["test"].labels is not None
    assert data.splits["test"].labels.tolist() == LABELS[50:].tolist()


def test_conditions_are_images_or_tokens(tmp_path: Path) -> None:
    data = opened(saved(tmp_path / "a.npz", images=GREY, conditions=COLOUR))
    assert (data.spec.condition.kind, data.spec.condition.shape) == ("image", (3, 8, 12))
    assert data.splits["train"].condition is not None
    tokens = RANDOM.integers(0, 5, (60, 7))
    data = opened(saved(tmp_path / "b.npz", images=GREY, conditions=tokens))
    assert (data.spec.condition.kind, data.spec.condition.vocabulary) == ("text", 5)


def test_kind_overrules_what_numbers_look_like(tmp_path: Path) -> None:
    counts = RANDOM.integers(0, 50, (60, 4))
    path = saved(tmp_path / "a.npy", counts)
    assert "taken as sequences" in opened(path).notes[0]
    data = opened(path, kind="vector")
    assert data.spec.kind == "vector" and not data.notes
    assert data.spec.mean is not None and data.spec.deviation is not None
    values = data.splits["test"].x[:] * torch.tensor(data.spec.deviation) + torch.tensor(data.spec.mean)
    assert all(row in counts.tolist() for row in values.round().long().tolist())


def test_arrays_that_are_not_used_are_told(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", a=GREY, b=POINTS)
    with pytest.raises(UsageError, match=r"holds a, b; wanted one array.*or array = its name"):
        opened(path)
    assert opened(path, array="b").notes == ("arrays that are not used: a",)


def test_no_group_is_cut(tmp_path: Path) -> None:
    x = np.concatenate([POINTS, np.arange(60)[:, None] // 4], axis=1)
    path = saved(tmp_path / "a.npz", x=x, patient=np.array([f"p{i // 4}" for i in range(60)]))
    data = opened(path, group="patient")
    assert data.spec.mean is not None and data.spec.deviation is not None
    of = [split.x[:][:, 3] * data.spec.deviation[3] + data.spec.mean[3] for split in data.splits.values()]
    assert sum(len(set(patients.round().long().tolist())) for patients in of) == 15
    assert not data.notes
    with pytest.raises(UsageError, match="has no array 'patients'; did you mean 'patient'"):
        opened(path, group="patients")


def test_rows_of_an_archive_are_read_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gentune.bench.data.sources import array_files

    monkeypatch.setattr(array_files, "_CHUNK", 7 * 96)
    for file in (saved(tmp_path / "a.npz", x=GREY), saved(tmp_path / "a.npy", GREY)):
        (member,) = array_members(file).values()
        parts = list(member.chunks())
        assert [len(part) for part in parts] == [7] * 8 + [4]
        assert np.array_equal(np.concatenate(parts), GREY)


BAD: dict[str, tuple[dict[str, np.ndarray] | np.ndarray | bytes, dict[str, Any], str]] = {
    "no file of numpy's": (b"hello", {}, "a.npz is no array of numpy's, or is a pickle"),
    "cut off": (b"PK\x03\x04 nothing", {}, "a.npz is damaged or no file of numpy's"),
    "nothing": (b"", {}, "a.npz is damaged or no file of numpy's"),
    "objects": (np.array([{}] * 9, dtype=object), {}, "holds Python objects \\(a pickle\\), which are never loaded"),
    "text": (np.array(["a", "b"]), {}, "holds values of type <U1; wanted numbers"),
    "complex": (POINTS * 1j, {}, "holds values of type complex128; wanted numbers"),
    "scalar": (np.array(3), {}, "has shape \\(\\)"),
    "five axes": (np.zeros((30, 2, 2, 8, 8)), {}, "wanted \\(n, H, W\\), \\(n, C, H, W\\)"),
    "four channels": (np.zeros((30, 8, 8, 4), np.uint8), {}, "of 1 or 3 channels"),
    "empty": (GREY[:0], {}, "has no examples"),
    "one example": (GREY[:1], {}, "has 1 examples"),
    "constant": (np.full((30, 8, 8), 3, np.uint8), {}, "all 30 examples are the same"),
    "NaN": (np.where(GREY == 7, np.nan, GREY / 255), {}, "holds NaN or infinite values"),
    "huge": (GREY * 1e30, {}, "has numbers from 0 to 2.55e\\+32; wanted 0 to 255"),
    "negative": (GREY.astype(int) - 9, {}, "has numbers from -9 to 246; wanted 0 to 255"),
    "floats outside": (GREY / 100, {}, "has floats from 0 to 2.55; wanted \\[0, 1\\]"),
    "thin": (GREY[:, :3], {}, r"come to 3 × 12 .*; wanted at least 4 × 4: set resize = \[4, 12\]"),
    "vectors with NaN": (np.where(POINTS > 8, np.nan, POINTS), {}, "examples hold NaN or infinite values"),
    "huge vectors": (POINTS * 1e307, {}, "values too large to be standardised"),
    "constant column": (np.where(np.arange(3) == 1, 4.0, POINTS), {}, "a column is constant in the train split"),
    "negative tokens": (np.arange(60).reshape(20, 3) - 9, {}, 'tokens below 0; .* or kind = "vector"'),
    "images as tokens": (GREY, {"kind": "sequence"}, "wanted tokens \\(n, T\\), integers"),
    "images as vectors": (GREY, {"kind": "vector"}, "wanted vectors \\(n, D\\)"),
    "vectors as images": (POINTS, {"kind": "image"}, "wanted \\(n, H, W\\)"),
    "unknown kind": (GREY, {"kind": "picture"}, "unknown kind 'picture'"),
    "unknown array": ({"samples": GREY}, {"array": "sample"}, "has no array 'sample'; did you mean 'samples'"),
    "unknown label": ({"samples": GREY, "class": LABELS}, {"label": "klass"}, "has no array 'klass'; did you mean"),
    "few labels": ({"samples": GREY, "labels": LABELS[:9]}, {}, "has 9 entries for 60 examples"),
    "numbers as labels": ({"samples": GREY, "labels": POINTS[:, 0]}, {}, "wanted one label for each example"),
    "names as labels": ({"samples": GREY, "labels": np.arange(60)}, {}, "60 different values for 60 examples"),
    "no train": ({"test": GREY, "val": GREY}, {}, "has validation, test but no train split"),
    "shapes of splits": ({"train": GREY, "test": COLOUR}, {}, "has shape"),
    "labels of one split": ({"train": GREY, "test": GREY, "train_labels": LABELS}, {}, "labels for some splits only"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_get_one_line(case: str, tmp_path: Path) -> None:
    content, options, said = BAD[case]
    path = tmp_path / "a.npz"
    if isinstance(content, dict):
        saved(path, **content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path = saved(tmp_path / "a.npy", content)
    with pytest.raises(UsageError, match=said) as error:
        opened(path, **options)
    assert "\n" not in str(error.value)
