"""Models by transformers (the extra `clip`, imported when first used): from a folder, or from the Hugging Face hub."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._torchvision import make_importable
from ..errors import UsageError

_FILES = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class Weights:
    """Which weights an evaluator has.

    source: the file, folder, name on the hub, or what they were trained on. sha256: of the file, or of all files in the
        order of their names, in hexadecimal; "" where it is not known.
    """

    source: str
    sha256: str = ""


def loaded_model(what: str, source: str | Path, kind: Callable[[Any], Any]) -> Any:
    """A model with all its weights, in evaluation mode. what: its kind in words. kind: its class in transformers.

    Raises UsageError, with one line, where transformers is not installed and where the model cannot be had.
    """
    make_importable()
    try:
        import transformers

        model_class = kind(transformers)
    except ImportError as error:
        raise UsageError(f"{what} needs transformers, which is not installed: pip install 'gentune[clip]'") from error
    place, local = place_of(what, source)
    with told_in_one_line(what, source), _without_bars():
        # Without a word the library draws weights that a file lacks.
        model, info = model_class.from_pretrained(place, local_files_only=local, output_loading_info=True)
    if missing := sorted(info["missing_keys"]):
        raise UsageError(
            f"{what} model {source} cannot be had: its files lack {len(missing)} weights, such as {missing[0]}"
        )
    return model.eval().requires_grad_(False)


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Keeps transformers from drawing bars of progress among a run's messages."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def place_of(what: str, source: str | Path) -> tuple[str, bool]:
    """Where a model is, as transformers takes it, and whether that is a folder. Raises UsageError for no folder."""
    name = str(source)
    folder = Path(name).expanduser()
    local = folder.is_dir()
    if not local and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise UsageError(f"no folder {name} with a {what} model")
    return (str(folder) if local else name), local


@contextlib.contextmanager
def told_in_one_line(what: str, source: str | Path) -> Iterator[None]:
    """Turns what transformers raises where files are missing or damaged into a UsageError."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # damaged files fail in any way
        where = "in the folder" if place_of(what, source)[1] else "on the hub, or no connection to it"
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{what} model {source} cannot be had: no complete model {where} ({first})") from error


def weights_of(source: str | Path) -> Weights:
    """The weights of a model that has been loaded, with the hash of their files."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        kept = try_to_load_from_cache(str(source), "config.json")
        if not isinstance(kept, str):
            return Weights(str(source))
        folder = Path(kept).parent
    files = next((found for pattern in _FILES if (found := sorted(folder.glob(pattern)))), [])
    return Weights(str(source), file_hash(*files) if files else "")


def file_hash(*paths: Path) -> str:
    """SHA-256 of files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while part := file.read(2**22):
                digest.update(part)
    return digest.hexdigest()
