"""docs/metrics.md: what planted failures show, and the list of all metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from planting import FAILURES, KNOWN_MISSES
from scoring import BOTH, PER_CLASS, Bench, Cell, Floor

from gentune.bench.metrics import MetricCard, UndefinedError


def page(
    bench: Bench,
    floors: Mapping[str, Mapping[str, Floor]],
    cells: Mapping[str, Mapping[str, Cell]],
    cards: Mapping[str, MetricCard],
    repeats: int,
    picture: str,
) -> str:
    train = len(bench.data.splits["train"])
    fingerprints = ", ".join(f"{name} (accuracy {e.accuracy:.3f})" for name, e in bench.evaluators.items())
    lines = [
        "# Metrics",
        "",
        "What each metric sees, tried on failures that were planted in real data; below it the list of all metrics.",
        "This page is written by",
        "",
        "    make bench-metrics      # python tests/performance/planted_failures.py",
        "",
        "which fails where a metric misses what it should catch.",
        "",
        "## Planted failures",
        "",
        f"{PER_CLASS} digits of each class from the validation split (for copies, from the train split) are spoilt and",
        f"scored as samples against {PER_CLASS} of each class from the test split, through both in-domain",
        f"evaluators: {fingerprints}. Memorisation metrics see all {train:,} train examples.",
        f"The floor is real data against real data: {repeats} random splits of the held-out examples into two such",
        "sets. A failure is *caught* where the score is worse than the floor's 95% interval through every evaluator;",
        "by chance alone that happens to fewer than one cell in forty. Memorisation is read together with quality:",
        "samples that are far from all data are no copies.",
        "",
        f"![Heat map of planted failures]({picture})",
        "",
        "| failure | what was planted | should be caught by | missed by | also caught by |",
        "|---|---|---|---|---|",
    ]
    for failure in FAILURES:
        expected = [n for n in cells if cells[n][failure.name].expected]
        missed = [n for n in expected if not cells[n][failure.name].caught]
        extra = [n for n in cells if cells[n][failure.name].caught and n not in expected]
        lines.append(
            f"| {failure.name} | {failure.meaning} | "
            + " | ".join(" ".join(f"`{n}`" for n in names) or "–" for names in (expected, missed, extra))
            + " |"
        )
    lines += ["", "Catches that are not safe: with other draws of the same digits some were missed.", ""]
    lines += [f"- `{name}` on *{failure}*: {why}." for (failure, name), why in KNOWN_MISSES.items()]
    for view in bench.evaluators:
        lines += ["", f"### Scores through the {view} evaluator", "", *_values(bench, floors, cells, view)]
    return "\n".join([*lines, "", "## All metrics", "", *_all_metrics(cards)]) + "\n"


def _values(
    bench: Bench, floors: Mapping[str, Mapping[str, Floor]], cells: Mapping[str, Mapping[str, Cell]], view: str
) -> Iterable[str]:
    yield "Bold: worse than the floor's interval. ↓: lower is better, ↑: higher."
    yield ""
    yield "| metric | floor, 95% | " + " | ".join(f.name for f in FAILURES) + " |"
    yield "|---|---|" + "---:|" * len(FAILURES)
    for name, row in cells.items():
        key = view if view in floors[name] else BOTH
        if key not in floors[name]:
            continue
        floor, direction = floors[name][key], bench.cards[name].direction
        shown = []
        for failure in FAILURES:
            value = row[failure.name].values.get(key)
            text = "–" if value is None else f"{value:.3g}"
            shown.append(f"**{text}**" if value is not None and floor.caught(value, direction) else text)
        arrow = "↓" if direction == "lower" else "↑"
        yield f"| `{name}` {arrow} | {floor.low:.3g} to {floor.high:.3g} | " + " | ".join(shown) + " |"


def _all_metrics(cards: Mapping[str, MetricCard]) -> Iterable[str]:
    yield "A metric is not defined where an input is missing, and one on features also where these are not finite or"
    yield "the real ones are all equal; the record says why. The last column holds what is special to a metric."
    yield ""
    yield "Finals are scored on more samples than there are real examples. Of metrics that look at samples, the column"
    yield "*sees* says which: *all* of them, against all real examples of the split; *blocks* of as many as (at most"
    yield "2,000) real examples, whose figures are averaged; *one block*, the first. Trials and `gentune evaluate` have"
    yield "equal counts."
    groups: dict[str, list[MetricCard]] = {}
    for card in cards.values():
        groups.setdefault(card.group, []).append(card)
    for group, members in groups.items():
        yield from ("", f"### {group.capitalize()}", "")
        yield "| metric | what it says | better | unit | sees | reference | not defined |"
        yield "|---|---|---|---|---|---|---|"
        for card in members:
            doc = card.load().__doc__ or ""
            sees = card.counts if card.of_samples else ""
            row = (card.summary, card.direction, card.unit, sees, _references(doc), _undefined(card, doc))
            yield f"| `{card.name}` | " + " | ".join(text.replace("|", "\\|") for text in row) + " |"


def _references(doc: str) -> str:
    found = re.search(r"References:(.*)", doc, re.DOTALL)
    text = " ".join(found.group(1).split()) if found else " ".join(re.findall(r"arXiv:\d{4}\.\d{4,5}", doc)[:1])
    text = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    return re.sub(r"doi:(\S+?)([.,;]?)(?=\s|$)", r"[doi:\1](https://doi.org/\1)\2", text).rstrip(".")


def _undefined(card: MetricCard, doc: str) -> str:
    """Sentences of its docstring, and what it answers to one sample and to one label."""
    sentences = re.split(r"(?<=\.)\s+(?=[A-Z])", " ".join(doc.split("References:")[0].split()))
    found = [s.rstrip(".") for s in sentences if re.search(r"\bundefined\b", s, re.IGNORECASE)]
    if found:
        return "; ".join(found)
    features, labels = torch.eye(3, dtype=torch.float64), torch.tensor([0, 1, 2])
    few: dict[str, object] = {
        "generated_features": features[:1],
        "real_features": features,
        "train_features": features,
        "generated_probabilities": features[:1],
        "conditions": labels[:1],
        "real_labels": labels,
        "seed": 0,
    }
    if not set(card.needs) <= set(few):
        return ""
    for inputs in (few, few | {"generated_probabilities": torch.ones(3, 1), "conditions": labels}):
        try:
            card.load()(**{need: inputs[need] for need in card.needs})
        except (UndefinedError, ValueError) as reason:
            if isinstance(reason, UndefinedError):
                return f"{reason}".partition(", got")[0]
    return ""
