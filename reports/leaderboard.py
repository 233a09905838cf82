"""The leaderboard: one document from a run's records, and the files that it is written to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..bench.budget.kinds import budget_of
from ..bench.files import write_atomically
from ..bench.runs.constraints import Constraint
from ..bench.runs.looks import read_looks, seeds_of
from ..bench.runs.records import Record
from ..bench.runs.run_folder import RunFolder
from ..bench.runs.study_file import StudyFile
from . import formats
from .candidate import Claims
from .finals import card
from .flags import barred, flags, on_validation
from .inference import Estimate
from .scores import Scores
from .standings import Standing, Standings, compute_standings, metric_order
from .verdict import measured_guides, notes, verdict

SCHEMA = 1
FILES = ("json", "csv", "md", "tex")


@dataclass(frozen=True)
class Leaderboard:
    """`content` is the document of leaderboard.json; `standings` is what it was made from."""

    content: Mapping[str, Any]
    standings: Standings

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.content["rows"]

    def to_json(self) -> str:
        """One JSON document."""
        return json.dumps(self.content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def render(self, form: str) -> str:
        """The leaderboard as "json", "csv", "md" or "tex"."""
        if form == "json":
            return self.to_json()
        writers = {"csv": formats.to_csv, "md": formats.to_markdown, "tex": formats.to_latex}
        if form not in writers:
            raise ValueError(f"the leaderboard is written as {', '.join(FILES)}; got {form!r}")
        return writers[form](self.content)


def write_leaderboard(folder: RunFolder, forms: Collection[str] = FILES) -> Leaderboard:
    """Writes report/leaderboard.{json,csv,md,tex}, or those of `forms`, and returns the leaderboard.

    Works on unfinished runs: what has no final scores yet stands without values.
    """
    board = build_leaderboard(folder)
    for form in FILES:
        if form in forms:
            write_atomically(folder.report_path / f"leaderboard.{form}", board.render(form))
    return board


def build_leaderboard(folder: RunFolder, records: list[Record] | None = None) -> Leaderboard:
    """The leaderboard of a run's records; nothing in it but cost metrics depends on time, place or machine."""
    study = folder.study
    records = folder.records() if records is None else records
    comparison = folder.read_json("comparison.json") or {}
    families = compared_families(study, records, comparison)
    bounds = folder.bounds(study.constraints, records)
    standings = compute_standings(
        records,
        families,
        study.objective,
        study.repeats,
        look=len(read_looks(folder)),
        barred=barred(bounds, records),
    )
    incumbents = folder.read_json("incumbents.json") or {}
    kind, amount = study.budget
    rows = [_row(row, records, incumbents.get(row.family) or [], bounds) for row in standings.rows]
    references = _references(standings)
    names = metric_order(
        [m for row in [*rows, *references] for part in ("metrics", "second_metrics") for m in row[part]],
        study.objective,
    )
    for row in [*rows, *references]:
        for part in ("metrics", "second_metrics"):
            row[part] = {m: row[part][m] for m in names if m in row[part]}
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "name": f"{study.data.label}: {', '.join(families)}",
        "data": str(study.data),
        "objective": list(study.objective),
        "directions": ["higher" if card(m).direction == "higher" else "lower" for m in study.objective],
        "budget": {"kind": kind, "amount": amount},
        "size": study.size,
        **_changes(comparison),
        "warm_start": _warm_start(folder),
        "seeds": seeds_of(folder),
        "repeats": study.repeats,
        "state": comparison.get("state", "unfinished"),
        "cut": _cut(comparison, records),
        "constraints": [
            {"metric": b.metric, "relation": b.relation, "limit": b.limit, "basis": b.basis} for b in bounds
        ],
        "verdict": "",
        **_of_claims(standings.claims),
        "rows": rows,
        "references": references,
        "final_samples": folder.read_json("final_samples.json"),
        "metrics": {m: {"direction": card(m).direction, "unit": card(m).unit, "group": card(m).group} for m in names},
        "evaluators": folder.read_json("evaluators.json") or [],
        "skipped": dict(comparison.get("skipped") or {}),
        "uncountable": dict(comparison.get("uncountable") or {}),
        "notes": [],
    }
    content["replayable"] = budget_of(kind, amount).priced_beforehand and not measured_guides(content)
    content["verdict"] = verdict(content, standings)
    on_data = [f"Data: {note}." for note in comparison.get("data_notes") or ()]
    content["notes"] = [*notes(content, standings, records), *on_data]
    return Leaderboard(content, standings)


def _cut(comparison: Mapping[str, Any], records: Sequence[Record]) -> list[dict[str, Any]]:
    """The studies whose tuning the run's time limit has ended, with what they had had of their budget by then."""
    found = []
    for name in comparison.get("cut") or ():
        family, _, repeat = name.partition("@")
        trials = [r for r in records if (r.role, r.family, r.repeat) == ("trial", family, int(repeat or 0))]
        spent = sum(r.cost for r in trials)
        found.append({"family": family, "repeat": int(repeat or 0), "trials": len(trials), "spent": spent})
    return found


def _references(standings: Standings) -> list[dict[str, Any]]:
    """The baselines that have any score."""
    return [
        {
            "name": name,
            "samples": standings.reference_samples[name],
            "metrics": _cells(primary),
            "second_metrics": _cells(second),
        }
        for name, (primary, second) in standings.references.items()
        if primary.metrics or second.metrics  # such as a floor where nothing can be measured without an evaluator
    ]


def _of_claims(claims: Claims | None) -> dict[str, Any]:
    """What was tested against the candidate, and what could have been found, as JSON has it."""
    if claims is None:
        return {"claims": None, "detectable_gap": None, "detectable_difference": None}
    told = {
        "candidate": claims.candidate,
        "level": claims.level,
        "moderated": claims.moderated,
        "p_values": dict(claims.p_values),
        "better_than": list(claims.better_than),
        "not_excluded": list(claims.not_excluded),
        "ahead": list(claims.ahead),
        "seeds_needed": dict(claims.seeds_needed),
    }
    return {
        "claims": told,
        "detectable_gap": claims.detectable,
        "detectable_difference": claims.detectable_difference,
    }


def _changes(comparison: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By family, what the study changed in its search space, and the setting that it tried after the default."""
    families = (comparison.get("families") or {}).items()
    return {
        "space": {name: about["changes"] for name, about in families if about.get("changes")},
        # Runs of before 2026-12 have one setting in place of a list.
        "start": {name: s if isinstance(s, list) else [s] for name, about in families if (s := about.get("start"))},
    }


def _warm_start(folder: RunFolder) -> list[dict[str, Any]]:
    """Of each earlier run that proposals learned from: its folder's name, data, objective, and trials by family."""
    return [
        {
            "name": Path(run["path"]).name,
            "data": run["data"],
            "objective": run["objective"],
            "trials": {family: sum(map(len, repeats)) for family, repeats in run["families"].items()},
        }
        for run in folder.read_json("warm_start.json") or ()
    ]


def compared_families(study: StudyFile, records: list[Record], comparison: Mapping[str, Any]) -> tuple[str, ...]:
    """The families of the comparison in the study's order, and any others that have records."""
    skipped = comparison.get("skipped") or {}
    named = [f for f in study.families if f != "all"] + list(comparison.get("families") or {})
    recorded = [r.family for r in records if r.role in ("trial", "final")]
    return tuple(f for f in dict.fromkeys(named + recorded) if f not in skipped or f in recorded)


def _row(
    row: Standing, records: list[Record], incumbents: list[Mapping[str, Any]], bounds: Sequence[Constraint]
) -> dict[str, Any]:
    mine = [r for r in records if r.family == row.family]
    finals = [r for r in mine if r.role == "final" and r.incumbent == row.incumbent]
    settings: dict[int, dict[str, Any]] = {
        i["repeat"]: dict(i["params"]) for i in incumbents if i.get("incumbent", 0) == row.incumbent
    }
    for record in finals:
        settings[record.repeat] = dict(record.params)
    default = next((dict(r.params) for r in mine if r.role == "default"), None)
    # A study's first trial is the family's default setting.
    first = next((dict(r.params) for r in mine if r.role == "trial" and r.number == 0 and r.repeat == 0), None)
    return {
        "family": row.family,
        "incumbent": row.incumbent,
        "rank": row.rank.rank if row.rank else None,
        "rank_low": row.rank.low if row.rank else None,
        "rank_high": row.rank.high if row.rank else None,
        "not_separable_from": list(row.not_separable_from),
        "candidate": row.candidate,
        "better_than": list(row.better_than),
        "not_excluded": list(row.not_excluded),
        "leading": sorted(row.leading),
        "metrics": _cells(row.primary),
        "second_metrics": _cells(row.second),
        "default": _cells(row.default),
        "against_default": row.against_default,
        "tuned_against_default": None if row.tuned_against_default is None else asdict(row.tuned_against_default),
        "params": next((settings[r] for r in sorted(settings)), None),
        "params_by_repeat": [settings[r] for r in sorted(settings)],
        "default_params": default if default is not None else first,
        "likelihood": next((dict(r.likelihood) for r in mine if r.role == "final" and r.likelihood), {}),
        "finals": row.finals,
        "failed_finals": row.failed_finals,
        "flags": flags(bounds, finals, on_validation(mine, finals)),
        "trials": row.trials,
        "failed": row.failed_trials,
        "failure": _failure([r for r in mine if r.role == "trial"]),
        "cost": row.cost,
    }


def _failure(trials: Sequence[Record]) -> str | None:
    """The most frequent reason, where every trial of a family has failed; None elsewhere."""
    if not trials or any(r.state != "failed" for r in trials):
        return None
    return Counter(r.reason or "no reason recorded" for r in trials).most_common(1)[0][0]


def _cells(scores: Scores) -> dict[str, dict[str, Any]]:
    cells: dict[str, dict[str, Any]] = {m: _cell(e, card(m).unit) for m, e in scores.metrics.items()}
    cells |= {m: {"undefined": reason} for m, reason in scores.undefined.items()}
    return {m: cells[m] for m in metric_order(cells, ())}


def _cell(estimate: Estimate, unit: str) -> dict[str, Any]:
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "unit": unit,
        "n": estimate.n,
    }
