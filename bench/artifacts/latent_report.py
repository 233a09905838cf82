"""What `gentune latent` does: pictures of a kept model's codes, as artifacts of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import registry
from ..errors import UsageError
from ..runs.run_folder import RunFolder
from .kept_models import kept_model


def latent(folder: RunFolder, family: str, *, model: str | None = None, seed: int = 0) -> dict[str, Any]:
    """Writes artifacts/latent/MODEL.json and its pictures; returns the document.

    model: a kept model of the family; None: the first. seed: of what is drawn.
    Raises UsageError for a run without kept models, an unknown family or model, and a family without codes or with
    codes that it decodes only with a condition.
    """
    registry.load_plugins(folder.study.plugins)
    name = kept_model(folder, family, model)
    if not registry.family(family).load().can("decode"):
        raise UsageError(f"family {family!r} has no codes: it does not decode")
    if registry.family(family).load().requires_condition():
        raise UsageError(f"family {family!r} decodes only with a condition; pictures of codes are drawn without one")

    from ..data import open_data
    from ..evaluators import default_cache
    from ..scoring.references import evaluators_by_role
    from ..training.checkpoints import load_model
    from .latent_pictures import picture_codes

    loaded, card = load_model(folder.artifact("models", name))
    data = open_data(card.data)
    content = {
        "synthetic": True,
        "made_by": family,
        "family": family,
        "model": name,
        "data": card.data.to_value(),
        "seed": seed,
        **picture_codes(
            loaded,
            data,
            folder.artifact("latent"),
            name,
            maker=family,
            seed=seed,
            judge=lambda: evaluators_by_role(data, default_cache()).get("primary"),
        ),
    }
    folder.write_json(f"latent/{name}.json", content)
    return content


def written(folder: RunFolder, content: dict[str, Any]) -> list[Path]:
    """The files behind a document, itself first."""
    files = [f"{content['model']}.json"]

    def gather(part: Any) -> None:
        if isinstance(part, dict):
            files.extend([part["picture"]] if "picture" in part else [])
            for inner in part.values():
                gather(inner)

    gather(content)
    return [folder.artifact("latent", file) for file in files]
