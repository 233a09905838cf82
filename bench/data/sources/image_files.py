"""Image files as every viewer shows them, in integers. Free of torch.

Pixels of a file are integers 0...top, with top 255, or 65,535 where the file has 16 bits. What a file states is
applied: its orientation (EXIF), its palette, its transparency (laid on white). Of several frames the first counts.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ...errors import UsageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")
_EIGHT_BIT = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_GREY = ("1", "L", "LA", "La", *_SIXTEEN_BIT)
_MOST_PIXELS = 64_000_000  # in one file: three bytes a pixel make 192 MB
_ORIENTATION = 0x0112  # EXIF's tag; 1 is upright, and 5 to 8 lie on their side
_WHITE = (255, 255, 255, 255)
# What reading a damaged file, or one of another format, raises.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    LookupError,
    TypeError,
    MemoryError,
    OverflowError,
    NotImplementedError,
    struct.error,
)


@dataclass(frozen=True)
class Header:
    """What a file says of its image before it is decoded: `width` and `height` as it is shown."""

    width: int
    height: int
    grey: bool
    turned: bool
    transparent: bool
    sixteen_bit: bool
    animated: bool


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """The image of a file, not decoded yet. Raises UsageError for what is none, or too large to be decoded safely."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_FORMATS) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise UsageError(
                        f"{file} is {image.width} × {image.height} pixels; wanted at most {_MOST_PIXELS:,} in all"
                    )
                if image.mode not in (*_EIGHT_BIT, *_SIXTEEN_BIT):
                    raise UsageError(f"{file} has pixels of a kind that is not read (mode {image.mode})")
                yield image
    except Image.DecompressionBombError as error:
        raise UsageError(f"{file} has too many pixels to be decoded safely; wanted at most {_MOST_PIXELS:,}") from error
    except Image.UnidentifiedImageError as error:
        raise UsageError(f"{file} is no image of a known kind, or is broken") from error
    except PermissionError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except _UNREADABLE as error:
        raise UsageError(f"{file} cannot be read as an image: {error}") from error


def check_levels(levels: int) -> None:
    """Raises UsageError for a number of levels that images cannot have."""
    if not 2 <= levels <= 65_536:
        raise UsageError(f"option levels is {levels}; wanted 2 to 65,536")


def header(image: Image.Image) -> Header:
    """What an opened image says of itself."""
    orientation = image.getexif().get(_ORIENTATION, 1)
    width, height = (image.height, image.width) if orientation in (5, 6, 7, 8) else image.size
    palette = image.mode in ("P", "PA")
    return Header(
        width,
        height,
        grey=image.mode in _GREY or (palette and _is_grey(image)),
        turned=orientation in range(2, 9),
        transparent=image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info,
        sixteen_bit=image.mode in _SIXTEEN_BIT,
        animated=getattr(image, "n_frames", 1) > 1,
    )


def pixels(image: Image.Image, channels: int) -> tuple[np.ndarray, int]:
    """The decoded pixels (channels, H, W), uint8 or uint16, and the highest value that they may have.

    channels: 1 or 3; colours become grey by Rec. 601 (0.299 R + 0.587 G + 0.114 B), grey becomes three equal channels.
    """
    sixteen = image.mode in _SIXTEEN_BIT
    clear = image.info.get("transparency") if sixteen else None
    image = ImageOps.exif_transpose(image)
    if sixteen:
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65_535:
            raise ValueError(f"its pixels lie in {values.min()}...{values.max()}; wanted at most 16 bits")
        values = values.astype(np.uint16)
        if isinstance(clear, int):
            values[values == clear] = 65_535
        return np.repeat(values[None], channels, axis=0), 65_535
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGB")
    values = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return (values[None] if channels == 1 else values.transpose(2, 0, 1)), 255


def quantised(values: np.ndarray, top: int, levels: int) -> np.ndarray:
    """Integers 0...top to the nearest of 0...levels-1, halves upwards, in the smallest type that holds them."""
    kind = level_type(levels)
    if levels == top + 1:
        return values.astype(kind)
    return ((values.astype(np.int64) * (2 * (levels - 1)) + top) // (2 * top)).astype(kind)


def level_type(levels: int) -> type[np.unsignedinteger | np.signedinteger]:
    """The smallest type that holds levels, of those that batches are made from."""
    return np.uint8 if levels <= 2**8 else np.int16 if levels <= 2**15 else np.int32


def notes_on(headers: list[Header], channels: int) -> list[str]:
    """Sentences about what was done to the images behind some headers, where there is anything to say."""
    grey = sum(h.grey for h in headers)
    counts = {
        "turned as their file says by EXIF": sum(h.turned for h in headers),
        "with transparency laid on white": sum(h.transparent for h in headers),
        "of 16 bits": sum(h.sixteen_bit for h in headers),
        "of several frames, whose first counts": sum(h.animated for h in headers),
        "in grey taken as colour": grey if channels == 3 else 0,
        "in colour taken as grey": len(headers) - grey if channels == 1 else 0,
    }
    told = [f"{what} ({count:,})" for what, count in counts.items() if count]
    return [f"images {', '.join(told)}"] if told else []


def _is_grey(image: Image.Image) -> bool:
    """Whether all colours of a palette are grey."""
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())
