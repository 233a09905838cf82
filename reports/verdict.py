"""What a leaderboard says, in sentences that claim no more than its tests do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..bench.budget.kinds import budget_of
from ..bench.runs.records import Record
from .candidate import MOST_SEEDS, POWER, Claims
from .finals import card, lower_is_better
from .flags import bound_text, flagged
from .standings import Standings
from .text import count, figure, listing, number, percent
from .text import setting as text_of


def budget_text(budget: Mapping[str, Any]) -> str:
    """ "6 full trainings' worth", "1.0e13 floating-point operations"."""
    amount = budget["amount"]
    one, many = budget_of(budget["kind"], amount).unit
    shown = str(int(amount)) if float(amount).is_integer() and amount < 1e6 else number(amount)
    return f"{shown} {one if amount == 1 else many}"


def verdict(content: Mapping[str, Any], standings: Standings) -> str:
    """Which families the candidate is better than on the first objective, and which cannot be excluded."""
    metric = content["objective"][0]
    rows = {row["family"]: row for row in content["rows"] if row["incumbent"] == 0}
    scored = {f: row for f, row in rows.items() if "value" in row["metrics"].get(metric, {})}
    if not rows:
        return "Nothing has been compared yet."
    lost = "".join(
        f"Every trial of {row['family']} failed ({row['failure']}). " for row in rows.values() if row["failure"]
    )
    if not scored:
        return lost + "No family has final scores on the test split yet, so nothing is ranked." + _unequal(content)
    if content["state"] != "finished" and len(scored) < len(rows):
        so_far = f"So far {len(scored)} of {count(len(rows), 'family', 'families')} have final scores. "
    else:
        so_far = ""
    best = next(iter(scored))
    beaten = standings.claims.better_than if standings.claims else ()
    shown = {best, *(standings.barred - set(beaten)), *(f for f, row in rows.items() if row["candidate"])}
    warning = "".join(
        f" {f'{f} was no candidate' if f in standings.barred else f'But {f}'}: {'; '.join(said)}."
        for f, said in flagged(content["rows"]).items()
        if f in shown
    )
    return lost + so_far + _standing_of(scored, metric, standings) + _unequal(content) + warning


def _unequal(content: Mapping[str, Any]) -> str:
    """That a time limit has ended the tuning of families, which then had less than the others, or not equally much."""
    families = list(dict.fromkeys(entry["family"] for entry in content["cut"]))
    if not families:
        return ""
    return f" The time limit cut the tuning of {listing(families)}, so budgets were not equal."


def _standing_of(scored: Mapping[str, Mapping[str, Any]], metric: str, standings: Standings) -> str:
    best = next(iter(scored))
    value = _value(scored[best], metric)
    if len(scored) == 1:
        return f"{best} reaches a test {metric} of {value}; there is no other to compare with."
    word = "lowest" if lower_is_better(metric) else "highest"
    if all(row["metrics"][metric]["n"] < 2 for row in scored.values()):
        return (
            f"{best} has the {word} test {metric} of one re-training each ({value}), "
            "but single re-trainings cannot separate families."
        )
    claims = standings.claims
    if claims is None:
        return (
            f"{best} has the {word} mean test {metric} ({value}). No family could be named on validation and tested "
            "against another with two finals, so no family is said to be better."
        )
    return _claimed(claims, scored, metric, standings.barred) + _second_opinion(claims, metric, standings)


def _claimed(claims: Claims, scored: Mapping[str, Mapping[str, Any]], metric: str, barred: Collection[str] = ()) -> str:
    """The claims in words that match their tests; families that break a bound take the lead from nobody."""
    named, better = claims.candidate, [f for f in scored if f in claims.better_than]  # in the table's order
    left = [f for f in scored if f in claims.not_excluded and f not in barred]
    leaders = [f for f in left if f in claims.ahead]
    value = _value(scored[named], metric)
    beaten = f"better than {listing(better)} by test {metric} ({value})"
    if leaders:
        word = "lower" if lower_is_better(metric) else "higher"
        ahead = listing([f"{f} ({_value(scored[f], metric)})" for f in leaders])
        verb = "is" if len(leaders) == 1 else "are"
        found = f"No leader: validation named {named} ({value}), but {ahead} {verb} {word} on the test."
        rest = [f for f in left if f not in leaders]
        found += f" {named} is better than {listing(better)}." if better else ""
        return found + (f" {listing(rest)} cannot be excluded either." if rest else "")
    if not better and not left:
        return f"{named} ({value}) is the only family whose setting keeps all bounds."
    if not better:
        return (
            f"{named} was named on validation and has the best test {metric} ({value}), but "
            f"{listing(left)} cannot be excluded."
        )
    if left:
        return f"{named} is {beaten}; {listing(left)} cannot be excluded."
    return f"{named} leads: it is {beaten}."


def measured_guides(content: Mapping[str, Any]) -> list[str]:
    """Objectives and constrained metrics that differ from run to run, since they are measured."""
    guides = [*content["objective"], *(bound["metric"] for bound in content["constraints"])]
    return [name for name in dict.fromkeys(guides) if card(name).measured]


def notes(content: Mapping[str, Any], standings: Standings, records: Sequence[Record]) -> list[str]:
    """How the figures came about, what they leave out, and what went wrong."""
    return [
        *_notes_on_tuning(content),
        *_notes_on_evaluators(content),
        *_notes_on_claims(content, standings),
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
        f"{f' in each of {repeats} repeats of its tuning' if repeats > 1 else ''}, failed trials included"
        f"{', but for those that the time limit cut' if content['cut'] else ''}.",
        f"Settings were chosen on the validation split; the figures are means over {count(seeds, 're-training')} "
        "with fresh seeds, scored on the test split. This table contains no scores of tuning trials.",
    ]
    if content["cut"]:
        amount = content["budget"]["amount"]
        ended = [
            f"{entry['family']}{' in repeat ' + str(entry['repeat']) if repeats > 1 else ''} after "
            f"{count(entry['trials'], 'trial')}, {percent(entry['spent'] / amount)} of its budget"
            for entry in content["cut"]
        ]
        found.append(
            f"The time limit (--max-hours) ended the tuning of {listing(ended)}. More time could change what was "
            "found; `gentune resume --max-hours` goes on from here."
        )
    measured = measured_guides(content)
    if measured:
        found.append(
            f"Trials were judged by what a clock or a device tells ({listing(measured)}): this run cannot be replayed "
            "from its seed. sample_flops and flops are counted."
        )
    if content["size"] != 1.0:
        found.append(
            f"The study's size is {content['size']:g}: trainings have {content['size']:g} times the steps, networks "
            f"{content['size'] ** 0.5:.3g} times the width, that the families' cards state for these data."
        )
    for family, changes in content["space"].items():
        found.append(f"This study changed the search space of {family} ({' · '.join(changes)}).")
    for family, starts in content["start"].items():
        settings = [", ".join(f"{name} = {text_of(value)}" for name, value in start.items()) for start in starts]
        those = "a setting that the study names" if len(settings) == 1 else "settings that the study names"
        found.append(f"After its default, {family} tried {those}: {'; '.join(settings)}.")
    for run in content["warm_start"]:
        trials = listing([f"{number} of {family}" for family, number in run["trials"].items()])
        found.append(
            f"Proposals also learned from trials of the earlier run {run['name']} ({trials}; {run['data']}, "
            f"{listing(run['objective'])}), which this budget does not count: the other families had no prior trials."
        )
    return found


def _notes_on_evaluators(content: Mapping[str, Any]) -> list[str]:
    """Evaluators that have learned little of the data."""
    return [
        f"The {e['role']} evaluator, {e['name']}, has learned little of the data ({e['quality']['told']}): figures "
        "through it tell little about samples. --evaluators names others."
        for e in content["evaluators"]
        if (e.get("quality") or {}).get("poor")
    ]


def _notes_on_claims(content: Mapping[str, Any], standings: Standings) -> list[str]:
    """What the verdict rests on, what it could have found, and what tuning was worth."""
    found = []
    claims, metric = standings.claims, content["objective"][0]
    if claims:
        found.append(
            f"The verdict tests every family against the one that did best on validation, {claims.candidate}, named "
            f"before the test: {count(len(claims.p_values), 'one-sided t-test')} of {metric}, "
            + ("with variances moderated over families" if claims.moderated else "by Welch")
            + f", with a chance of at most {percent(claims.level)} that any claim is wrong by luck of the finals "
            "(Hochberg's correction; look number j at the finals has 5% / 2^j)."
        )
        if claims.detectable is not None:
            found.append(
                f"With these finals, a difference of {percent(claims.detectable)} between two families is found with "
                f"a probability of {percent(POWER)}; smaller ones may be there unseen."
            )
        elif claims.detectable_difference is not None:
            found.append(
                f"These finals cannot tell differences in {metric} below {number(claims.detectable_difference)}: "
                f"one as large is found with a probability of {percent(POWER)}, and {claims.candidate}'s own {metric} "
                "is closer to zero than that."
            )
        needed = [
            f"{f} {f'about {seeds}' if seeds else f'more than {MOST_SEEDS}'}"
            for f, seeds in claims.seeds_needed.items()
        ]
        if needed:
            found.append(
                f"To exclude a family at the difference seen, with that probability, takes more finals (--seeds): "
                f"{listing(needed)}."
            )
    pooled = standings.tuned_against_default
    if pooled:
        left = sum(row["tuned_against_default"] is not None for row in content["rows"])
        better = "below" if lower_is_better(metric) else "above"
        shown = figure({"value": pooled.ratio, "low": pooled.low, "high": pooled.high})
        found.append(
            f"Tuned over default: the test {metric} of {count(left, 'family that', 'families that')} left the default "
            f"setting is {shown} times the default's (geometric mean; {better} 1 is better)."
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
        found.append(
            f"Ranks, the second view, rest on {count(len(comparison.p_values), 'two-sided t-test')} of all pairs"
            f"{' on the log scale where both are positive' if comparison.log_scale else ''}, "
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
                f"{row['family']}: {row['finals']} of {count(total, 'final')} succeeded; "
                + ("each failed one has the worst value of all families." if row["finals"] else "it has no figures.")
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


def _second_opinion(claims: Claims, metric: str, standings: Standings) -> str:
    """Whether the second evaluator's means put the candidate before each family that it is better than."""
    second = standings.second_comparisons.get(metric)
    if second is None or claims.candidate not in second.estimates or not claims.better_than:
        return ""
    sign = 1 if lower_is_better(metric) else -1
    mine = second.estimates[claims.candidate].value
    against = [
        f for f in claims.better_than if f in second.estimates and sign * (second.estimates[f].value - mine) <= 0
    ]
    if not against:
        return " The second evaluator agrees."
    return f" The second evaluator does not agree on {listing(against)}: by its means {claims.candidate} is not better."
