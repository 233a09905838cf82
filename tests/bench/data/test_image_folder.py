"""A folder of images: what becomes of every kind of file in it, and one line for whatever cannot be read."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gentune.bench.data import DataSet, describe_data, kept_levels, locate, open_data
from gentune.bench.data.reference import DataRef
from gentune.bench.data.sources.image_files import quantised
from gentune.bench.data.sources.image_folder import ImageFolder
from gentune.bench.data.sources.image_sizes import Fit
from gentune.bench.errors import UsageError
from gentune.testing import DataContract

WHITE = 255


def drawn(n: int, size: tuple[int, ...] = (8, 8), seed: int = 0) -> np.ndarray:
    """Random 8-bit images, all different."""
    return np.random.default_rng(seed).integers(0, 256, (n, *size), dtype=np.uint8)


def save_all(folder: Path, images: np.ndarray, kind: str = "png", **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:03}.{kind}", **more)
    return folder


def opened(folder: Path, **options: Any) -> DataSet:
    return open_data(locate({"path": str(folder), **options}), again=True)


def all_levels(data: DataSet) -> list[bytes]:
    """Every example's levels, sorted."""
    x = torch.cat([split.x[:] for split in data.splits.values()])
    return sorted(row.numpy().astype(np.int64).tobytes() for row in data.spec.to_levels(x))


def as_levels(images: np.ndarray) -> list[bytes]:
    return sorted(image.astype(np.int64).tobytes() for image in images)


class TestFolderContract(DataContract):
    """Two classes of colour images with some of the things that lie about in folders."""

    @pytest.fixture(scope="class", autouse=True)
    def _folder(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        folder = tmp_path_factory.mktemp("pets")
        for seed, name in enumerate(("cats", "dogs")):
            save_all(folder / name, drawn(30, (8, 12, 3), seed))
        (folder / "cats" / "Thumbs.db").touch()
        type(self).reader = "images"
        type(self).options = {"path": str(folder), "levels": 16, "flip": True}


def test_levels_survive_a_round_trip(tmp_path: Path) -> None:
    for size in ((8, 8), (8, 12, 3)):
        images = drawn(60, size)
        data = opened(save_all(tmp_path / f"{len(size)}", images))
        first = images[:, None] if len(size) == 2 else images.transpose(0, 3, 1, 2)
        assert data.spec.shape == first.shape[1:]
        assert all_levels(data) == as_levels(first)
        assert not data.notes


def test_class_and_split_folders_are_labels_and_splits(tmp_path: Path) -> None:
    images = {}
    for seed, (split, n) in enumerate((("train", 20), ("val", 10), ("test", 12))):
        for i, name in enumerate(("zebra", "ant")):
            images[split, name] = drawn(n, seed=10 * seed + i)
            save_all(tmp_path / split / name, images[split, name])
    data = opened(tmp_path)
    assert data.class_names == ("ant", "zebra")
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        examples = data.splits[split]  # type: ignore[index]
        assert examples.labels is not None
        for label, animal in enumerate(data.class_names):
            levels = data.spec.to_levels(examples.x[:])[examples.labels == label]
            assert as_levels(levels.numpy()) == as_levels(images[name, animal][:, None])
    assert describe_data(locate({"path": str(tmp_path), "label": "none"})).classes == 0


def test_what_is_no_image_is_counted_in_one_note(tmp_path: Path) -> None:
    save_all(tmp_path / "a" / "deep", drawn(20))
    save_all(tmp_path / "b", drawn(20, seed=1))
    for name in ("a/Thumbs.db", "b/.DS_Store", "readme.txt", "b/labels.csv", "a/.hidden.png", ".git/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "b" / "loop").symlink_to(tmp_path / "b")
    data = opened(tmp_path)
    assert sum(len(split) for split in data.splits.values()) == 40
    assert data.notes[:2] == (
        "skipped files of other kinds (2), hidden files (2), links to nothing (1), system files (2)",
        "20 images lie in deeper folders; the first folder is their class",
    )


def test_images_are_what_viewers_show(tmp_path: Path) -> None:
    images = drawn(40, (8, 12))
    save_all(tmp_path, images[:30])
    turned = Image.Exif()
    turned[0x0112] = 8  # shown after a quarter turn anticlockwise
    Image.fromarray(np.rot90(images[30], -1)).save(tmp_path / "exif.png", exif=turned)
    Image.fromarray(images[31].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(images[32]).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(np.stack([np.zeros_like(images[33]), WHITE - images[33]], -1)).save(tmp_path / "alpha.png")
    Image.fromarray(images[34].astype(np.uint16) * 257).save(tmp_path / "deep.tiff")
    data = opened(tmp_path)
    assert data.spec.shape == (1, 8, 12)
    assert all_levels(data) == as_levels(images[:35, None])
    assert data.notes == (
        "images turned as their file says by EXIF (1), with transparency laid on white (1), of 16 bits (2)",
    )


def test_one_image_in_colour_makes_all_colour_unless_grey_is_asked_for(tmp_path: Path) -> None:
    grey, colour = drawn(30), drawn(1, (8, 8, 3))
    save_all(tmp_path, grey)
    Image.fromarray(colour[0]).save(tmp_path / "colour.png")
    data = opened(tmp_path)
    assert data.spec.shape == (3, 8, 8)
    assert data.notes == ("images in grey taken as colour (30)",)
    assert as_levels(colour.transpose(0, 3, 1, 2))[0] in all_levels(data)
    luma = np.array(Image.fromarray(colour[0]).convert("L"))
    data = opened(tmp_path, grey=True)
    assert all_levels(data) == as_levels(np.concatenate([grey, luma[None]])[:, None])


def test_levels_go_to_the_nearest() -> None:
    values = np.arange(256, dtype=np.uint8)
    for levels in (2, 17, 100, 256, 1_000):
        k = quantised(values, 255, levels)
        exact = values * ((levels - 1) / 255)
        assert np.abs(k - exact).max() <= 0.5 + 1e-9
        assert (k[0], k[-1]) == (0, levels - 1)
    assert (quantised(np.arange(65_536, dtype=np.uint16), 65_535, 65_536) == np.arange(65_536)).all()


def test_crop_comes_before_resize(tmp_path: Path) -> None:
    image = np.zeros((1, 16, 32), np.uint8)
    image[:, :, 8:24] = 200
    assert (Fit.of("square", None).apply(image) == image[:, :, 8:24]).all()
    assert (Fit.of((4, 8), None).apply(image) == image[:, 6:10, 12:20]).all()
    assert (Fit.of("square", 4).apply(image) == 200).all()
    half = Fit.of(None, (8, 16)).apply(image)
    assert half.shape == (1, 8, 16)
    assert half[0, 4, 8] == 200 and half[0, 4, 0] == 0
    assert Fit.of(None, 8).stretches((16, 32)) and not Fit.of("square", 8).stretches((16, 32))


def test_mixed_sizes_want_an_option(tmp_path: Path) -> None:
    save_all(tmp_path / "a", drawn(20, (8, 8)))
    save_all(tmp_path / "b", drawn(10, (16, 12), seed=1))
    with pytest.raises(UsageError, match=r"2 sizes: 20 are 8 × 8 .*, 10 16 × 12 .*set resize = 8"):
        opened(tmp_path)
    assert opened(tmp_path, resize=8).notes[-1].startswith("10 images change their proportions")
    data = opened(tmp_path, resize=8, crop="square")
    assert data.spec.shape == (1, 8, 8) and not data.notes


def test_flip_shows_train_every_image_mirrored_too(tmp_path: Path) -> None:
    save_all(tmp_path, drawn(50))
    plain, flipped = opened(tmp_path), opened(tmp_path, flip=True)
    assert len(flipped.splits["train"]) == 2 * len(plain.splits["train"])
    assert len(flipped.splits["test"]) == len(plain.splits["test"])
    assert plain.fingerprint != flipped.fingerprint


def test_no_group_is_cut(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (90, 8, 8), dtype=np.uint8)
    images[:, 0, 0] = np.arange(90) // 3  # which photographer's it is
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i:02}-by{i // 3:02}.png")
    data = opened(tmp_path, split={"group": "by[0-9]+", "seed": 4})
    seen = [set(data.spec.to_levels(split.x[:])[:, 0, 0, 0].tolist()) for split in data.splits.values()]
    assert sum(map(len, seen)) == 30
    with pytest.raises(UsageError, match=r"group 'by3' is not in 90 of the paths, such as 00-by00\.png"):
        opened(tmp_path, group="by3")
    with pytest.raises(UsageError, match="no regular expression"):
        opened(tmp_path, group="by(")


def test_a_set_is_decoded_once_and_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENTUNE_CACHE", str(tmp_path / "cache"))
    folder = save_all(tmp_path / "f", drawn(40))
    first = opened(folder)
    (entry,) = kept_levels.entries()
    assert entry.name == "f" and entry.size > 40 * 64
    kept = np.load(kept_levels.root() / entry.key / "x.npy", mmap_mode="r")
    assert kept.shape == (40, 1, 8, 8) and kept.dtype == np.uint8
    assert isinstance(ImageFolder()._found({"path": str(folder)}).x, np.memmap)
    decoded: list[Path] = []
    monkeypatch.setattr(Image, "open", lambda file, **_: decoded.append(file))
    from gentune.bench.data import source

    source._find.cache_clear()
    assert opened(folder).fingerprint == first.fingerprint
    assert not decoded


def test_a_damaged_or_changed_set_is_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gentune.bench.data import source

    monkeypatch.setenv("GENTUNE_CACHE", str(tmp_path / "cache"))
    folder = save_all(tmp_path / "f", drawn(40))
    before = opened(folder).fingerprint
    (entry,) = kept_levels.entries()
    (kept_levels.root() / entry.key / "found.json").write_text("{", encoding="utf-8")
    source._find.cache_clear()
    assert opened(folder).fingerprint == before
    Image.fromarray(drawn(1, seed=9)[0]).save(folder / "000.png")
    assert opened(folder).fingerprint != before
    assert len(kept_levels.entries()) == 2
    assert kept_levels.trim(0)[0] == 2
    assert not kept_levels.entries()


def _png_of(width: int, height: int) -> bytes:
    """A PNG that says it is large and holds nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def _with(content: bytes, name: str = "bad.png") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        save_all(folder, drawn(30))
        (folder / name).write_bytes(content)

    return make


def _jpeg_cut(folder: Path) -> None:
    save_all(folder, drawn(30), "jpg")
    content = (folder / "003.jpg").read_bytes()
    (folder / "003.jpg").write_bytes(content[: len(content) // 2])


def _outside(folder: Path) -> None:
    save_all(folder / "a", drawn(20))
    save_all(folder, drawn(3, seed=2))


def _outside_splits(folder: Path) -> None:
    save_all(folder / "train", drawn(20))
    save_all(folder, drawn(3, seed=2))


def _class_in_test_alone(folder: Path) -> None:
    for seed, name in enumerate(("train/a", "train/b", "test/a", "test/c")):
        save_all(folder / name, drawn(20, seed=seed))


def _one_in_each(folder: Path) -> None:
    for seed, name in enumerate(("train", "val", "test")):
        save_all(folder / name, drawn(1, seed=seed))


BAD: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "nothing": (lambda f: None, {}, "holds no images"),
    "no images": (lambda f: (f / "a.txt").touch(), {}, r"holds no images .*; skipped files of other kinds \(1\)"),
    "one example": (lambda f: save_all(f, drawn(1)), {}, "has 1 examples"),
    "few examples": (lambda f: save_all(f, drawn(12)), {}, "wanted at least 5 in each split"),
    "one in each split": (_one_in_each, {}, "wanted at least 5 in each split"),
    "constant": (lambda f: save_all(f, np.full((30, 8, 8), 7, np.uint8)), {}, "all 30 examples are the same"),
    "not an image": (_with(b"hello"), {}, "bad.png is no image of a known kind, or is broken"),
    "empty file": (_with(b""), {}, "bad.png is no image of a known kind, or is broken"),
    "page of HTML": (_with(b"<html>404</html>", "bad.jpg"), {}, "bad.jpg is no image of a known kind"),
    "cut off": (_jpeg_cut, {}, "003.jpg cannot be read as an image: Truncated"),
    "bomb": (_with(_png_of(60_000, 60_000)), {}, "bad.png has too many pixels to be decoded safely"),
    "smaller bomb": (_with(_png_of(12_000, 9_000)), {}, "bad.png is 12000 × 9000 pixels; wanted at most 64,000,000"),
    "mixed sizes": (_with(_png_of(6, 6)), {"grey": True}, "bad.png"),
    "thin": (lambda f: save_all(f, drawn(30, (9, 3))), {}, r"come to 9 × 3 .* set resize = \[9, 4\]"),
    "crop too large": (lambda f: save_all(f, drawn(30)), {"crop": 12}, "000.png is 8 × 8 .*, smaller than the crop"),
    "crop of a word": (lambda f: save_all(f, drawn(30)), {"crop": "round"}, "option crop is 'round'; wanted a side"),
    "resize of three": (lambda f: save_all(f, drawn(30)), {"resize": [1, 2, 3]}, r"option resize is \(1, 2, 3\)"),
    "no levels": (lambda f: save_all(f, drawn(30)), {"levels": 1}, "option levels is 1; wanted 2 to 65,536"),
    "label": (lambda f: save_all(f, drawn(30)), {"label": "name"}, "option label is 'name'"),
    "unknown option": (lambda f: save_all(f, drawn(30)), {"resise": 8}, "no option 'resise'; did you mean 'resize'"),
    "outside classes": (_outside, {}, r'3 of 23 images lie outside the class folders.*label = "none"'),
    "outside splits": (_outside_splits, {}, "3 of 23 images lie outside the split folders"),
    "unseen class": (_class_in_test_alone, {}, "class 'c' stands in a held-out split but not in train"),
    "no train split": (lambda f: save_all(f / "test", drawn(30)), {}, "has no train split"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_get_one_line(case: str, tmp_path: Path) -> None:
    make, options, said = BAD[case]
    folder = tmp_path / "f"
    folder.mkdir()
    make(folder)
    with pytest.raises(UsageError, match=said) as error:
        opened(folder, **options)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_gets_one_line(tmp_path: Path) -> None:
    folder = save_all(tmp_path / "f", drawn(30))
    folder.chmod(0)
    try:
        with pytest.raises(UsageError, match="cannot be read: Permission denied"):
            opened(folder)
    finally:
        folder.chmod(0o755)


def test_one_class_is_no_label(tmp_path: Path) -> None:
    save_all(tmp_path / "only", drawn(30))
    data = opened(tmp_path)
    assert data.spec.classes == 0
    assert data.notes == ("all images are of one class (only), so they have no labels",)


def test_a_reference_holds_the_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_all(tmp_path / "f", drawn(30))
    monkeypatch.chdir(tmp_path)
    assert locate("f") == DataRef.of("images", path=str(tmp_path / "f"))
