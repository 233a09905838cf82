"""What is chosen at sampling time, from one training: guidance against variety, few network evaluations against many.

    python tests/performance/sampling_choices.py          # make bench-sampling; 16 minutes of a core for each seed

The default setting of a diffusion family is trained once for each seed. Of each training samples are drawn at several
guidance scales, and by several samplers from the same noise; all are scored against the test split. Each training's
rows are kept in the output folder, and a run continues where it was stopped.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse  # noqa: E402 - after the threads are set
import json  # noqa: E402
import math  # noqa: E402
from collections.abc import Iterable, Mapping, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import fmean  # noqa: E402
from typing import Any  # noqa: E402

from gentune.bench import registry  # noqa: E402
from gentune.bench.data import DataSet, load  # noqa: E402
from gentune.bench.evaluators import Evaluator, default_cache  # noqa: E402
from gentune.bench.metrics.alignment import condition_accuracy  # noqa: E402
from gentune.bench.metrics.fidelity import fid, precision, recall  # noqa: E402
from gentune.bench.scoring.conditions import asked_conditions  # noqa: E402
from gentune.bench.scoring.references import evaluators_by_role  # noqa: E402
from gentune.bench.scoring.sampling import draw_samples  # noqa: E402
from gentune.bench.seeds import derive  # noqa: E402
from gentune.bench.training.loop import train  # noqa: E402
from gentune.bench.training.setting import build_model, split_setting  # noqa: E402
from gentune.models import GenerativeModel  # noqa: E402

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "guidance.svg"
SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
# sampler, steps, network evaluations of each sample; the first is what the others are compared with
SAMPLERS = (("ddim", 100, 100), ("ddim", 15, 15), ("heun", 8, 15), ("dpm_solver", 15, 15), ("dpm_solver", 10, 10))
MEASURED = ("condition_accuracy", "fid", "precision", "recall")

Row = dict[str, Any]


def rows_of_training(name: str, data: DataSet, seed: int, n: int) -> list[Row]:
    """Trains the family's default setting with a seed, and scores n samples of each choice."""
    card = registry.cards_of([name], data.spec)[name].card
    family = registry.family(name).resolved(card=card)
    setting = split_setting(card, card.space.default())
    model = build_model(family.load(), data.spec, setting.train, seed)
    steps = family.full_steps(data.spec)
    train(model, data.splits["train"], setting.loop, steps=steps, seed=seed, average=setting.average)
    evaluator = evaluators_by_role(data, default_cache())["primary"]
    choices: list[Row] = [{"guidance_scale": scale} for scale in SCALES]
    choices += [{"sampler": sampler, "steps": count} for sampler, count, _ in SAMPLERS]
    return [
        {"seed": seed, **choice, **scores(model, data, evaluator, {**setting.sample, **choice}, seed, n)}
        for choice in choices
    ]


def scores(
    model: GenerativeModel, data: DataSet, evaluator: Evaluator, sampling: Mapping[str, Any], seed: int, n: int
) -> dict[str, float | None]:
    """The measured metrics of n samples; all draws of a seed ask for the same labels and begin with the same noise."""
    labels = asked_conditions(data, "test", n, seed=seed)
    assert labels is not None
    drawn = draw_samples(model, n, labels, settings=dict(sampling), seed=derive(seed, "samples"))
    features, real = evaluator.features(drawn.x), evaluator.features(data.splits["test"].all().x)
    probabilities = evaluator.probabilities(drawn.x)
    assert probabilities is not None
    block = features[: len(real)]
    return {
        "condition_accuracy": condition_accuracy(probabilities, labels).value,
        "fid": fid(features, real).value,
        "precision": precision(block, real).value,
        "recall": recall(block, real).value,
    }


def table(rows: Sequence[Row], choices: Iterable[tuple[str, Row]], first: Row | None = None) -> list[str]:
    """Lines of a table: the means over seeds, and where `first` is given FID's ratio to that choice's, by seed."""

    def of(choice: Row) -> list[Row]:
        return [row for row in rows if all(row.get(key) == value for key, value in choice.items())]

    lines = []
    for label, choice in choices:
        found = of(choice)
        cells = [f"{fmean(row[name] for row in found):.3f}" for name in MEASURED]
        if first is not None:
            ratios = (row["fid"] / other["fid"] for row, other in zip(found, of(first), strict=True))
            cells.append(", ".join(f"{ratio:.2f}" for ratio in ratios))
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def picture(rows: Sequence[Row], family: str, data: str) -> str:
    """An SVG: condition accuracy over recall, a line through the scales for each training."""
    left, top, width, height = 64, 56, 420, 300
    scaled = [row for row in rows if "guidance_scale" in row]
    lowest = math.floor(10 * min(min(row["recall"], row["condition_accuracy"]) for row in scaled)) / 10

    def place(row: Row) -> tuple[float, float]:
        x, y = ((row[name] - lowest) / (1.0 - lowest) for name in ("recall", "condition_accuracy"))
        return left + x * width, top + (1.0 - y) * height

    parts = [f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#9a9a9a"/>']
    for tick in range(round(10 * lowest), 11):
        x, y = place({"recall": tick / 10, "condition_accuracy": tick / 10})
        parts.append(f'<text x="{x:.0f}" y="{top + height + 16}" text-anchor="middle">{tick / 10:g}</text>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">{tick / 10:g}</text>')
    for seed in sorted({row["seed"] for row in scaled}):
        points = [(row["guidance_scale"], *place(row)) for row in scaled if row["seed"] == seed]
        line = " ".join(f"{x:.1f},{y:.1f}" for _, x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="#5f9bd0" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#1f5f99"/>' for _, x, y in points]
        if seed == min(row["seed"] for row in scaled):
            parts += [f'<text x="{x + 6:.1f}" y="{y - 5:.1f}">{scale:g}</text>' for scale, x, y in points]
    parts.append(f'<text x="{left + width / 2}" y="{top + height + 36}" text-anchor="middle">recall</text>')
    middle = top + height / 2
    parts.append(f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">condition accuracy</text>')
    title = f"{family} on {data}: accuracy against recall over the guidance scale, a line for each training"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 24} {top + height + 48}" '
        'font-family="system-ui, Helvetica, Arial, sans-serif" font-size="11" fill="#1b1b1b" role="img">'
        f'<title>{title}</title><rect width="100%" height="100%" fill="#ffffff"/>'
        f'<text x="8" y="24" font-size="13" font-weight="600">{title}</text>'
    )
    return head + "".join(parts) + "</svg>\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="ddpm")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=3_600)
    parser.add_argument("--out", type=Path, default=Path("runs/sampling_choices"))
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    data = load(options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for seed in range(options.seeds):
        kept = options.out / f"{options.family}-{options.data}-{options.samples}-{seed}.json"
        if not kept.exists():
            kept.write_text(json.dumps(rows_of_training(options.family, data, seed, options.samples), indent=1) + "\n")
        rows += json.loads(kept.read_text())
    names = " | ".join(name.replace("_", " ") for name in MEASURED)
    print(f"| guidance scale | {names} |\n|---:|{'---:|' * len(MEASURED)}")
    print("\n".join(table(rows, ((f"{scale:g}", {"guidance_scale": scale}) for scale in SCALES))))
    print(f"\n| sampler, steps (network evaluations) | {names} | FID by that of the first, each seed |")
    print(f"|---|{'---:|' * len(MEASURED)}---|")
    labelled = [(f"{s} {count} ({evaluations})", {"sampler": s, "steps": count}) for s, count, evaluations in SAMPLERS]
    print("\n".join(table(rows, labelled, labelled[0][1])))
    options.picture.write_text(picture(rows, options.family, options.data), encoding="utf-8")


if __name__ == "__main__":
    main()
