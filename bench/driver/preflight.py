"""Looks at a run's families before it begins: plug-ins for a broken interface, changed spaces for what cannot be built.

What a plug-in's own code raises in a step is left to the trials, which record it; what is refused here would only fail
in the same way in every one of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ...models.base import Batch, GenerativeModel
from ...search_spaces.overrides import ChangedCard
from .. import registry
from ..budget.time_limit import TookTooLongError, time_limit
from ..data import DataSet
from ..errors import UsageError
from ..registry import ResolvedFamily
from ..runs.study_file import StudyFile
from ..scoring.sampling import TrialError, check_samples
from ..training.loop import DivergedError, train
from ..training.setting import build_model, split_setting
from ..training.torch_start import load_all_of_torch

_EXAMPLES = 64  # of the train split, on which a step is taken
_PATIENCE = 5.0  # seconds for a family's step and samples; slow code is no broken interface


def preflight(config: StudyFile, data: DataSet, cache: Path) -> None:
    """Checks every family of a run that is a plug-in, or whose space or size the study changes.

    cache: remembers plug-ins that were found good, by their code, card and data.
    Raises UsageError with the family and what is wrong.
    """
    cards = registry.cards_of(config.families, data.spec, config.space, config.size)
    starts = registry.starts_of(cards, config.start)
    load_all_of_torch()
    for name, changed in cards.items():
        entry = registry.family(name)
        family = entry.resolved(config.plugins, changed.card)
        if entry.registered is not None:
            own = registry.cards_of([name], data.spec)[name].card
            _check_interface(entry.resolved(config.plugins, own), data, cache)
        if changed.told or name in starts or config.size != 1.0:
            _check_settings(family, changed, starts.get(name, ()), data)


def _check_settings(
    family: ResolvedFamily, changed: ChangedCard, starts: Sequence[Mapping[str, Any]], data: DataSet
) -> None:
    """Builds and samples a family where a study's space leads that its card's does not."""
    space = family.card.space
    settings = [("its default setting", space.default())]
    settings += [(f"start.{family.name}", dict(start)) for start in starts]
    for name, value in changed.beyond:
        reached = {parent: values[0] for parent, values in space[name].when.items()} if name in space else {}
        settings.append((f"space.{family.name}: {name} = {value}", space.activate({**reached, name: value})))
    for what, params in settings:
        setting = split_setting(family.card, params)
        sampled = family.card.trains and any(name in setting.sample for name, _ in changed.beyond)
        try:
            setting.check_loop()
            model = build_model(family.load(), data.spec, setting.train, 0)
            if sampled:  # an untrained network can be sampled, a `fit` not yet
                with time_limit(_PATIENCE, "two samples"):
                    _sample(model, family, data, setting.sample)
        except TookTooLongError:
            continue
        except Exception as error:  # whatever the family's own code may raise
            said = f"{type(error).__name__}: {error}"
            raise UsageError(f"{what} cannot be used by family {family.name!r}: {said}") from error


def _check_interface(family: ResolvedFamily, data: DataSet, cache: Path) -> None:
    """Builds a plug-in's default setting, takes a step and draws two samples, twice."""
    model_class, card, spec = family.load(), family.card, data.spec
    seen = _marker(family, data, cache)
    if seen is not None and seen.is_file():
        return
    if card.likelihood[spec.kind] != "none" and not model_class.can("log_likelihood"):
        raise _broken(family, "its card states a likelihood, and it has no method `log_likelihood`")
    setting = split_setting(card, card.space.default())
    try:
        model = build_model(model_class, spec, setting.train, 0)
    except Exception as error:  # whatever the plug-in's own code may raise
        raise _broken(family, f"it cannot be built: {type(error).__name__}: {error}") from error
    conditional = card.fit(spec.kind, spec.condition.kind).condition != "none"
    examples = data.splits["train"][:_EXAMPLES]
    if not conditional:
        examples = Batch(examples.x)
    with _own_errors_pass(family), time_limit(_PATIENCE, "a step"):
        train(model, examples, setting.loop, steps=1, seed=0)
        drawn = []
        for unrelated in (1, 2):
            torch.manual_seed(unrelated)  # which samples must not depend on
            drawn.append(_sample(model, family, data, setting.sample))
        if not torch.equal(*drawn):
            raise _broken(family, "its samples differ at one seed; wanted all randomness from `generator`")
        if seen is not None:
            with contextlib.suppress(OSError):  # a cache that cannot be written costs a second the next time
                seen.parent.mkdir(parents=True, exist_ok=True)
                seen.touch()


def _sample(model: GenerativeModel, family: ResolvedFamily, data: DataSet, sampling: Mapping[str, Any]) -> torch.Tensor:
    """Two samples. Raises UsageError where they are no samples of the data."""
    spec, card = data.spec, family.card
    conditional = card.fit(spec.kind, spec.condition.kind).condition != "none"
    condition = data.splits["train"][:2].condition if conditional else None
    with torch.no_grad():
        x = model.eval().sample(2, condition=condition, generator=torch.Generator().manual_seed(0), **sampling)
    if not isinstance(x, torch.Tensor):
        raise _broken(family, f"`sample` gave {type(x).__name__}; wanted a tensor")
    with contextlib.suppress(DivergedError):  # after one step, or none
        try:
            check_samples(Batch(x, condition), 2, data)
        except TrialError as error:
            raise _broken(family, str(error)) from error
    return x


@contextlib.contextmanager
def _own_errors_pass(family: ResolvedFamily) -> Iterator[None]:
    """Passes over what the plug-in's own code raises; what is raised at its calls, or at what it gave, is refused."""
    try:
        yield
    except UsageError:
        raise
    except TookTooLongError:
        return
    except Exception as error:  # whatever a plug-in may raise
        own = [c for c in family.load().__mro__ if issubclass(c, GenerativeModel) and c is not GenerativeModel]
        files = {f.__code__.co_filename for c in own for f in vars(c).values() if inspect.isfunction(f)}
        if any(frame.filename in files for frame in traceback.extract_tb(error.__traceback__)):
            return
        reason = f"a training step and two samples fail: {type(error).__name__}: {error}"
        raise _broken(family, reason) from error


def _broken(family: ResolvedFamily, reason: str) -> UsageError:
    return UsageError(f"family {family.name!r} does not keep the interface of families: {reason}")


def _marker(family: ResolvedFamily, data: DataSet, cache: Path) -> Path | None:
    """The file whose presence says that a family was found good; None for code that is in no file."""
    from ..training.code_version import code_version  # reads and parses the core's code on import

    code = code_version(family.load())
    if code is None:
        return None
    content = f"{code} {family.card!r} {data.fingerprint} {data.spec!r}"
    return cache / "preflight" / hashlib.sha256(content.encode()).hexdigest()[:32]
