"""The commands about data sets: `data show`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .options import Json
from .output import print_json

if TYPE_CHECKING:
    from ..data import DataRef, DataSet

_TEXTS = 10  # captions that are shown

app = typer.Typer(help="Look at data before anything is trained on it.", no_args_is_help=True)


@app.command()
def show(
    data: Annotated[
        str,
        typer.Argument(
            metavar="PATH|NAME",
            help="A path, a name (see `gentune list data`), or a study file, whose [data] may have options.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where examples are written. Default: runs/data-NAME.")
    ] = None,
    plugin: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Python file that registers data; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a data set is: kind, shape, classes, splits and problems; and write some of its examples."""
    from .. import registry
    from ..artifacts.data_preview import write_examples
    from ..data import open_data

    registry.load_plugins(plugin or ())
    ref = _reference(data)
    opened = open_data(ref)
    written = write_examples(out or Path("runs") / f"data-{ref.label}", opened)
    content = overview(ref, opened) | {"examples": [str(path) for path in written]}
    if as_json:
        print_json(content)
        return
    for line in _lines(content):
        print(line)


def overview(ref: DataRef, data: DataSet) -> dict[str, Any]:
    """What a data set is, as plain values; problems: what its reader skipped, converted or found wrong."""
    spec = data.spec
    return {
        "name": spec.name,
        "reference": ref.to_value(),
        "kind": spec.kind,
        "shape": list(spec.shape),
        "levels": spec.levels,
        "vocabulary": spec.vocabulary,
        "classes": spec.classes or spec.target_classes,
        "class_names": list(data.class_names),
        "conditions": spec.condition.kind,
        "pairing": None if spec.pairing is None else asdict(spec.pairing),
        "texts": _texts(data),
        "splits": {name: len(split) for name, split in data.splits.items()},
        "fingerprint": data.fingerprint,
        "problems": list(data.notes),
        "source": spec.source,
        "licence": spec.licence,
    }


def _texts(data: DataSet) -> list[str]:
    """The first captions of the train split, where its conditions are texts."""
    condition = data.splits["train"].condition
    if condition is None or data.spec.condition.kind != "text":
        return []
    return [data.spec.condition.written(text) for text in condition[:_TEXTS].tolist()]


def _reference(text: str) -> DataRef:
    from ..data import locate
    from ..runs.study_options import read_study

    path = Path(text).expanduser()
    if path.suffix.lower() != ".toml":
        return locate(text)
    content = read_study(path)
    if "data" not in content:
        raise UsageError(f"{path} has no data; wanted a table [data] with a path or a name")
    return locate(content["data"], path.parent)


def _lines(content: dict[str, Any]) -> list[str]:
    """`overview` for people."""
    size = {"image": "levels", "sequence": "vocabulary"}.get(content["kind"])
    shape = " × ".join(map(str, content["shape"]))
    lines = [
        f"{content['name']}: {content['kind']} {shape}" + (f", {size} {content[size]:,}" if size else ""),
        "splits: " + ", ".join(f"{name} {n:,}" for name, n in content["splits"].items()),
    ]
    if content["classes"]:
        names = ", ".join(content["class_names"][:10]) + (", …" if len(content["class_names"]) > 10 else "")
        lines.append(f"classes: {content['classes']}" + (f" ({names})" if names else ""))
    if content["conditions"] not in ("none", "label"):
        pairing = content["pairing"]
        told = f" ({'paired' if pairing['paired'] else 'unpaired'}: {pairing['direction']})" if pairing else ""
        lines.append(f"conditions: {content['conditions']}{told}")
    lines += [f"  {text}" for text in content["texts"]]
    lines.append(f"fingerprint: {content['fingerprint']}")
    lines += [f"problem: {problem}" for problem in content["problems"]] or ["no problems"]
    return lines + [f"examples: {path}" for path in content["examples"]]
