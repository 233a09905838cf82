"""Metrics on samples of sequences: whether they are grammatical, varied, repetitive, copied, and of the right n-grams.

Glossary: x (n, T) tokens; padding does not count (`DataSpec.mask_of`); N = 4, tokens of the n-grams of diversity.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...models.data_spec import DataSpec
from .alignment import wilson_interval
from .base import MetricValue, UndefinedError
from .intervals import LEAST, jackknife, normal_interval
from .means import mean_interval
from .mmd import squared_mmd
from .ngrams import numbered_ngrams, spectrum

N = 4


def grammaticality(grammatical: Tensor) -> MetricValue:
    """Share of samples that the data's grammar allows; higher is better.

    grammatical: (n,) bool. The 95% interval is Wilson's. It says nothing of diversity: one sentence again and again is
    grammatical.

    References: the share of valid samples of Kusner et al., "Grammar variational autoencoder", arXiv:1703.01925,
    section 5.
    """
    if not len(grammatical):
        raise UndefinedError("needs at least 1 sample, got 0")
    hits = int(grammatical.sum())
    low, high = wilson_interval(hits, len(grammatical))
    return MetricValue(hits / len(grammatical), low, high)


def distinct_n(generated_x: Tensor, spec: DataSpec) -> MetricValue:
    """Different 4-grams of all samples over all of their 4-grams; higher is more diverse.

    From nearly 0 (all samples alike) to 1. It falls with the number of samples and is highest for noise, so that it is
    read next to the floor, which has equal counts. The interval is the delete-one jackknife's, over samples. Undefined
    where no sample has four tokens.

    References: Li et al., arXiv:1510.03055, section 5.2 (distinct-1 and -2).
    """
    counted = _checked(generated_x, spec)
    number, there = _four_grams(generated_x, counted)
    sample = torch.arange(len(number))[:, None].expand_as(number)[there]
    grams, which, each = number[there].unique(return_inverse=True, return_counts=True)
    # A sample's own: those of which all occurrences are in it, that is, in the first and the last sample that has them.
    first = torch.full_like(grams, len(number)).scatter_reduce(0, which, sample, "amin")
    last = torch.zeros_like(grams).scatter_reduce(0, which, sample, "amax")
    own = torch.bincount(first[first == last], minlength=len(number)).double()
    total, different = float(each.sum()), float(len(grams))
    rest = total - there.sum(1).double()
    if len(number) < LEAST or not (rest > 0).all():
        return MetricValue(different / total)
    without = (different - own) / rest
    variance = (len(number) - 1) / len(number) * float((without - without.mean()).square().sum())
    return normal_interval(different / total, variance, variance, lowest=0.0)


def repetition(generated_x: Tensor, spec: DataSpec) -> MetricValue:
    """Share of a sample's 4-grams that it has had before, averaged over samples; lower is less repetitive.

    Real sequences repeat themselves, too, which the floor tells. The interval is normal, over samples. Samples of fewer
    than four tokens are left out; undefined where that leaves none.

    References: Welleck et al., arXiv:1908.04319, section 6 (seq-rep-4).
    """
    counted = _checked(generated_x, spec)
    number, there = _four_grams(generated_x, counted)
    ordered = number.masked_fill(~there, -1).sort(dim=1).values
    again = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).sum(1).double()
    each = there.sum(1).double()
    return mean_interval((again / each)[each > 0])


def copied_span(generated_x: Tensor, train_x: Tensor, spec: DataSpec) -> MetricValue:
    """Tokens of the longest span of a sample that stands in some train example, averaged over samples.

    Samples of a perfect model have as long ones as held-out examples, which the floor tells; longer ones are copied.
    Lower is less copied, and lowest for noise. The interval is normal, over samples at this train set.

    References: Carlini et al., arXiv:2202.07646, section 2 (verbatim spans); Lee et al., arXiv:2107.06499.
    """
    counted = _checked(generated_x, spec)
    if not len(train_x):
        raise UndefinedError("needs at least 1 train example, got 0")
    return mean_interval(longest_copies(generated_x, counted, train_x, spec.mask_of(train_x)).double())


def copied_share(generated_x: Tensor, train_x: Tensor, spec: DataSpec) -> MetricValue:
    """Share of samples that stand in the train split as they are; lower is less copied.

    A perfect model copies short sequences as often as held-out examples do, which the floor tells. The 95% interval is
    Wilson's, over samples at this train set.

    References: Lee et al., arXiv:2107.06499, section 6 (share of generated text that is memorised).
    """
    _checked(generated_x, spec)
    if not len(train_x):
        raise UndefinedError("needs at least 1 train example, got 0")
    known = {row.tobytes() for row in train_x.cpu().long().numpy()}
    hits = sum(row.tobytes() in known for row in generated_x.cpu().long().numpy())
    low, high = wilson_interval(hits, len(generated_x))
    return MetricValue(hits / len(generated_x), low, high)


def ngram_mmd(generated_x: Tensor, real_x: Tensor, spec: DataSpec) -> MetricValue:
    """The unbiased squared MMD between frequencies of 1-, 2- and 3-grams; lower is better, and it may be negative.

    Gaussian kernels with bandwidths from the real side. An n-gram model of order three scores as well as can be. The
    interval is the delete-one jackknife's. Undefined where all real sequences are alike.

    References: Gretton et al., JMLR 13 (2012), 723-773, equation 3; Leslie, Eskin and Noble, PSB 2002.
    """
    if spec.vocabulary is None:
        raise UndefinedError(f"n-grams are of sequences, not of {spec.kind} data")
    features = [spectrum(x.cpu(), _checked(x, spec).cpu(), spec.vocabulary) for x in (generated_x, real_x)]
    return jackknife(squared_mmd(*features))


def longest_copies(x: Tensor, counted: Tensor, train: Tensor, train_counted: Tensor) -> Tensor:
    """(n,) tokens of the longest span of each x (n, T) that stands in an example of train (m, T').

    Spans grow by one token at a time from all places; places whose span is nowhere on the other side drop out. Equal
    spans have equal numbers, which are exact.
    """
    longest = torch.zeros(len(x), dtype=torch.int64)
    sides = []
    for tokens, counts in ((x, counted), (train, train_counted)):
        row, place = counts.cpu().nonzero(as_tuple=True)
        sides.append((tokens.cpu(), counts.cpu(), row, place, torch.zeros_like(row)))
    tokens_in_all = int(max(x.max(), train.max())) + 1
    for length in range(1, min(x.shape[1], train.shape[1]) + 1):
        grown = []
        for tokens, counts, row, place, number in sides:
            end = place + length - 1
            inside = end < tokens.shape[1]
            row, place, number, end = row[inside], place[inside], number[inside], end[inside]
            goes_on = counts[row, end]
            row, place, number, end = row[goes_on], place[goes_on], number[goes_on], end[goes_on]
            grown.append((tokens, counts, row, place, number * tokens_in_all + tokens[row, end]))
        keys = torch.cat([part[4] for part in grown]).unique()
        numbers = [torch.searchsorted(keys, part[4]) for part in grown]
        on_side = torch.zeros(2, len(keys), dtype=torch.bool)
        for side, number in enumerate(numbers):
            on_side[side, number] = True
        common = on_side.all(0)
        sides = []
        for (tokens, counts, row, place, _), number in zip(grown, numbers, strict=True):
            kept = common[number]
            sides.append((tokens, counts, row[kept], place[kept], number[kept]))
        if not len(sides[0][2]):
            break
        longest[sides[0][2]] = length
    return longest


def _checked(x: Tensor, spec: DataSpec) -> Tensor:
    """Which tokens count. Raises UndefinedError for what are no sequences, or none."""
    if spec.kind != "sequence":
        raise UndefinedError(f"is for sequences, not for {spec.kind} data")
    if not len(x):
        raise UndefinedError("needs at least 1 sample, got 0")
    return spec.mask_of(x)


def _four_grams(x: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """`numbered_ngrams` of order 4. Raises UndefinedError where there is none."""
    if x.shape[1] >= N:
        number, there = numbered_ngrams(x.cpu(), counted.cpu(), N)
        if there.any():
            return number, there
    raise UndefinedError(f"no sample has {N} tokens")
