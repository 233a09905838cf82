"""What `gentune latent` has drawn of models' codes, as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..bench.runs.run_folder import RunFolder
from .pictures import load_png
from .plots import NEUTRAL


def latent(folder: RunFolder, styles: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """One entry for each model with artifacts, by name; those whose document cannot be read are left out.

    An entry: family, model, colour, codes (how many), and pictures: what, title, words, image, and `key`, the
    colours of classes; pictures that are not defined have a reason and no image.
    """
    entries = []
    for path in sorted(folder.artifact("latent").glob("*.json")):
        content = folder.read_json(f"latent/{path.name}")
        pictures = [_picture(folder, content, *about) for about in _described(content)]
        entries.append(
            {
                "family": content["family"],
                "model": content["model"],
                "colour": styles.get(content["family"], (NEUTRAL, ""))[0],
                "codes": content["codes"],
                "pictures": [p for p in pictures if p["image"] is not None or p["reason"] is not None],
            }
        )
    return entries


def _described(content: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], str]]:
    """Title, content and words of each picture."""
    paths, steps, moved = content["interpolation"], content["traversals"], content["arithmetic"]
    ends = f"Each row (or colour) is a path between two {paths['ends']}"
    shown = f"the {len(steps['shown'])} codes of {content['codes']} that change the most" if steps["shown"] else ""
    arithmetic = "Each row is a test example, moved to every class by the difference of class means."
    if "accuracy" in moved:
        arithmetic += (
            f" The evaluator takes {100 * moved['accuracy']:.0f}% of {moved['examples']} test examples, "
            "each moved to another class, for that class."
        )
    return [
        ("Straight paths", paths["linear"], f"{ends}, straight."),
        ("Spherical paths", paths["spherical"], f"{ends}, on a great circle around the mean of codes."),
        ("One code at a time", steps, f"From −2 to +2 deviations, others as they are: {shown}, the strongest first."),
        ("Arithmetic on codes", moved, arithmetic),
        (
            "Codes on a plane",
            content["tsne"],
            "Codes of test examples by t-SNE; only small distances have a meaning.",
        ),
    ]


def _picture(
    folder: RunFolder, content: Mapping[str, Any], title: str, about: Mapping[str, Any], words: str
) -> dict[str, Any]:
    image = load_png(folder.artifact("latent", about["picture"])) if "picture" in about else None
    return {
        "title": title,
        "words": words,
        "image": image,
        "reason": about.get("undefined"),
        "key": list(enumerate(about.get("colours", ()))),
        "alt": f"{title}, decoded by {content['family']}: synthetic" if title != "Codes on a plane" else title,
    }
