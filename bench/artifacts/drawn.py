"""What `gentune sample` does: samples of a kept model in a file of the user's choice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...search_spaces.space import Parameter, SearchSpace, Value, suggest
from .. import registry
from ..data import describe_data
from ..errors import UsageError
from ..runs.run_folder import RunFolder
from .kept_models import kept_model

MOST_SAMPLES = 1_000_000
# File types by the kind of data that they hold.
FORMATS = {"image": (".png", ".npz"), "vector": (".csv", ".parquet", ".npz"), "sequence": (".txt", ".npz")}


def sample(
    folder: RunFolder,
    family: str,
    n: int,
    out: Path,
    *,
    changes: Mapping[str, str] | None = None,
    model: str | None = None,
    seed: int = 0,
    complete: Path | None = None,
) -> dict[str, Any]:
    """Writes n samples of a kept model to a file; returns what was done.

    out: its ending tells the format, one of `FORMATS`. changes: sampling parameters by name, as text.
    model: a kept model of the family; None: the first. seed: of the samples and of the classes that are asked for.
    complete: a file of examples (`beginnings`) that the samples complete, in turn.
    Raises UsageError for a run without kept models, unknown names, values out of range and formats that do not fit.
    """
    if not 1 <= n <= MOST_SAMPLES:
        raise UsageError(f"{n:,} samples are asked for; wanted 1 to {MOST_SAMPLES:,}")
    registry.load_plugins(folder.study.plugins)
    name = kept_model(folder, family, model)
    card = registry.cards_of([family], describe_data(folder.study.data))[family].card
    given = {key: _value(card.space, key, text) for key, text in (changes or {}).items()}

    from ..data import open_data
    from ..scoring.conditions import asked_conditions
    from ..scoring.sampling import check_samples, draw_samples
    from ..seeds import derive
    from ..training.checkpoints import load_model
    from .beginnings import completed
    from .sample_files import write_sample_file

    loaded, about = load_model(folder.artifact("models", name))
    data = open_data(about.data)
    _check_format(out, data.spec.kind)
    if data.fingerprint != about.data_fingerprint:
        raise UsageError(f"data {about.data} have changed since {name} was trained, so its samples would mean others")
    sampling = card.space.only("sample")
    settings = sampling.activate({k: v for k, v in {**about.params, **given}.items() if k in sampling})
    how: dict[str, Any] = {"settings": settings, "seed": derive(seed, "samples")}
    if complete is not None:
        drawn = completed(loaded, family, n, complete, **how)
    else:
        unconditional = card.fit(data.spec.kind, data.spec.condition.kind).condition == "none"
        drawn = draw_samples(loaded, n, None if unconditional else asked_conditions(data, "test", n, seed=seed), **how)
    check_samples(drawn, n, data)
    content = {
        "synthetic": True,
        "made_by": family,
        "model": name,
        "data": about.data.to_value(),
        "n": n,
        "seed": seed,
        "settings": settings,
        "file": str(out),
        **({} if complete is None else {"complete": str(complete)}),
    }
    write_sample_file(out, drawn, data.spec, content)
    return content


def _check_format(out: Path, kind: str) -> None:
    if out.suffix.lower() not in FORMATS[kind]:
        raise UsageError(f"samples of {kind} data cannot be written to {out.name}; wanted {' or '.join(FORMATS[kind])}")


def _value(space: SearchSpace, name: str, text: str) -> Value:
    """The value of a sampling parameter that is given as text."""
    names = space.only("sample").names
    if name not in names:
        if name in space:
            raise UsageError(f"{name} belongs to the training; sampling takes {', '.join(names) or 'no parameters'}")
        raise UsageError(f"no sampling parameter {name!r}{suggest(name, names) if names else '; the family has none'}")
    parameter = space[name]
    value = _parsed(parameter, text)
    if value is None or not parameter.contains(value):
        raise UsageError(f"{name} is {text!r}; wanted {parameter.range_text}")
    return value


def _parsed(parameter: Parameter, text: str) -> Value:
    """None where the text is no value of the parameter's kind."""
    if parameter.kind == "categorical":
        return next((choice for choice in parameter.choices if str(choice).lower() == text.lower()), None)
    try:
        return int(text) if parameter.kind == "int" else float(text)
    except ValueError:
        return None
