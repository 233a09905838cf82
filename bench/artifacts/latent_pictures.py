"""Pictures of a model's codes: paths between them, arithmetic on them, each by itself, and all on one plane.

Glossary: codes z (n, c); C classes; every picture is an entry {"picture": file name, ...} of the document that
`picture_codes` returns, or {"undefined": reason}.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...models.base import Batch, GenerativeModel
from ..data import DataSet
from ..evaluators import Evaluator
from ..metrics.latent import Interpolation, interpolate
from ..scoring.latent_codes import decoded, drawn_codes, encoded
from ..seeds import derive
from .pictures import group_colour, write_scatter, write_sheet
from .rows import in_original_units

_PATHS, _STEPS = 6, 10
_TRAVERSED = 16  # codes that are shown one by one: those that change the most
_REACH = 2.0  # deviations to either side
_CLASSES = 10  # columns of the arithmetic
_PLANE = 1_000  # examples on the plane
_PERPLEXITY = 30.0
_MOST_NUMBERS = 2**26  # in the train examples' codes: 256 MiB
_DRAWN = 1_000  # codes from which their means and deviations are estimated


@dataclass(frozen=True)
class _Subject:
    """A model, with its codes of some held-out examples.

    codes: (n, c) of `examples`; None where the model does not encode. drawn: (m, c), which it would sample from.
    """

    model: GenerativeModel
    data: DataSet
    examples: Batch
    codes: Tensor | None
    drawn: Tensor
    seed: int
    write: _Writer


@dataclass(frozen=True)
class _Writer:
    """Writes pictures into a folder and names their maker."""

    folder: Path
    name: str
    maker: str

    def sheet(self, what: str, x: Tensor, data: DataSet) -> dict[str, str]:
        """Images (rows, columns, C, H, W)."""
        return self._written(what, lambda path: write_sheet(path, x, data.spec, maker=self.maker))

    def scatter(self, what: str, points: np.ndarray, groups: np.ndarray, behind: np.ndarray | None) -> dict[str, str]:
        """Points (n, 2) with groups (n,)."""
        return self._written(what, lambda path: write_scatter(path, points, groups, maker=self.maker, behind=behind))

    def _written(self, what: str, write: Callable[[Path], None]) -> dict[str, str]:
        file = f"{self.name}-{what}.png"
        write(self.folder / file)
        return {"picture": file}


def picture_codes(
    model: GenerativeModel,
    data: DataSet,
    folder: Path,
    name: str,
    *,
    maker: str,
    seed: int,
    judge: Callable[[], Evaluator | None],
) -> dict[str, Any]:
    """Writes the pictures as folder/NAME-WHAT.png and returns what is on them, as plain values.

    The model decodes; what needs an encoder is undefined without one. Test examples alone are encoded, but for the
    class means, which are the train split's.
    maker: the family, written into the files. judge: an evaluator, asked for where there are classes to tell.
    """
    examples = data.splits["test"][:_PLANE]
    codes = encoded(model, examples)
    drawn = drawn_codes(model, _DRAWN, derive(seed, "codes"))
    subject = _Subject(model, data, examples, codes, drawn, seed, _Writer(folder, name, maker))
    return {
        "codes": drawn.shape[1],
        "interpolation": _interpolation(subject),
        "traversals": _traversals(subject),
        "arithmetic": _arithmetic(subject, judge),
        "tsne": _plane(subject),
    }


def _interpolation(subject: _Subject) -> dict[str, Any]:
    """Paths between codes: straight, and on great circles around the mean of what the model samples from.

    Normal codes in many dimensions lie near a sphere, which a straight path leaves (White, arXiv:1609.04468).
    """
    ends = subject.drawn[: 2 * _PATHS] if subject.codes is None else subject.codes[_spread(subject.examples)]
    a, b = ends[0::2], ends[1::2]  # (paths, c)
    centre = subject.drawn.mean(0)
    times = [i / (_STEPS - 1) for i in range(_STEPS)]
    result: dict[str, Any] = {
        "ends": "drawn codes" if subject.codes is None else "test examples",
        "steps": times,
    }
    modes: tuple[tuple[str, Interpolation], ...] = (("linear", "lerp"), ("spherical", "slerp"))
    for word, mode in modes:
        path = torch.stack([centre + interpolate(a - centre, b - centre, t, mode=mode) for t in times], dim=1)
        result[word] = _drawn_rows(subject, f"interpolation-{word}", path)
    return result


def _traversals(subject: _Subject) -> dict[str, Any]:
    """One code after another moved over two deviations to either side, the others as they are.

    change: mean absolute difference of the decoded ends, by which codes are sorted.
    """
    start = subject.drawn[0] if subject.codes is None else subject.codes[0]
    mean, deviation = subject.drawn.mean(0), subject.drawn.std(0)
    every = torch.arange(len(start))
    ends = []
    for sign in (-1.0, 1.0):
        moved = start.repeat(len(start), 1)
        moved[every, every] = mean + sign * _REACH * deviation
        ends.append(decoded(subject.model, moved))
    change = (ends[1] - ends[0]).abs().flatten(1).mean(1)  # (c,)
    shown = change.argsort(descending=True, stable=True)[:_TRAVERSED]
    places = torch.linspace(-_REACH, _REACH, _STEPS)
    path = start.repeat(len(shown), _STEPS, 1)  # (shown, steps, c)
    for row, code in enumerate(shown.tolist()):
        path[row, :, code] = mean[code] + places * deviation[code]
    return {
        "shown": shown.tolist(),
        "change": [round(v, 6) for v in change[shown].tolist()],
        "deviations": places.tolist(),
        **_drawn_rows(subject, "traversals", path),
    }


def _arithmetic(subject: _Subject, judge: Callable[[], Evaluator | None]) -> dict[str, Any]:
    """Examples of one class with the difference of two class means added: z - mean_a + mean_b.

    accuracy: how often the evaluator takes a test example moved to another class, drawn by seed, for that class.
    References: Larsen et al., arXiv:1512.09300, section 4.2; Radford et al., arXiv:1511.06434, section 6.3.2.
    """
    data, labels = subject.data, subject.examples.labels
    if subject.codes is None:
        return {"undefined": "the family does not encode"}
    if labels is None:
        return {"undefined": "the data has no labels"}
    means = _class_means(subject)
    without = subject.codes - means[labels]
    generator = torch.Generator().manual_seed(derive(subject.seed, "classes"))
    steps = torch.randint(1, max(2, data.spec.classes), labels.shape, generator=generator)
    asked = (labels + steps) % data.spec.classes
    result: dict[str, Any] = {"classes": list(range(min(_CLASSES, data.spec.classes)))}
    evaluator = judge()
    moved = decoded(subject.model, without + means[asked])
    probabilities = None if evaluator is None else evaluator.probabilities(moved)
    if probabilities is not None:
        hits = probabilities.argmax(1) == asked
        result |= {"accuracy": float(hits.double().mean()), "examples": len(hits)}
    rows = without[_spread(subject.examples)[:_PATHS]]
    path = rows[:, None] + means[None, :_CLASSES]  # (rows, classes, c)
    return (
        result | {"own": labels[_spread(subject.examples)[:_PATHS]].tolist()} | _drawn_rows(subject, "arithmetic", path)
    )


def _class_means(subject: _Subject) -> Tensor:
    """(C, c), of the codes of train examples: of all, or of as many of each class as fit into memory."""
    train, classes = subject.data.splits["train"], subject.data.spec.classes
    labels = train.labels
    assert labels is not None
    assert subject.codes is not None
    most = _MOST_NUMBERS // subject.codes.shape[1]
    if len(train) > most:
        each = max(1, most // classes)
        chosen = torch.cat([torch.nonzero(labels == y).flatten()[:each] for y in range(classes)])
        train, labels = train.select(chosen), labels[chosen]
    codes = encoded(subject.model, train)
    assert codes is not None
    return torch.stack([codes[labels == y].mean(0) for y in range(classes)])


def _plane(subject: _Subject) -> dict[str, Any]:
    """Codes of test examples by t-SNE, which keeps neighbours together and no distances beyond them.

    References: van der Maaten and Hinton, JMLR 9 (2008).
    """
    from sklearn.manifold import TSNE

    if subject.codes is None:
        return {"undefined": "the family does not encode"}
    perplexity = min(_PERPLEXITY, (len(subject.codes) - 1) / 3)
    start = "pca" if min(subject.codes.shape) >= 2 else "random"
    fitted = TSNE(perplexity=perplexity, init=start, random_state=derive(subject.seed, "tsne") % 2**31)
    points = fitted.fit_transform(subject.codes.double().numpy()).astype(np.float64)  # (n, 2)
    labels = subject.examples.labels
    groups = np.zeros(len(points), dtype=np.int64) if labels is None else labels.numpy()
    return {
        "perplexity": perplexity,
        "points": points.round(3).tolist(),
        "labels": None if labels is None else labels.tolist(),
        "colours": [] if labels is None else [group_colour(y) for y in range(subject.data.spec.classes)],
        **subject.write.scatter("tsne", points, groups, None),
    }


def _drawn_rows(subject: _Subject, what: str, codes: Tensor) -> dict[str, Any]:
    """Decoded codes (rows, columns, c): a sheet of images, or paths in the plane on top of real points.

    Vectors of other dimensions have no picture; their values are in the document, as those of points are. A model that
    decodes with a label gets one for each row, in their order.
    """
    spec = subject.data.spec
    rows, columns = codes.shape[:2]
    labels = torch.arange(rows).repeat_interleave(columns) % spec.classes if spec.classes else None
    x = decoded(subject.model, codes.flatten(0, 1), labels)
    if spec.kind == "image":
        return subject.write.sheet(what, x.unflatten(0, (rows, columns)), subject.data)
    points = in_original_units(x, spec)
    values = {"values": points.reshape(rows, columns, -1).round(5).tolist()}
    if spec.dimensions != 2:
        return values
    groups = np.arange(rows).repeat(columns)
    behind = in_original_units(subject.examples.x, spec)
    return values | subject.write.scatter(what, points, groups, behind)


def _spread(examples: Batch) -> Tensor:
    """Indices of up to 12 examples, of as many classes as there are, one class after another."""
    labels = examples.labels
    if labels is None:
        return torch.arange(min(2 * _PATHS, len(examples) // 2 * 2))
    by_class = [torch.nonzero(labels == y).flatten() for y in labels.unique()]
    most = max(len(rows) for rows in by_class)
    order = torch.cat([torch.stack([r[i] for r in by_class if i < len(r)]) for i in range(min(most, 2 * _PATHS))])
    return order[: 2 * _PATHS]
