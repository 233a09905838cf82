"""docs/families.md: which data each family takes, from the TOMLs; what families reach, from a run; how fast they are.

    python tests/performance/families_page.py      # runs/families and runs/families-speed.json where they are there
    python tests/performance/families_page.py --run DIR --speed FILE

What is not there stays as it stands on the page, and so does what is written there by hand under "What stands out".
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gentune.reports.text import figure
from gentune.search_spaces import FamilyCard, load_card, shipped_cards
from gentune.search_spaces.card import DATA_KINDS

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "families.md"
RUN = ROOT / "runs" / "families"
SPEED_FILE = ROOT / "runs" / "families-speed.json"  # of family_speed.py
RESULTS = "## Results on the digits\n"
SPEED = "## Speed next to other implementations\n"
FINDINGS = "## What stands out\n"  # written by hand
NONE_YET = "Not run yet."
# Columns of the results: title, metric.
_COLUMNS = (
    ("FID", "fid"),
    ("recall", "recall"),
    ("bits/dim", "bits_per_dim"),
    ("authenticity", "authenticity"),
    ("training, s", "train_seconds"),
    ("samples/s", "samples_per_second"),
    ("parameters", "parameters"),
    ("operations", "flops"),
)


def cards() -> list[FamilyCard]:
    """The shipped families, by group and name; the classical ones, by which all others are measured, first."""
    found = [load_card(path) for path in shipped_cards()]
    return sorted(found, key=lambda card: (card.group != "classical", card.group, card.name))


def page(families: Sequence[FamilyCard], results: str, findings: str, speed: str) -> str:
    """The whole page; `results`, `findings` and `speed` are what stands below their headings."""
    parts = (RESULTS, results), (FINDINGS, findings), (SPEED, speed)
    return "\n".join([*_introduction(), matrix(families), *(line for part in parts for line in ("", *part)), ""])


def section(text: str, heading: str) -> str:
    """What stands below a heading of the page as it is."""
    below = text.split(heading, 1)[1] if heading in text else NONE_YET
    return below.split("\n## ", 1)[0].strip()


def _introduction() -> list[str]:
    return [
        "# Families",
        "",
        "Which data each family takes, and what it reaches. This page is written by",
        "",
        "    make bench-families     # hours at first; goes on where it was stopped",
        "",
        "and its first table alone by `python tests/performance/families_page.py`.",
        "",
        "## What each family takes",
        "",
        "Under a kind of data stands the likelihood that a family has of it: *exact*; *dequantised* and *elbo*, which",
        "are bounds; *none* where it has samples alone; – where it does not take such data. Conditional families take",
        "class labels where the data have them, images or texts where they say so.",
        "",
    ]


def matrix(families: Iterable[FamilyCard]) -> str:
    """Family by data kind, from the cards."""
    lines = [
        "| family | group | " + " | ".join(f"{kind}s" for kind in DATA_KINDS) + " | conditional | what it is |",
        "|---|---|" + "---|" * len(DATA_KINDS) + "---|---|",
    ]
    for card in families:
        kinds = " | ".join(
            card.likelihood[kind].replace("_", " ") if kind in card.kinds else "–" for kind in DATA_KINDS
        )
        conditional = "–" if card.conditional == "none" else card.conditional
        lines.append(f"| {_link(card.name)} | {card.group} | {kinds} | {conditional} | {card.summary} |")
    return "\n".join(lines)


def results(board: Mapping[str, Any], families: Iterable[FamilyCard]) -> str:
    """What a comparison's leaderboard says of every family: means and 95% intervals over re-trainings, on test data."""
    rows = {row["family"]: row for row in board["rows"] if row["incumbent"] == 0}
    skipped = board.get("skipped", {})
    budget = board["budget"]
    lines = [
        f"Each family was tuned on `{board['data']}` for {budget['amount']:g} {_budget(budget['kind'])} by"
        f" `{', '.join(board['objective'])}` on the validation split;",
        f"its best setting was then retrained with {board['seeds']} new seeds and scored on the test split. In"
        " brackets: 95% intervals over",
        "these trainings. Ranks are ranges where the tests do not separate families. Lower FID and bits/dim are better,"
        " higher recall",
        "and authenticity (copies score 0). Bits/dim of different kinds compare only as bounds.",
        "",
        "| rank | family | " + " | ".join(title for title, _ in _COLUMNS) + " | tuned against default |",
        "|---|---|" + "---|" * (len(_COLUMNS) + 1),
    ]
    places = list(rows)  # best first
    families = sorted(families, key=lambda card: places.index(card.name) if card.name in rows else len(rows))
    for card in families:
        row = rows.get(card.name)
        if row is None or not row["finals"]:
            why = skipped.get(card.name, NONE_YET.rstrip(".").lower())
            lines.append(f"| – | {_link(card.name)} | {why} |" + " |" * len(_COLUMNS))
            continue
        cells = [_cell(row, metric, board) for _, metric in _COLUMNS]
        lines.append(f"| {_rank(row)} | {_link(card.name)} | {' | '.join(cells)} | {row['against_default'] or '–'} |")
    for reference in board["references"]:
        cells = [_cell(reference, metric, board) for _, metric in _COLUMNS]
        if any(cell not in ("–", "not defined") for cell in cells):
            name = reference["name"].replace("_", " ")
            lines.append(f"| | *{name}* (reference) | {' | '.join(cells)} | |")
    return "\n".join([*lines, "", board["verdict"], "", *(f"- {note}" for note in board["notes"])])


def speed(ratios: Iterable[Mapping[str, Any]]) -> str:
    """A line for each part of each pair."""
    lines = [
        "Ours over theirs, below 1 is faster; 95% intervals. Both on one thread and in turns, at equal architecture,",
        "on the digits (autoencoders: in two levels); `tests/performance/speed_pairs.py` says what is timed.",
        "",
        "| family | next to | part | ours, ms | theirs, ms | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for r in ratios:
        shown = f"{r['ratio']:.2f} [{r['low']:.2f}, {r['high']:.2f}]"
        lines.append(
            f"| {r['pair']} | {r['rival']} | {r['part']} | {r['ours_ms']:.3g} | {r['theirs_ms']:.3g} | {shown} |"
        )
    return "\n".join(lines)


def _cell(row: Mapping[str, Any], metric: str, board: Mapping[str, Any]) -> str:
    cell = row["metrics"].get(metric)
    shown = figure(cell, board["metrics"].get(metric, {}).get("unit", ""))
    kind = (row.get("likelihood") or {}).get("kind")
    if metric == "bits_per_dim" and kind and cell and "value" in cell:
        samples = row["likelihood"].get("samples") or 1
        shown += f" {kind.replace('_', ' ')}" + (f", K = {samples}" if samples > 1 else "")
    return shown


def _rank(row: Mapping[str, Any]) -> str:
    low, high = row["rank_low"], row["rank_high"]
    if low is None:
        return "–"
    return str(low) if low == high else f"{low}–{high}"


def _budget(kind: str) -> str:
    return {"trainings": "full trainings' worth", "flops": "operations", "seconds": "seconds"}[kind]


def _link(name: str) -> str:
    there = (PAGE.parent / "families" / f"{name}.md").is_file()
    return f"[{name}](families/{name}.md)" if there else name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=RUN, help="a comparison's folder")
    parser.add_argument("--speed", type=Path, default=SPEED_FILE, help="ratios of family_speed.py")
    parser.add_argument("--out", type=Path, default=PAGE)
    arguments = parser.parse_args()
    families = cards()
    before = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    reached, findings, fast = (section(before, heading) for heading in (RESULTS, FINDINGS, SPEED))
    board = arguments.run / "report" / "leaderboard.json"
    if board.is_file():
        reached = results(json.loads(board.read_text(encoding="utf-8")), families)
    if arguments.speed.is_file():
        fast = speed(json.loads(arguments.speed.read_text(encoding="utf-8")))
    arguments.out.write_text(page(families, reached, findings, fast), encoding="utf-8")
    for name, path in (("results", board), ("speed", arguments.speed)):
        print(f"{name} from {path}" if path.is_file() else f"{name} as they were: there is no {path}")


if __name__ == "__main__":
    main()
