"""What a leaderboard says, in sentences that claim no more than its tests do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..bench.budget.kinds import budget_of
from ..bench.runs.records import Record
from .flags import bound_text, flagged
from .standings import Standings, lower_is_better
from .text import count, figure, listing, number


def budget_text(budget: Mapping[str, Any]) -> str:
    """ "6 full trainings' worth", "1.0e13 floating-point operations"."""
    amount = budget["amount"]
    one, many = budget_of(budget["kind"], amount).unit
    shown = str(int(amount)) if float(amount).is_integer() and amount < 1e6 else number(amount)
    return f"{shown} {one if amount == 1 else many}"


def verdict(content: Mapping[str, Any], standings: Standings) -> str:
    """Which families lead on the first objective, and which are not separable."""
    metric = content["objective"][0]
    rows = {row["family"]: row for row in content["rows"] if row["incumbent"] == 0}
    ranked = {f: row for f, row in rows.items() if row["rank"] is not None}
    if not rows:
        return "Nothing has been compared yet."
    if not ranked:
        return "No family has final scores on the test split yet, so nothing is ranked."
    if content["state"] != "finished" and len(ranked) < len(rows):
        so_far = f"So far {len(ranked)} of {count(len(rows), 'family', 'families')} have final scores. "
    else:
        so_far = ""
    warned = {f: said for f, said in flagged(content["rows"]).items() if f in ranked and ranked[f]["rank"] == 1}
    warning = "".join(f" But {family}: {'; '.join(said)}." for family, said in warned.items())
    return so_far + _standing_of(ranked, metric, standings) + warning


def _standing_of(ranked: Mapping[str, Mapping[str, Any]], metric: str, standings: Standings) -> str:
    if len(ranked) == 1:
        (family,) = ranked
        return (
            f"{family} reaches a test {metric} of {_value(ranked[family], metric)}; there is no other to compare with."
        )
    tested = [f for f, row in ranked.items() if row["metrics"][metric]["n"] > 1]
    best = next(iter(ranked))
    if not tested:
        word = "lowest" if lower_is_better(metric) else "highest"
        return (
            f"{best} has the {word} test {metric} of one re-training each ({_value(ranked[best], metric)}), "
            "but single re-trainings cannot separate families."
        )
    leaders = [f for f, row in ranked.items() if row["rank"] == 1]
    if len(leaders) == len(ranked):
        return f"By test {metric}, no two families are separable: {listing(leaders)}."
    if len(leaders) == 1:
        level = ranked[best]["not_separable_from"]
        said = f"{best} leads by test {metric} with {_value(ranked[best], metric)}"
        said += f", though it is not separable from {listing(level)}." if level else ", separably ahead of all others."
    else:
        said = (
            f"{listing(leaders)} lead by test {metric} and are not separable from "
            f"{'each other' if len(leaders) == 2 else 'one another'} "
            f"({'; '.join(f'{f} {_value(ranked[f], metric)}' for f in leaders[:3])}"
            f"{'; …' if len(leaders) > 3 else ''})."
        )
    return said + _second_opinion(metric, leaders, standings)


def notes(content: Mapping[str, Any], standings: Standings, records: Sequence[Record]) -> list[str]:
    """How the figures came about, what they leave out, and what went wrong."""
    return [
        *_notes_on_tuning(content),
        *_notes_on_intervals(content, standings),
        *_notes_on_families(content),
        *_notes_on_what_is_missing(content),
        *_notes_on_samples(content, records),
    ]


def _notes_on_samples(content: Mapping[str, Any], records: Sequence[Record]) -> list[str]:
    """How many samples were compared; without an evaluator none are: likelihoods are of held-out examples."""
    drawn = sorted({r.samples for r in records if r.role == "final" and r.samples})
    if not drawn or not content["evaluators"]:
        return []
    count, decided = " or ".join(f"{n:,}" for n in drawn), content.get("final_samples")
    if decided is None:
        return [f"Each score compares {count} samples with as many real examples."]
    found = [
        f"Distributions (FID, KID, MMD) are compared on {count} samples of each retraining and all real examples of "
        "the test split; neighbours (precision, recall, coverage) on as many samples as real examples at a time, "
        "averaged. A perfect model, whose samples follow the data's own law, would still score what its row says."
    ]
    if decided["limited_by"]:
        found.append(
            f"All families draw {decided['n']:,} samples in place of {decided['wanted']:,}: sampling more would take "
            f"{decided['limited_by']} longer than its training."
        )
    return found


def _notes_on_tuning(content: Mapping[str, Any]) -> list[str]:
    """The budget, the splits, and earlier runs that proposals learned from."""
    seeds, repeats = content["seeds"], content["repeats"]
    found = [
        f"Every family had the same budget of {budget_text(content['budget'])}"
        f"{f' in each of {repeats} repeats of its tuning' if repeats > 1 else ''}, failed trials included.",
        f"Settings were chosen on the validation split; the figures are means over {count(seeds, 're-training')} "
        "with fresh seeds, scored on the test split. This table contains no scores of tuning trials.",
    ]
    for run in content["warm_start"]:
        trials = listing([f"{number} of {family}" for family, number in run["trials"].items()])
        found.append(
            f"Proposals also learned from trials of the earlier run {run['name']} ({trials}; {run['data']}, "
            f"{listing(run['objective'])}), which this budget does not count: the other families had no prior trials."
        )
    return found


def _notes_on_intervals(content: Mapping[str, Any], standings: Standings) -> list[str]:
    """What intervals and ranks rest on."""
    metric, seeds, repeats = content["objective"][0], content["seeds"], content["repeats"]
    found = []
    if repeats > 1:
        found.append(f"Intervals (95%) are over {repeats} repeats of the whole tuning, so they include its variance.")
    elif seeds > 1:
        found.append(
            "Intervals (95%, Student's t) are over re-trainings of one setting on one test split: they leave out "
            "the variance of the tuning itself, which --repeats measures."
        )
    else:
        found.append("With one re-training there are no intervals, and families cannot be separated.")
    comparison = standings.comparisons.get(metric)
    if comparison and comparison.p_values:
        pairs = len(comparison.p_values)
        found.append(
            f"Ranks rest on {count(pairs, 'pairwise t-test')} of {metric}"
            f"{' on the log scale' if comparison.log_scale else ''}, "
            + ("with one variance pooled over families" if comparison.pooled else "with unequal variances (Welch)")
            + ", Holm-corrected to a familywise error of 5%. A family's rank is one more than the number of "
            "families that are significantly better."
        )
    if len(content["objective"]) > 1:
        found.append(
            f"With several objectives, families are ranked by the first, {metric}, at their first incumbent. "
            "Further points of a family's Pareto front follow unranked."
        )
    return found


def _notes_on_families(content: Mapping[str, Any]) -> list[str]:
    """Families whose re-trainings failed, that could not be tuned, or that copy."""
    found = []
    for row in content["rows"]:
        if row["failed_finals"]:
            total = row["finals"] + row["failed_finals"]
            found.append(
                f"{row['family']}: {row['failed_finals']} of {count(total, 're-training')} failed; "
                + ("its figures are means over the rest." if row["finals"] else "it has no figures.")
            )
    if content["uncountable"] and budget_of(**content["budget"]).priced_beforehand:
        reasons = "; ".join(f"{family}: {reason}" for family, reason in content["uncountable"].items())
        found.append(
            f"Not tuned: a default setting whose operations cannot be counted takes the whole budget ({reasons})."
        )
    if content["constraints"]:
        bounds = ", ".join(map(bound_text, content["constraints"]))
        found.append(f"Settings that broke a bound on validation were not chosen while another kept all: {bounds}.")
    for family, said in flagged(content["rows"]).items():
        found.append(f"{family}: {'; '.join(said)}.")
    return found


def _notes_on_what_is_missing(content: Mapping[str, Any]) -> list[str]:
    """Families without final scores, and those that were not compared."""
    found = []
    waiting = [r["family"] for r in content["rows"] if r["finals"] + r["failed_finals"] == 0]
    if waiting:
        found.append(f"Without final scores so far: {listing(waiting)}.")
    elif content["state"] != "finished":
        found.append(f"The run is {content['state']}; this table shows what is there so far.")
    if content["skipped"]:
        reasons = "; ".join(f"{family}: {reason}" for family, reason in content["skipped"].items())
        found.append(f"Not compared, since they do not fit the data: {reasons}.")
    return found


def _value(row: Mapping[str, Any], metric: str) -> str:
    return figure(row["metrics"][metric])


def _second_opinion(metric: str, leaders: Sequence[str], standings: Standings) -> str:
    """Whether the second evaluator's tests leave the same families in the lead."""
    second = standings.second_comparisons.get(metric)
    if second is None or not second.p_values:
        return ""
    theirs = second.leaders()
    if theirs == frozenset(leaders):
        return " The second evaluator agrees."
    ordered = sorted(theirs, key=lambda f: second.estimates[f].value * (1 if lower_is_better(metric) else -1))
    if len(ordered) == len(second.estimates):
        return " By the second evaluator no two families are separable."
    return f" The second evaluator's tests leave {listing(ordered)} in the lead."
