"""Reading samples made elsewhere: what counts as what, and one line for whatever is wrong."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gentune.bench.errors import UsageError
from gentune.bench.evaluate.sample_files import read_samples
from gentune.models.data_spec import ConditionSpec, DataSpec

GREY = DataSpec("grey", "image", (1, 4, 8), levels=17, condition=ConditionSpec("label", classes=3))
COLOUR = DataSpec("colour", "image", (3, 4, 8), levels=256)
POINTS = DataSpec("points", "vector", (2,), mean=(10.0, -1.0), deviation=(2.0, 0.5))


def grey_levels(n: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 17, (n, 4, 8))


def as_eight_bit(levels: np.ndarray) -> np.ndarray:
    return np.round(levels * (255 / 16)).astype(np.uint8)


def save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def folder_of(path: Path, *images: Image.Image, kind: str = "png") -> Path:
    path.mkdir()
    for i, image in enumerate(images):
        image.save(path / f"{i:03}.{kind}")
    return path


# Arrays


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64, ">i4"])
@pytest.mark.parametrize("shape", [(5, 4, 8), (5, 1, 4, 8), (5, 4, 8, 1)])
def test_eight_bit_arrays_give_back_the_levels(shape: tuple[int, ...], dtype: str, tmp_path: Path) -> None:
    levels = grey_levels()
    path = save(tmp_path / "a.npy", as_eight_bit(levels).astype(dtype).reshape(shape))
    read = read_samples(path, GREY)
    assert read.batch.x.dtype == torch.float32
    assert torch.equal(GREY.to_levels(read.batch.x)[:, 0], torch.from_numpy(levels))
    assert torch.equal(read.batch.x, GREY.from_levels(GREY.to_levels(read.batch.x)))
    assert read.available == 5 and read.batch.condition is None


def test_every_eight_bit_value_goes_to_the_nearest_level(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(8, 4, 8)
    k = GREY.to_levels(read_samples(save(tmp_path / "a.npy", values), GREY).batch.x).flatten().numpy()
    distance = np.abs(np.arange(17)[None] * 255 / 16 - np.arange(256)[:, None])
    assert np.array_equal(distance[np.arange(256), k], distance.min(1))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 4, 8), (5, 1, 4, 8), (5, 4, 8, 1)])
def test_floats_are_put_on_the_lattice(shape: tuple[int, ...], dtype: type, tmp_path: Path) -> None:
    levels = grey_levels()
    shift = np.random.default_rng(1).uniform(-0.05, 0.05, levels.shape)  # less than half a level, 0.0625
    x: np.ndarray = np.clip(2 * levels / 16 - 1 + shift, -1.0005, 1.0005).astype(dtype)
    read = read_samples(save(tmp_path / "a.npy", x.reshape(shape)), GREY)
    assert torch.equal(GREY.to_levels(read.batch.x)[:, 0], torch.from_numpy(levels))
    assert torch.equal(read.batch.x, GREY.to_lattice(read.batch.x))


@pytest.mark.parametrize("first", [True, False])
def test_colour_channels_come_first_or_last(first: bool, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 3, 4, 8), dtype=np.uint8)
    path = save(tmp_path / "a.npy", values if first else values.transpose(0, 2, 3, 1))
    assert torch.equal(COLOUR.to_levels(read_samples(path, COLOUR).batch.x), torch.from_numpy(values).long())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_vectors_are_standardised(dtype: type, tmp_path: Path) -> None:
    values: np.ndarray = np.array([[10, -1], [12, 0], [8, -2]], dtype=dtype)
    read = read_samples(save(tmp_path / "a.npy", values), POINTS)
    assert torch.equal(read.batch.x, torch.tensor([[0.0, 0.0], [1.0, 2.0], [-1.0, -2.0]]))


def test_npz_holds_one_array_or_samples_and_labels(tmp_path: Path) -> None:
    values, labels = as_eight_bit(grey_levels()), np.array([0, 2, 1, 1, 0], dtype=np.uint8)
    np.savez(tmp_path / "one.npz", anything=values)
    np.savez_compressed(tmp_path / "two.npz", samples=values, labels=labels, other=np.zeros(3))
    one, two = (read_samples(tmp_path / name, GREY).batch for name in ("one.npz", "two.npz"))
    assert torch.equal(one.x, two.x)
    assert one.condition is None
    assert two.condition is not None and two.condition.tolist() == labels.tolist()
    assert two.condition.dtype == torch.int64


def test_labels_that_the_data_has_not_are_left_with_a_note(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", samples=np.zeros((3, 2)), labels=np.arange(3))
    read = read_samples(tmp_path / "a.npz", POINTS)
    assert read.batch.condition is None
    assert "its labels are not used" in read.notes[0]


def test_what_may_be_meant_otherwise_is_noted(tmp_path: Path) -> None:
    levels = save(tmp_path / "levels.npy", grey_levels())
    unit = save(tmp_path / "unit.npy", grey_levels() / 16)
    right = save(tmp_path / "right.npy", as_eight_bit(grey_levels()))
    assert "taken as 8-bit" in read_samples(levels, GREY).notes[0]
    assert "taken as [−1, 1]" in read_samples(unit, GREY).notes[0]
    assert read_samples(right, GREY).notes == ()


# Picking


def test_the_seed_picks(tmp_path: Path) -> None:
    values = np.stack([np.arange(50.0), np.arange(50.0)], axis=1) * 2 + 10
    np.savez(tmp_path / "a.npz", samples=values)
    whole = read_samples(tmp_path / "a.npz", POINTS).batch.x[:, 0]
    picks = [read_samples(tmp_path / "a.npz", POINTS, count=20, seed=s).batch.x[:, 0] for s in (0, 0, 1)]
    assert torch.equal(picks[0], picks[1])
    assert not torch.equal(picks[0], picks[2])
    for pick in picks:
        assert len(pick) == 20
        assert (pick.diff() > 0).all()  # in order, none twice
        assert torch.isin(pick, whole).all()
    assert torch.equal(read_samples(tmp_path / "a.npz", POINTS, count=50, seed=3).batch.x[:, 0], whole)


def test_labels_stay_with_their_samples(tmp_path: Path) -> None:
    levels = np.arange(12).repeat(32).reshape(12, 4, 8)
    np.savez(tmp_path / "a.npz", samples=as_eight_bit(levels), labels=np.arange(12) % 3)
    read = read_samples(tmp_path / "a.npz", GREY, count=5, seed=2)
    assert read.batch.condition is not None
    assert read.available == 12
    assert torch.equal(GREY.to_levels(read.batch.x)[:, 0, 0, 0] % 3, read.batch.condition)


# Folders


@pytest.mark.parametrize("kind", ["png", "bmp", "gif", "PNG"])
def test_a_folder_of_images_is_an_array_of_them(kind: str, tmp_path: Path) -> None:
    levels = grey_levels(12)
    folder = folder_of(tmp_path / "f", *(Image.fromarray(v) for v in as_eight_bit(levels)), kind=kind)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image either")
    (folder / "deeper").mkdir()
    read = read_samples(folder, GREY)
    assert torch.equal(GREY.to_levels(read.batch.x)[:, 0], torch.from_numpy(levels))  # in order of names


@pytest.mark.parametrize(("kind", "options"), [("jpg", {"quality": 100}), ("webp", {"lossless": True})])
def test_other_kinds_of_image_are_read(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    levels = np.arange(0, 17, 4).repeat(32).reshape(5, 4, 8)
    for i, image in enumerate(as_eight_bit(levels)):
        Image.fromarray(image).save(tmp_path / f"{i}.{kind}", **options)
    assert torch.equal(GREY.to_levels(read_samples(tmp_path, GREY).batch.x)[:, 0], torch.from_numpy(levels))


def test_grey_and_colour_are_converted(tmp_path: Path) -> None:
    grey = as_eight_bit(grey_levels(1))[0]
    rgb = np.stack([grey] * 3, axis=-1)
    alpha = np.concatenate([rgb, np.full((4, 8, 1), 255, np.uint8)], axis=-1)
    kinds = [Image.fromarray(a) for a in (grey, rgb, alpha)]
    kinds.append(Image.fromarray(rgb).quantize(64))
    folder = folder_of(tmp_path / "f", *kinds)
    for spec in (GREY, COLOUR):
        x = read_samples(folder, spec).batch.x
        assert x.shape == (4, *spec.shape)
        assert torch.equal(spec.to_levels(x), spec.to_levels(x)[:1].expand_as(x))
    assert torch.equal(COLOUR.to_levels(read_samples(folder, COLOUR).batch.x)[0, 1], torch.from_numpy(grey).long())


def test_images_are_read_as_viewers_show_them(tmp_path: Path) -> None:
    levels = grey_levels(3)
    shown = as_eight_bit(levels)
    turned = Image.Exif()
    turned[0x0112] = 6  # shown after a quarter turn clockwise
    clear = np.full((4, 8, 4), 255, np.uint8)  # white ink; only its transparency differs
    clear[..., :3], clear[..., 3] = 0, 255 - shown[1]
    deep = np.round(levels[2] * (65_535 / 16)).astype(np.uint16)
    Image.fromarray(shown[0]).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "0.png", exif=turned)
    Image.fromarray(clear).save(tmp_path / "1.png")
    Image.fromarray(deep).save(tmp_path / "2.png")
    read = read_samples(tmp_path, GREY)
    assert torch.equal(GREY.to_levels(read.batch.x)[:, 0], torch.from_numpy(levels))
    (note,) = read.notes
    assert "turned as their file says by EXIF (1), with transparency laid on white (1), of 16 bits (1)" in note


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 4), v) for v in (255, 0, 0)]
    for i in range(2):
        frames[0].save(tmp_path / f"{i}.gif", save_all=True, append_images=frames[1:])
    assert (read_samples(tmp_path, GREY).batch.x == 1).all()


def test_a_stray_size_is_found_though_its_file_is_not_picked(tmp_path: Path) -> None:
    images = [Image.new("L", (8, 4)) for _ in range(30)]
    images[17] = Image.new("L", (4, 8))
    folder = folder_of(tmp_path / "f", *images)
    with pytest.raises(UsageError, match=r"017\.png is 4 × 8 pixels \(width × height\); wanted 8 × 4"):
        read_samples(folder, GREY, count=2)


# Whatever is wrong


class _Harmful:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path("harm.txt"),)  # type: ignore[return-value]


def _bytes(array: np.ndarray, **members: Any) -> bytes:
    buffer = io.BytesIO()
    if members:
        np.savez(buffer, **members)
    else:
        np.save(buffer, array)
    return buffer.getvalue()


OBJECTS = np.array([_Harmful()] * 3, dtype=object)
GOOD = as_eight_bit(grey_levels())
NAN = np.where(np.arange(5)[:, None, None] == 3, np.nan, 2 * grey_levels() / 16 - 1)
WRONG: dict[str, tuple[str, DataSpec, bytes, str]] = {
    "shape": ("a.npy", GREY, _bytes(GOOD[:, :3]), "has shape (5, 3, 8); wanted (n, 1, 4, 8) or (n, 4, 8, 1) or"),
    "flat": ("a.npy", GREY, _bytes(GOOD.reshape(5, -1)), "has shape (5, 32)"),
    "colour": ("a.npy", GREY, _bytes(np.zeros((5, 4, 8, 3), np.uint8)), "has shape (5, 4, 8, 3)"),
    "transposed": ("a.npy", COLOUR, _bytes(np.zeros((5, 3, 8, 4))), "wanted (n, 3, 4, 8) or (n, 4, 8, 3)"),
    "scalar": ("a.npy", GREY, _bytes(np.array(3)), "has shape ()"),
    "vector shape": ("a.npy", POINTS, _bytes(np.zeros((5, 3))), "has shape (5, 3); wanted (n, 2)"),
    "one vector": ("a.npy", POINTS, _bytes(np.zeros(2)), "has shape (2,); wanted (n, 2)"),
    "above 255": ("a.npy", GREY, _bytes(GOOD.astype(int) + 100), "wanted 8-bit values, 0 to 255"),
    "negative": ("a.npy", GREY, _bytes(-GOOD.astype(int)), "integers from -255 to 0"),
    "floats of bytes": ("a.npy", GREY, _bytes(GOOD.astype(float)), "has floats from 0 to 255; wanted [−1, 1]"),
    "floats outside": ("a.npy", GREY, _bytes(np.full((5, 4, 8), 1.002)), "has floats from 1.002 to 1.002"),
    "NaN": ("a.npy", GREY, _bytes(NAN), "has 32 of 160 values NaN or infinite, the first in sample 3"),
    "infinite": ("a.npy", POINTS, _bytes(np.array([[0, 0], [0, np.inf]])), "the first in sample 1"),
    "too large": ("a.npy", POINTS, _bytes(np.array([[0, 0], [0, 1e40]])), "too large for float32"),
    "bool": ("a.npy", GREY, _bytes(GOOD > 0), "numbers of type bool; wanted integers or floats"),
    "complex": ("a.npy", GREY, _bytes(GOOD * 1j), "numbers of type complex128"),
    "text": ("a.npy", GREY, _bytes(np.array(["a", "b"])), "numbers of type <U1"),
    "one sample": ("a.npy", GREY, _bytes(GOOD[:1]), "holds 1 sample; wanted at least 2"),
    "no sample": ("a.npy", GREY, _bytes(GOOD[:0]), "holds 0 samples; wanted at least 2"),
    "objects": ("a.npy", GREY, _bytes(OBJECTS), "holds Python objects (a pickle), which are never loaded"),
    "pickle": ("a.npy", GREY, pickle.dumps(_Harmful()), "or is a pickle, which is never loaded"),
    "objects in npz": ("a.npz", GREY, _bytes(GOOD, samples=OBJECTS), "holds Python objects (a pickle)"),
    "object labels": ("a.npz", GREY, _bytes(GOOD, samples=GOOD, labels=OBJECTS), "holds Python objects (a pickle)"),
    "two arrays": ("a.npz", GREY, _bytes(GOOD, a=GOOD, b=GOOD), "holds a, b; wanted one array, or samples and"),
    "few labels": (
        "a.npz",
        GREY,
        _bytes(GOOD, samples=GOOD, labels=np.zeros(4, int)),
        "labels have shape (4,); wanted (5,), one for each sample",
    ),
    "one-hot labels": (
        "a.npz",
        GREY,
        _bytes(GOOD, samples=GOOD, labels=np.zeros((5, 3), int)),
        "labels have shape (5, 3)",
    ),
    "high label": (
        "a.npz",
        GREY,
        _bytes(GOOD, samples=GOOD, labels=np.arange(5)),
        "labels go from 0 to 4; data 'grey' has classes 0 to 2",
    ),
    "low label": ("a.npz", GREY, _bytes(GOOD, samples=GOOD, labels=np.arange(5) - 2), "labels go from -2 to 2"),
    "float labels": ("a.npz", GREY, _bytes(GOOD, samples=GOOD, labels=np.zeros(5)), "labels are of type float64"),
    "truncated": ("a.npy", GREY, _bytes(GOOD)[:-9], "is damaged or no file of numpy's"),
    "truncated npz": ("a.npz", GREY, _bytes(GOOD, samples=GOOD)[:-50], "is damaged or no file of numpy's"),
    "empty file": ("a.npy", GREY, b"", "is damaged or no file of numpy's"),
    "no archive": ("a.npz", GREY, b"PK\x03\x04 nothing", "is damaged or no file of numpy's"),
    "other file": ("a.txt", GREY, b"", "is none of what can be read: a folder of images, .npy or .npz"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays_get_one_line(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, spec, content, said = WRONG[case]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        read_samples(path, spec)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == [name]  # nothing in the file was run


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("samples.pkl", pickle.dumps(_Harmful()))
    with pytest.raises(UsageError, match=r"samples\.pkl is no array of numpy's"):
        read_samples(tmp_path / "a.npz", GREY)
    with zipfile.ZipFile(tmp_path / "b.npz", "w"):
        pass
    with pytest.raises(UsageError, match="holds nothing; wanted one array"):
        read_samples(tmp_path / "b.npz", GREY)


def test_wrong_folders_get_one_line(tmp_path: Path) -> None:
    def refused(folder: Path, said: str, spec: DataSpec = GREY) -> None:
        with pytest.raises(UsageError, match=said):
            read_samples(folder, spec)

    good = Image.new("L", (8, 4), 100)
    empty = folder_of(tmp_path / "empty")
    refused(empty, r"empty holds no images \(png, jpg, jpeg, bmp, webp, gif, tif, tiff\)")
    refused(folder_of(tmp_path / "one", good), "holds 1 sample; wanted at least 2")
    refused(tmp_path / "nowhere", "nowhere is not there")
    fine = folder_of(tmp_path / "fine", good, good)
    refused(fine, "is a folder; data 'points' is vectors, wanted .npy or .npz", POINTS)
    refused(fine, "data 'depth' has 2; use .npy", DataSpec("depth", "image", (2, 4, 8), levels=256))
    refused(fine / "000.png", "is none of what can be read")
    words = DataSpec("words", "sequence", (5,), vocabulary=9)
    refused(fine, "data 'words' is sequence", words)
    assert len(read_samples(fine, GREY).batch) == 2


@pytest.mark.parametrize("damage", ["text", "truncated", "flipped", "empty"])
def test_a_broken_image_is_named(damage: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 8), dtype=np.uint8))
    folder = folder_of(tmp_path / "f", image, image, image)
    broken = folder / "001.png"
    content = broken.read_bytes()
    middle = len(content) // 2 + 8
    flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    broken.write_bytes({"text": b"hello", "truncated": content[:50], "flipped": flipped, "empty": b""}[damage])
    with pytest.raises(UsageError, match=r"001\.png (is no image of a known kind|cannot be read as an image)"):
        read_samples(folder, GREY)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_an_image_cut_anywhere_is_named(kind: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 8), dtype=np.uint8))
    folder = folder_of(tmp_path / "f", image, image, kind=kind)
    content = (folder / f"001.{kind}").read_bytes()
    ending = {"png": 12, "jpg": 2}[kind]  # the mark of the end holds nothing
    for length in range(len(content) - ending + 1):
        (folder / f"001.{kind}").write_bytes(content[:length])
        with pytest.raises(UsageError, match=rf"001\.{kind} (is no image of a known kind|cannot be read as an image)"):
            read_samples(folder, GREY)
