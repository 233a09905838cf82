"""Whether the weights of a pretrained evaluator can be had: looks at files and caches, and asks no library.

The libraries that download them try for most of a minute where there is no connection.
"""

from __future__ import annotations

import json
import os
import re
import socket
import urllib.request
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from ...search_spaces.space import suggest
from ..errors import UsageError

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_CONFIG = "config.json"
_PATIENCE = 1.0  # seconds for a connection


def folder_or_name(weights: str, base: Path, *, names: bool) -> str:
    """Weights as the libraries take them: an absolute path, or (`names`) a name on the hub.

    base: the folder from which a relative path is taken. What is no file or folder there and could be a name is one.
    """
    path = base / Path(weights).expanduser()
    if names and not path.exists() and _HUB_NAME.fullmatch(weights) and not weights.startswith("."):
        return weights
    return str(path.resolve())


def check_file(evaluator: str, weights: str | None, address: str, form: str) -> None:
    """Raises UsageError where a file of weights is not there, or cannot be downloaded. form: how a path is given."""
    if weights is None:
        file = address.rsplit("/", 1)[-1]
        if address and not (_torch_hub() / "checkpoints" / file).is_file():
            _refuse_offline(evaluator, file, address, form)
        return
    path = Path(weights)
    if path.is_file() and os.access(path, os.R_OK):
        return
    if path.is_dir():
        raise UsageError(f"evaluator {evaluator!r}: weights {weights} are a folder; wanted {form}")
    raise UsageError(f"evaluator {evaluator!r}: weights {weights} are not there{_near(path)}; wanted {form}")


def check_folder(evaluator: str, weights: str, model_types: Collection[str], form: str) -> None:
    """Raises UsageError where a folder that transformers has saved is not one of this model, or a model of a name on
    the hub is neither kept nor can be downloaded."""
    path = Path(weights)
    if not path.is_absolute():
        repository = "models--" + weights.replace("/", "--")
        if not any((_hub_cache() / repository / "snapshots").glob(f"*/{_CONFIG}")):
            endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
            _refuse_offline(evaluator, weights, endpoint, form)
        return
    if not path.is_dir():
        what = "are a file" if path.is_file() else "are not there"
        near = "" if path.is_file() else _near(path)
        raise UsageError(
            f"evaluator {evaluator!r}: weights {weights} {what}{near}; wanted {form}, as save_pretrained of "
            "transformers writes it"
        )
    try:
        found = json.loads((path / _CONFIG).read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(
            f"evaluator {evaluator!r}: {path / _CONFIG} cannot be read ({type(error).__name__}); wanted {form}, as "
            "save_pretrained of transformers writes it"
        ) from None
    if found not in model_types:
        raise UsageError(
            f"evaluator {evaluator!r}: {weights} has a model of type {found!r}; wanted {' or '.join(model_types)}"
        )


def _refuse_offline(evaluator: str, what: str, address: str, form: str) -> None:
    """Raises UsageError where the host of an address cannot be reached; what stands behind a proxy is tried."""
    if urllib.request.getproxies():
        return
    host = urlsplit(address).hostname or ""
    why = "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
    if not why:
        try:
            socket.create_connection((host, urlsplit(address).port or 443), timeout=_PATIENCE).close()
            return
        except OSError:
            why = f"{host} cannot be reached"
    raise UsageError(
        f"evaluator {evaluator!r}: its weights {what} are in no cache and cannot be downloaded ({why}); wanted {form}"
    )


def _torch_hub() -> Path:
    """Where torch.hub keeps downloads, as its own documentation says."""
    home = os.environ.get("TORCH_HOME")
    return (Path(home) if home else _user_cache() / "torch") / "hub"


def _hub_cache() -> Path:
    """Where the Hugging Face hub's client keeps downloads, as its own documentation says."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if given:
        return Path(given).expanduser()
    home = os.environ.get("HF_HOME")
    return (Path(home).expanduser() if home else _user_cache() / "huggingface") / "hub"


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def _near(path: Path) -> str:
    """The name in the same folder that is nearest to a path's that is not there."""
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
    except OSError:
        return ""
    near = suggest(path.name, names)
    return near if near.startswith("; did you mean") else ""
